//! Groups that share a filter (MQTT 5 §4.8.2): a message goes to one member of each, in turn.
//!
//! The filters of groups lie in a trie of their own, so that ordinary subscriptions know nothing of
//! them. A node's value is the first group of its filter; each group has a list of members like
//! that of a filter, and a place in it where the next turn begins. Choosing a member costs the same
//! for ten and for a hundred thousand, and so do joining and leaving.
//!
//! Members whose messages are routed elsewhere have their turns like the others: whoever is
//! connected shares, and the caller is told of which kind it is.

use std::hash::{BuildHasher, RandomState};

use compact_str::CompactString;
use topics::slab::ChunkedSlab;
use topics::split_table::SplitTable;
use topics::{BudgetSpent, FilterTrie, NodeId, TopicFilter, TopicName};

use super::{NONE, Session, Subscription};

/// Members that a turn passes over at most because they are known to be gone: they stay in the list
/// until their session has ended, which takes as long as the journal takes.
const PASSED_OVER_MAX: u32 = 64;

/// Names a group for as long as it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareRef {
    slot: u32,
    /// Tells it from a later group in the same slot. It wraps; an old reference must not outlive
    /// four thousand million groups.
    serial: u32,
}

/// The members of `$share/{name}/{filter}`.
struct Group {
    name: CompactString,
    /// Its filter, in the trie of [`Shares`].
    node: NodeId,
    next_of_filter: u32,
    previous_of_filter: u32,
    first_member: u32,
    /// The member whose turn is next; `NONE` for the first.
    turn: u32,
    serial: u32,
}

/// All groups of an organisation.
#[derive(Default)]
pub(crate) struct Shares {
    /// The value of a filter's node is the first of its groups.
    filters: FilterTrie,
    groups: ChunkedSlab<Group>,
    /// Finds a group by its filter and name.
    table: SplitTable,
    /// Names come from clients: the seed keeps them from choosing their place in the table.
    seed: RandomState,
    last_serial: u32,
}

impl Shares {
    /// How many distinct filters are shared.
    pub(super) fn filter_count(&self) -> usize {
        self.filters.filter_count()
    }

    /// The group of a shared filter, if it has members.
    pub(super) fn find(&self, filter: TopicFilter<'_>, name: &str) -> Option<u32> {
        let node = self.filters.get(filter)?;
        self.find_at(node, name)
    }

    /// The group of a shared filter, made if there is none; it must get a member.
    pub(super) fn entry(&mut self, filter: TopicFilter<'_>, name: &str) -> u32 {
        let node = self.filters.entry(filter);
        if let Some(slot) = self.find_at(node, name) {
            return slot;
        }
        let first = self.filters.value(node);
        self.last_serial = self.last_serial.wrapping_add(1);
        let slot = self.groups.insert(Group {
            name: name.into(),
            node,
            next_of_filter: first,
            previous_of_filter: NONE,
            first_member: NONE,
            turn: NONE,
            serial: self.last_serial,
        });
        if first != NONE {
            self.groups[first].previous_of_filter = slot;
        }
        self.filters.set_value(node, slot);
        let (groups, seed) = (&self.groups, &self.seed);
        let hash_of = |slot: u32| hash_of(seed, &groups[slot]);
        self.table.insert(hash_of(slot), slot, hash_of);
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

    /// To be called before a member leaves: its turn passes to `next`.
    pub(super) fn pass_turn(&mut self, slot: u32, member: u32, next: u32) {
        let group = &mut self.groups[slot];
        if group.turn == member {
            group.turn = next;
        }
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
    /// the turn on.
    pub(super) fn take_turns(
        &mut self,
        name: TopicName<'_>,
        subscriptions: &ChunkedSlab<Subscription>,
        sessions: &ChunkedSlab<Session>,
        mut visit: impl FnMut(u32, ShareRef),
    ) {
        let groups = &mut self.groups;
        self.filters.matching(name, |first| {
            let mut next = first;
            while let Some(group) = groups.get_mut(next) {
                let share = ShareRef {
                    slot: next,
                    serial: group.serial,
                };
                next = group.next_of_filter;
                visit(group.take_turn(subscriptions, sessions), share);
            }
        });
    }

    /// The member of one group whose turn it is; the turn passes on. `None` once all have left.
    pub(super) fn take_turn(
        &mut self,
        share: ShareRef,
        subscriptions: &ChunkedSlab<Subscription>,
        sessions: &ChunkedSlab<Session>,
    ) -> Option<u32> {
        let group = self.groups.get_mut(share.slot)?;
        let is_it = group.serial == share.serial;
        is_it.then(|| group.take_turn(subscriptions, sessions))
    }

    /// Names the group in a slot.
    pub(super) fn share_of(&self, slot: u32) -> ShareRef {
        let serial = self.groups[slot].serial;
        ShareRef { slot, serial }
    }

    fn find_at(&self, node: NodeId, name: &str) -> Option<u32> {
        let hash = self.seed.hash_one((node, name));
        self.table.find(hash, |slot| {
            let group = &self.groups[slot];
            group.node == node && group.name == name
        })
    }

    fn remove(&mut self, slot: u32) {
        let hash = hash_of(&self.seed, &self.groups[slot]);
        self.table.remove(hash, |other| other == slot);
        let group = self.groups.remove(slot);
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
    fn take_turn(
        &mut self,
        subscriptions: &ChunkedSlab<Subscription>,
        sessions: &ChunkedSlab<Session>,
    ) -> u32 {
        let mut passed_over = 0;
        loop {
            let member = match self.turn {
                NONE => self.first_member,
                member => member,
            };
            let subscription = &subscriptions[member];
            self.turn = subscription.next_in_list;
            if !sessions[subscription.session].is_gone() || passed_over == PASSED_OVER_MAX {
                return member;
            }
            passed_over += 1;
        }
    }
}

fn hash_of(seed: &RandomState, group: &Group) -> u64 {
    seed.hash_one((group.node, &group.name[..]))
}
