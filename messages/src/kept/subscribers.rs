//! The subscriptions of stored sessions, attached or away, and whose sessions they are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use compact_str::CompactString;
use topics::slab::ChunkedSlab;
use topics::{FilterTrie, TopicFilter, TopicName};

use crate::id::{Carrier, StoredRef};
use crate::record::Subscription;

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
    lists: ChunkedSlab<Vec<Subscriber>>,
    seats: HashMap<StoredRef, Option<Carrier>>,
    by_client: HashMap<CompactString, StoredRef>,
    /// Clients that have asked for a stored session, and how often.
    arriving: HashMap<CompactString, u32>,
    attached: usize,
    /// Which member of a share group is next: counts the choices of all groups.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Subscriber {
    session: StoredRef,
    subscription: Subscription,
    /// As the client wrote it, if it is shared.
    share: Option<CompactString>,
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
        (self.seats.len(), self.seats.len() - self.attached)
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
        self.seats.insert(session, None);
        self.by_client.insert(client_id.clone(), session);
    }

    /// Its subscriptions must have been ended before.
    pub(super) fn end(&mut self, session: StoredRef, client_id: &str) {
        if self.seats.remove(&session).flatten().is_some() {
            self.attached -= 1;
        }
        if self.by_client.get(client_id) == Some(&session) {
            self.by_client.remove(client_id);
        }
    }

    pub(super) fn carry(&mut self, session: StoredRef, carrier: Option<Carrier>) {
        if let Some(seat) = self.seats.get_mut(&session) {
            self.attached -= usize::from(seat.is_some());
            *seat = carrier;
            self.attached += usize::from(seat.is_some());
        }
    }

    pub(super) fn recipients(&self, topic: TopicName<'_>, into: &mut Vec<StoredRecipient>) {
        let start = into.len();
        self.filters.matching(topic, |list| {
            let list = &self.lists[list];
            let ordinary = list.iter().filter(|found| found.share.is_none());
            into.extend(ordinary.map(|found| self.recipient(found)));
            self.choose_members(list, into);
        });
        into[start..].sort_by_key(|found| found.session);
    }

    /// One member of each share group, those that are attached before those that are away.
    fn choose_members(&self, list: &[Subscriber], into: &mut Vec<StoredRecipient>) {
        let mut groups: HashMap<&str, Vec<&Subscriber>> = HashMap::new();
        for found in list {
            if let Some(share) = &found.share {
                groups.entry(share).or_default().push(found);
            }
        }
        for mut members in groups.into_values() {
            let is_attached = |found: &&Subscriber| self.carrier_of(found).is_some();
            if members.iter().any(is_attached) {
                members.retain(is_attached);
            }
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            into.push(self.recipient(members[turn % members.len()]));
        }
    }

    fn recipient(&self, found: &Subscriber) -> StoredRecipient {
        StoredRecipient {
            session: found.session,
            subscription: found.subscription,
            share: found.share.clone(),
            carrier: self.carrier_of(found),
        }
    }

    fn carrier_of(&self, found: &Subscriber) -> Option<Carrier> {
        self.seats.get(&found.session).copied().flatten()
    }

    /// Answers whether it is new.
    pub(super) fn subscribe(
        &mut self,
        session: StoredRef,
        filter: TopicFilter<'_>,
        subscription: Subscription,
    ) -> bool {
        let node = self.filters.entry(filter);
        let mut list = self.filters.value(node);
        if list == FilterTrie::NO_VALUE {
            list = self.lists.insert(Vec::new());
            self.filters.set_value(node, list);
        }
        let list = &mut self.lists[list];
        if let Some(found) = list.iter_mut().find(|found| found.is(session, filter)) {
            found.subscription = subscription;
            return false;
        }
        list.push(Subscriber {
            session,
            subscription,
            share: filter.share_group().map(|_| filter.as_str().into()),
        });
        true
    }

    /// Answers whether there was one.
    pub(super) fn unsubscribe(&mut self, session: StoredRef, filter: TopicFilter<'_>) -> bool {
        let Some(node) = self.filters.get(filter) else {
            return false;
        };
        let number = self.filters.value(node);
        let list = &mut self.lists[number];
        let Some(index) = list.iter().position(|found| found.is(session, filter)) else {
            return false;
        };
        list.swap_remove(index);
        if list.is_empty() {
            self.lists.remove(number);
            self.filters.release(node);
        }
        true
    }
}

impl Subscriber {
    fn is(&self, session: StoredRef, filter: TopicFilter<'_>) -> bool {
        let share = filter.share_group().map(|_| filter.as_str());
        self.session == session && self.share.as_deref() == share
    }
}
