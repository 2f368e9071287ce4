//! Groups that share a filter (MQTT 5 §4.8.2): a message goes to one member of each, in turn.
//!
//! The filters of groups lie in a trie of their own, so that ordinary subscriptions know nothing of
//! them. A node's value is the first group of its filter; each group has a list of members like
//! that of a filter, and a place in it where the next turn begins. Choosing a member costs the same
//! for ten and for a hundred thousand, and so do joining and leaving. Members whose connection was
//! found gone stand last in the list, where no turn goes, until their session has ended; that takes
//! as long as the journal takes.
//!
//! Members whose messages are routed elsewhere have their turns like the others: whoever is
//! connected shares, and the caller is told of which kind it is.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;

use compact_str::CompactString;
use topics::slab::ChunkedSlab;
use topics::split_table::SplitTable;
use topics::{BudgetSpent, FilterTrie, NodeId, TopicFilter, TopicName};

use super::{NONE, Subscription};

/// Names a group of the organisation, whether or not it has members: by a hash of its filter as
/// clients write it, under a key that they do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareRef(NonZeroU64);

/// The members of `$share/{name}/{filter}`.
struct Group {
    name: CompactString,
    /// Its filter, in the trie of [`Shares`].
    node: NodeId,
    next_of_filter: u32,
    previous_of_filter: u32,
    first_member: u32,
    /// The last member that is not known to be gone; `NONE` if all are.
    last_present: u32,
    /// The member whose turn is next, one that is present; `NONE` for the first.
    turn: u32,
    share: ShareRef,
}

/// All groups of an organisation.
#[derive(Default)]
pub(crate) struct Shares {
    /// The value of a filter's node is the first of its groups.
    filters: FilterTrie,
    groups: ChunkedSlab<Group>,
    /// Finds a group by its [`ShareRef`].
    table: SplitTable,
    /// Names come from clients: the seed keeps them from choosing their place in the table.
    seed: RandomState,
}

impl Shares {
    /// How many distinct filters are shared.
    pub(super) fn filter_count(&self) -> usize {
        self.filters.filter_count()
    }

    /// Names the group of a shared filter.
    pub(super) fn share_of(&self, filter: TopicFilter<'_>) -> ShareRef {
        ShareRef(self.seed.hash_one(filter.as_str()) | NonZeroU64::MIN)
    }

    /// The group of a shared filter, if it has members.
    pub(super) fn find(&self, filter: TopicFilter<'_>, name: &str) -> Option<u32> {
        let node = self.filters.get(filter)?;
        let share = self.share_of(filter);
        self.table.find(share.hash(), |slot| {
            let group = &self.groups[slot];
            group.node == node && group.name == name
        })
    }

    /// The group of a shared filter, made if there is none; it must get a member.
    pub(super) fn entry(&mut self, filter: TopicFilter<'_>, name: &str) -> u32 {
        if let Some(slot) = self.find(filter, name) {
            return slot;
        }
        let share = self.share_of(filter);
        let node = self.filters.entry(filter);
        let first = self.filters.value(node);
        let slot = self.groups.insert(Group {
            name: name.into(),
            node,
            next_of_filter: first,
            previous_of_filter: NONE,
            first_member: NONE,
            last_present: NONE,
            turn: NONE,
            share,
        });
        if first != NONE {
            self.groups[first].previous_of_filter = slot;
        }
        self.filters.set_value(node, slot);
        let groups = &self.groups;
        let hash_of = |slot: u32| groups[slot].share.hash();
        self.table.insert(share.hash(), slot, hash_of);
        slot
    }

    /// The first member of the group in a slot; `NONE` if there is no such group.
    pub(crate) fn first_member(&self, slot: u32) -> u32 {
        self.groups
            .get(slot)
            .map_or(NONE, |group| group.first_member)
    }

    /// Gives a group another first member; one that has none left goes.
    pub(super) fn set_first_member(&mut self, slot: u32, first: u32) {
        self.groups[slot].first_member = first;
        if first == NONE {
            self.remove(slot);
        }
    }

