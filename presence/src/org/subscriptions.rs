//! Subscribing and unsubscribing a session.

use std::hash::BuildHasher;
use std::num::NonZeroU32;

use topics::{FilterTrie, TopicFilter};

use super::{List, NONE, Options, Org, State, Subscription};
use crate::id::SessionRef;

/// Subscriptions of a session from which on they are found by a table: a client may name a thousand
/// filters in a packet, and each must not cost a walk through a thousand subscriptions.
const MANY: u16 = if cfg!(test) { 3 } else { 32 };

/// Why a session could not subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The session has ended.
    Ended,
    /// The session has as many subscriptions as it may.
    TooMany,
}

impl Org {
    /// Subscribes a session, or replaces the options and the identifier of a subscription it has
    /// (MQTT 5 §3.8.4-3); a replaced one keeps its place in the order of subscription. `a`,
    /// `$share/g/a` and `$share/h/a` are three subscriptions (§4.8.2). Of `options`, 7 bits are
    /// kept. Answers whether the subscription is new.
    ///
    /// # Errors
    /// If the session has ended, or has `subscriptions_max` subscriptions already (at most 65,535).
    pub fn subscribe(
        &self,
        session: SessionRef,
        filter: TopicFilter<'_>,
        options: u8,
        identifier: Option<NonZeroU32>,
        subscriptions_max: u16,
    ) -> Result<bool, SubscribeError> {
        let mut state = self.lock();
        let slot = state.slot_of(session).ok_or(SubscribeError::Ended)?;
        if let Some(existing) = state.find_subscription(slot, filter) {
            state.replace(existing, options, identifier);
            return Ok(false);
        }
        if state.sessions[slot].subscription_count >= subscriptions_max {
            return Err(SubscribeError::TooMany);
        }
        state.add_subscription(slot, filter, options, identifier);
        Ok(true)
    }

    /// Ends one subscription. Answers whether there was one.
    pub fn unsubscribe(&self, session: SessionRef, filter: TopicFilter<'_>) -> bool {
        let mut state = self.lock();
        let Some(slot) = state.slot_of(session) else {
            return false;
        };
        let Some(existing) = state.find_subscription(slot, filter) else {
            return false;
        };
        state.take_from_session(slot, existing);
        state.take_from_list(existing);
        true
    }
}

impl State {
    /// A session's subscription to a filter.
    fn find_subscription(&self, slot: u32, filter: TopicFilter<'_>) -> Option<u32> {
        let session = &self.sessions[slot];
        let list = match filter.share_group() {
            None => List::Filter(self.filters.get(filter)?),
            Some(name) => List::Group(self.shares.find(filter, name)?),
        };
        if session.has_many() {
            let hash = self.seed.hash_one((slot, list));
            return self.many.find(hash, |found| {
                let subscription = &self.subscriptions[found];
                subscription.session == slot && self.details_of(subscription).0 == list
            });
        }
        self.subscriptions_of(session)
            .find(|(_, subscription)| self.details_of(subscription).0 == list)
            .map(|(found, _)| found)
    }

    fn hash_of(&self, subscription: u32) -> u64 {
        let subscription = &self.subscriptions[subscription];
        let list = self.details_of(subscription).0;
        self.seed.hash_one((subscription.session, list))
    }

    /// Enters a new subscription into the table, or all of its session's if they have become many.
    fn enter_into_many(&mut self, session_slot: u32, added: u32) {
        let session = &self.sessions[session_slot];
        let entered: Vec<u32> = match session.has_many() {
            true => vec![added],
            false if session.subscription_count < MANY => return,
            false => self
                .subscriptions_of(session)
                .map(|found| found.0)
                .collect(),
        };
        self.sessions[session_slot].mark_many();
        let mut many = std::mem::take(&mut self.many);
        for subscription in entered {
            many.insert(self.hash_of(subscription), subscription, |each| {
                self.hash_of(each)
            });
        }
        self.many = many;
    }

    fn take_from_many(&mut self, session_slot: u32, taken: u32) {
        if self.sessions[session_slot].has_many() {
            self.many.remove(self.hash_of(taken), |each| each == taken);
        }
    }

    fn replace(&mut self, slot: u32, options: u8, identifier: Option<NonZeroU32>) {
        let subscription = &self.subscriptions[slot];
        let (list, _) = self.details_of(subscription);
        let is_stored = subscription.options.is_stored();
        self.forget_details(slot);
        let subscription = &mut self.subscriptions[slot];
        subscription.options = Options::new(options, is_stored);
        subscription.place(&mut self.details, list, identifier);
    }

