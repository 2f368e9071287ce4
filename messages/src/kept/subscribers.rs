//! The subscriptions of stored sessions, attached or away, and whose sessions they are.
//!
//! Nothing walks over a filter's subscribers but a message that all of them get: measured, 1.1 ms
//! under the lock for 100,000.

mod list;

use std::collections::{BTreeSet, HashMap};

use compact_str::CompactString;
use presence::SessionRef;
use topics::slab::ChunkedSlab;
use topics::{FilterTrie, TopicFilter, TopicName};

use crate::id::{Carrier, StoredRef};
use crate::record::Subscription;
use list::{List, Member};

/// A stored session that a message goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecipient {
    /// The session.
    pub session: StoredRef,
    /// What its subscription is with.
    pub subscription: Subscription,
    /// A shared subscription (§4.8.2) as the client wrote it: this member of the group was chosen.
    pub share: Option<CompactString>,
    /// The connection that carries it; `None` if its client is away.
    pub carrier: Option<Carrier>,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    /// The value of a filter is its list in `lists`.
    filters: FilterTrie,
    lists: ChunkedSlab<List>,
    /// Places in `seats`.
    sessions: HashMap<StoredRef, u32>,
    seats: ChunkedSlab<Seat>,
    by_client: HashMap<CompactString, StoredRef>,
    /// Those that are attached, by the session that `presence` knows.
    by_carrier: HashMap<SessionRef, StoredRef>,
    /// Clients that have asked for a stored session, and how often.
    arriving: HashMap<CompactString, u32>,
}

/// A session's place.
#[derive(Debug, Default)]
struct Seat {
    carrier: Option<Carrier>,
    /// Its shared subscriptions: their groups want to know whether it is attached.
    shares: BTreeSet<CompactString>,
}

impl Subscribers {
    pub(super) fn knows(&self, client_id: &str) -> bool {
        self.by_client.contains_key(client_id) || self.arriving.contains_key(client_id)
    }

    pub(super) fn session_of(&self, client_id: &str) -> Option<StoredRef> {
        self.by_client.get(client_id).copied()
    }

    /// Sessions, and those among them that are away.
    pub(super) fn counts(&self) -> (usize, usize) {
        (
            self.sessions.len(),
            self.sessions.len() - self.by_carrier.len(),
        )
    }

    pub(super) fn arrive(&mut self, client_id: &str) {
        *self.arriving.entry(client_id.into()).or_default() += 1;
    }

    pub(super) fn arrived(&mut self, client_id: &str) {
        if let Some(count) = self.arriving.get_mut(client_id) {
            *count -= 1;
            if *count == 0 {
                self.arriving.remove(client_id);
            }
        }
    }

    pub(super) fn begin(&mut self, session: StoredRef, client_id: &CompactString) {
        let seat = self.seats.insert(Seat::default());
        self.sessions.insert(session, seat);
        self.by_client.insert(client_id.clone(), session);
    }

    /// Its subscriptions must have been ended before.
    pub(super) fn end(&mut self, session: StoredRef, client_id: &str) {
        if let Some(seat) = self.sessions.remove(&session) {
            let seat = self.seats.remove(seat);
            self.let_go(seat.carrier);
        }
        if self.by_client.get(client_id) == Some(&session) {
            self.by_client.remove(client_id);
        }
    }

    pub(super) fn carry(&mut self, session: StoredRef, carrier: Option<Carrier>) {
        let Some(&seat) = self.sessions.get(&session) else {
            return;
        };
        let before = std::mem::replace(&mut self.seats[seat].carrier, carrier);
        self.let_go(before);
        if let Some(carrier) = carrier {
            self.by_carrier.insert(carrier.session, session);
        }
        let seat = &self.seats[seat];
        for share in &seat.shares {
            let filter = TopicFilter::parse(share);
            let node = filter.ok().and_then(|filter| self.filters.get(filter));
            let list = node.map(|node| &mut self.lists[self.filters.value(node)]);
            if let Some(group) = list.and_then(|list| list.groups.get_mut(share)) {
                match carrier {
                    Some(_) => group.attached.insert(session),
                    None => group.attached.remove(&session),
                };
            }
        }
    }

    fn let_go(&mut self, carrier: Option<Carrier>) {
        if let Some(carrier) = carrier {
            self.by_carrier.remove(&carrier.session);
        }
    }

    /// The stored session that a session of `presence` carries, and its connection.
    pub(super) fn carried_by(&self, session: SessionRef) -> Option<(StoredRef, Carrier)> {
        let stored = *self.by_carrier.get(&session)?;
        let seat = *self.sessions.get(&stored)?;
        Some((stored, self.seats[seat].carrier?))
    }

    /// Ordered by session within each filter.
    pub(super) fn recipients(&self, topic: TopicName<'_>, into: &mut Vec<StoredRecipient>) {
        self.filters.matching(topic, |list| {
            let list = &self.lists[list];
            let ordinary = list.ordinary.iter();
            into.extend(ordinary.map(|(session, member)| self.recipient(*session, member, None)));
            for (share, group) in &list.groups {
                let chosen = group.choose();
                into.extend(chosen.map(|(session, found)| {
                    let share = Some(share.clone());
                    self.recipient(session, found, share)
                }));
            }
        });
    }

    fn recipient(
        &self,
        session: StoredRef,
        member: &Member,
        share: Option<CompactString>,
    ) -> StoredRecipient {
        StoredRecipient {
            session,
            subscription: member.subscription,
            share,
            carrier: self.seats[member.seat].carrier,
        }
    }

    /// Answers whether it is new.
    pub(super) fn subscribe(
        &mut self,
        session: StoredRef,
        filter: TopicFilter<'_>,
        subscription: Subscription,
    ) -> bool {
        let Some(&seat) = self.sessions.get(&session) else {
            return false;
        };
        let share = share_of(filter);
        let node = self.filters.entry(filter);
        let mut list = self.filters.value(node);
        if list == FilterTrie::NO_VALUE {
            list = self.lists.insert(List::default());
            self.filters.set_value(node, list);
        }
        let list = &mut self.lists[list];
        let member = Member { subscription, seat };
        let is_new = list.members(share).insert(session, member).is_none();
        if let Some(share) = share {
            let seat = &mut self.seats[seat];
            seat.shares.insert(share.into());
            if let Some(group) = list.groups.get_mut(share)
                && seat.carrier.is_some()
            {
                group.attached.insert(session);
            }
        }
        is_new
    }

    /// Answers whether there was one.
    pub(super) fn unsubscribe(&mut self, session: StoredRef, filter: TopicFilter<'_>) -> bool {
        let Some(node) = self.filters.get(filter) else {
            return false;
        };
        let share = share_of(filter);
        let number = self.filters.value(node);
        let list = &mut self.lists[number];
        let had = list.remove(session, share);
        if list.is_empty() {
            self.lists.remove(number);
            self.filters.release(node);
        }
        if let Some(share) = share
            && let Some(&seat) = self.sessions.get(&session)
        {
            self.seats[seat].shares.remove(share);
        }
        had
    }
}

/// A shared filter as the client wrote it.
fn share_of(filter: TopicFilter<'_>) -> Option<&str> {
    filter.share_group().map(|_| filter.as_str())
}

#[cfg(test)]
mod tests;