    /// To be called when a member has become the first of its list: its turn comes.
    pub(super) fn join(&mut self, slot: u32, member: u32) {
        let group = &mut self.groups[slot];
        if group.last_present == NONE {
            group.last_present = member;
        }
    }

    /// To be called before a member leaves or is known to be gone, with those that stand before and
    /// behind it: it has no turn any more. Gives the last member that is present then, or `NONE`.
    pub(super) fn withdraw(&mut self, slot: u32, member: u32, previous: u32, next: u32) -> u32 {
        let group = &mut self.groups[slot];
        let was_last = group.last_present == member;
        if group.turn == member {
            group.turn = if was_last { NONE } else { next };
        }
        if was_last {
            // Before one who is present stands nobody who is not.
            group.last_present = previous;
        }
        group.last_present
    }

    /// Appends the filter of a group as its members wrote it.
    pub(super) fn write_filter(&self, slot: u32, text: &mut String) {
        let group = &self.groups[slot];
        text.push_str("$share/");
        text.push_str(&group.name);
        text.push('/');
        self.filters.write_filter(group.node, text);
    }

    /// Calls `visit` with every group whose filter overlaps `filter`. Each node looked at and each
    /// group costs a step.
    ///
    /// # Errors
    /// [`BudgetSpent`] if there were more; `visit` has then seen only some.
    pub(crate) fn overlapping(
        &self,
        filter: TopicFilter<'_>,
        steps: &mut u32,
        mut visit: impl FnMut(u32),
    ) -> Result<(), BudgetSpent> {
        let mut firsts = Vec::new();
        self.filters
            .overlapping(filter, steps, |first| firsts.push(first))?;
        for first in firsts {
            let mut next = first;
            while let Some(group) = self.groups.get(next) {
                *steps = steps.checked_sub(1).ok_or(BudgetSpent)?;
                visit(next);
                next = group.next_of_filter;
            }
        }
        Ok(())
    }

    /// Calls `visit` with the member of each group that matches `name` whose turn it is, and passes
    /// the turn on. Groups of which everybody is known to be gone are left out.
    pub(super) fn take_turns(
        &mut self,
        name: TopicName<'_>,
        subscriptions: &ChunkedSlab<Subscription>,
        mut visit: impl FnMut(u32, ShareRef),
    ) {
        let groups = &mut self.groups;
        self.filters.matching(name, |first| {
            let mut next = first;
            while let Some(group) = groups.get_mut(next) {
                next = group.next_of_filter;
                if let Some(member) = group.take_turn(subscriptions) {
                    visit(member, group.share);
                }
            }
        });
    }

    /// The member of one group whose turn it is; the turn passes on. `None` if all have left or are
    /// known to be gone.
    pub(super) fn take_turn(
        &mut self,
        share: ShareRef,
        subscriptions: &ChunkedSlab<Subscription>,
    ) -> Option<u32> {
        let groups = &self.groups;
        let is_it = |slot: u32| groups[slot].share == share;
        let slot = self.table.find(share.hash(), is_it)?;
        self.groups[slot].take_turn(subscriptions)
    }

    fn remove(&mut self, slot: u32) {
        let group = self.groups.remove(slot);
        self.table.remove(group.share.hash(), |other| other == slot);
        let (next, previous) = (group.next_of_filter, group.previous_of_filter);
        if next != NONE {
            self.groups[next].previous_of_filter = previous;
        }
        match previous {
            NONE if next == NONE => self.filters.release(group.node),
            NONE => self.filters.set_value(group.node, next),
            previous => self.groups[previous].next_of_filter = next,
        }
    }
}

impl Group {
    fn take_turn(&mut self, subscriptions: &ChunkedSlab<Subscription>) -> Option<u32> {
        let member = match self.turn {
            _ if self.last_present == NONE => return None,
            NONE => self.first_member,
            member => member,
        };
        self.turn = match member == self.last_present {
            true => NONE,
            false => subscriptions[member].next_in_list,
        };
        Some(member)
    }
}

impl ShareRef {
    fn hash(self) -> u64 {
        self.0.get()
    }
}