    fn add_subscription(
        &mut self,
        session_slot: u32,
        filter: TopicFilter<'_>,
        options: u8,
        identifier: Option<NonZeroU32>,
    ) {
        let is_stored = self.sessions[session_slot].is_stored();
        let list = match filter.share_group() {
            None => List::Filter(self.filters.entry(filter)),
            Some(name) => List::Group(self.shares.entry(filter, name)),
        };
        let first = self.first_of(list);
        debug_assert_eq!(FilterTrie::NO_VALUE, NONE, "an empty list has no first");
        let options = Options::new(options, is_stored);
        let mut subscription = Subscription::new(session_slot, first, options);
        subscription.place(&mut self.details, list, identifier);
        let added = self.subscriptions.insert(subscription);
        self.put_first(list, added);
        let session = &mut self.sessions[session_slot];
        session.subscription_count += 1;
        let last = std::mem::replace(&mut session.last_subscription, added);
        if last == NONE {
            session.first_subscription = added;
        } else {
            self.subscriptions[last].next_of_session = added;
        }
        let user = session.user;
        self.lately.note(user);
        self.enter_into_many(session_slot, added);
    }

    pub(super) fn remove_subscriptions_of(&mut self, session_slot: u32) {
        let mut next = self.sessions[session_slot].first_subscription;
        while next != NONE {
            let slot = next;
            next = self.subscriptions[slot].next_of_session;
            self.take_from_many(session_slot, slot);
            self.take_from_list(slot);
        }
    }

    fn take_from_session(&mut self, session_slot: u32, taken: u32) {
        self.take_from_many(session_slot, taken);
        let before = self.subscriptions_of(&self.sessions[session_slot]);
        let before = before.take_while(|(found, _)| *found != taken).last();
        let previous = before.map_or(NONE, |(found, _)| found);
        let next = self.subscriptions[taken].next_of_session;
        let session = &mut self.sessions[session_slot];
        session.subscription_count -= 1;
        if next == NONE {
            session.last_subscription = previous;
        }
        match previous {
            NONE => session.first_subscription = next,
            previous => self.subscriptions[previous].next_of_session = next,
        }
    }

    /// Takes a subscription out of its filter's or group's list and forgets it; an unused filter
    /// and a group without members go too.
    fn take_from_list(&mut self, slot: u32) {
        let (list, _) = self.details_of(&self.subscriptions[slot]);
        if let List::Group(group) = list {
            self.withdraw(group, slot);
        }
        self.unlink(list, slot);
        self.forget_details(slot);
        self.subscriptions.remove(slot);
    }

    /// Gives a session that was found gone no turns any more in the groups that it is in.
    pub(super) fn pass_over(&mut self, session_slot: u32) {
        let session = &self.sessions[session_slot];
        if session.is_gone() {
            return;
        }
        let subscriptions = self.subscriptions_of(session);
        let of_group = |(member, subscription)| match self.details_of(subscription).0 {
            List::Group(group) => Some((group, member)),
            List::Filter(_) => None,
        };
        let members: Vec<_> = subscriptions.filter_map(of_group).collect();
        for (group, member) in members {
            self.put_behind_the_present(group, member);
        }
        self.sessions[session_slot].mark_gone();
    }

    fn put_behind_the_present(&mut self, group: u32, member: u32) {
        let last_present = self.withdraw(group, member);
        if self.subscriptions[member].previous_in_list != last_present {
            self.unlink(List::Group(group), member);
            self.link_behind(last_present, member);
        }
    }

    fn withdraw(&mut self, group: u32, member: u32) -> u32 {
        let subscription = &self.subscriptions[member];
        let (previous, next) = (subscription.previous_in_list, subscription.next_in_list);
        self.shares.withdraw(group, member, previous, next)
    }

    /// Makes a new subscription, whose next is the list's first, the first.
    fn put_first(&mut self, list: List, added: u32) {
        let next = self.subscriptions[added].next_in_list;
        if next != NONE {
            self.subscriptions[next].previous_in_list = added;
        }
        self.set_first_of(list, added);
        if let List::Group(group) = list {
            self.shares.join(group, added);
            if self.sessions[self.subscriptions[added].session].is_gone() {
                self.put_behind_the_present(group, added);
            }
        }
    }

    fn unlink(&mut self, list: List, slot: u32) {
        let subscription = &self.subscriptions[slot];
        let (next, previous) = (subscription.next_in_list, subscription.previous_in_list);
        if next != NONE {
            self.subscriptions[next].previous_in_list = previous;
        }
        match previous {
            NONE => self.set_first_of(list, next),
            previous => self.subscriptions[previous].next_in_list = next,
        }
    }

    fn link_behind(&mut self, previous: u32, slot: u32) {
        let next = std::mem::replace(&mut self.subscriptions[previous].next_in_list, slot);
        if next != NONE {
            self.subscriptions[next].previous_in_list = slot;
        }
        let subscription = &mut self.subscriptions[slot];
        (subscription.previous_in_list, subscription.next_in_list) = (previous, next);
    }

    fn set_first_of(&mut self, list: List, first: u32) {
        match list {
            List::Group(slot) => self.shares.set_first_member(slot, first),
            List::Filter(node) if first == NONE => self.filters.release(node),
            List::Filter(node) => self.filters.set_value(node, first),
        }
    }
}
