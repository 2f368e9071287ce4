//! Subscribing and unsubscribing a session.

use topics::{FilterTrie, NodeId, TopicFilter};

use super::{NONE, Options, Org, State, Subscription};
use crate::id::SessionRef;

/// Why a session could not subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The session has ended.
    Ended,
    /// The session has as many subscriptions as it may.
    TooMany,
}

impl Org {
    /// Subscribes a session, or replaces the options of a subscription it has (MQTT 5 §3.8.4-3);
    /// a replaced one keeps its place in the order of subscription. Of `options`, 7 bits are kept.
    /// Answers whether the subscription is new.
    ///
    /// # Errors
    /// If the session has ended, or has `subscriptions_max` subscriptions already (at most 65,535).
    pub fn subscribe(
        &self,
        session: SessionRef,
        filter: TopicFilter<'_>,
        options: u8,
        subscriptions_max: u16,
    ) -> Result<bool, SubscribeError> {
        let mut state = self.lock();
        let slot = state.slot_of(session).ok_or(SubscribeError::Ended)?;
        if let Some((existing, _)) = state.find_subscription(slot, filter) {
            state.subscriptions[existing].options = Options::new(options);
            return Ok(false);
        }
        if state.sessions[slot].subscription_count >= subscriptions_max {
            return Err(SubscribeError::TooMany);
        }
        state.add_subscription(slot, filter, options);
        Ok(true)
    }

    /// Ends one subscription. Answers whether there was one.
    pub fn unsubscribe(&self, session: SessionRef, filter: TopicFilter<'_>) -> bool {
        let mut state = self.lock();
        let Some(slot) = state.slot_of(session) else {
            return false;
        };
        let Some((existing, previous)) = state.find_subscription(slot, filter) else {
            return false;
        };
        state.take_from_session(slot, existing, previous);
        state.take_from_filter(existing);
        true
    }
}

impl State {
    /// A session's subscription to a filter, and the one before it in the session's list.
    fn find_subscription(&self, slot: u32, filter: TopicFilter<'_>) -> Option<(u32, u32)> {
        let node = self.filters.get(filter)?;
        let mut previous = NONE;
        for (found, subscription) in self.subscriptions_of(&self.sessions[slot]) {
            if subscription.filter == node {
                return Some((found, previous));
            }
            previous = found;
        }
        None
    }

    fn add_subscription(&mut self, session_slot: u32, filter: TopicFilter<'_>, options: u8) {
        let node = self.filters.entry(filter);
        let first = self.filters.value(node);
        debug_assert_eq!(FilterTrie::NO_VALUE, NONE, "an empty list has no first");
        let added = self.subscriptions.insert(Subscription {
            session: session_slot,
            filter: node,
            next_of_session: NONE,
            next_of_filter: first,
            previous_of_filter: NONE,
            options: Options::new(options),
        });
        if first != NONE {
            self.subscriptions[first].previous_of_filter = added;
        }
        self.filters.set_value(node, added);
        let session = &mut self.sessions[session_slot];
        session.subscription_count += 1;
        let last = std::mem::replace(&mut session.last_subscription, added);
        if last == NONE {
            session.first_subscription = added;
        } else {
            self.subscriptions[last].next_of_session = added;
        }
    }

    pub(super) fn remove_subscriptions_of(&mut self, session_slot: u32) {
        let mut next = self.sessions[session_slot].first_subscription;
        while next != NONE {
            let slot = next;
            next = self.subscriptions[slot].next_of_session;
            self.take_from_filter(slot);
        }
    }

    fn take_from_session(&mut self, session_slot: u32, taken: u32, previous: u32) {
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

    /// Takes a subscription out of its filter's list and forgets it; an unused filter goes too.
    fn take_from_filter(&mut self, slot: u32) {
        let taken = self.subscriptions.remove(slot);
        let (next, previous) = (taken.next_of_filter, taken.previous_of_filter);
        if next != NONE {
            self.subscriptions[next].previous_of_filter = previous;
        }
        match previous {
            NONE => self.set_first_of_filter(taken.filter, next),
            previous => self.subscriptions[previous].next_of_filter = next,
        }
    }

    fn set_first_of_filter(&mut self, filter: NodeId, first: u32) {
        if first == NONE {
            self.filters.release(filter);
        } else {
            self.filters.set_value(filter, first);
        }
    }
}
