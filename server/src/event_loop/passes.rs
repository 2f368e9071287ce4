//! What a connection may do that others may not, or the other way round: kept beside the
//! connections, so that one that is like all others costs nothing.
//!
//! A pass is issued when a login is accepted and withdrawn when its connection is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use messages::Permit;
use topics::{TopicFilter, TopicName};

use super::connection::Tick;
use crate::accounts::{OrgLimits, Seat, SessionRules, TokenTopics};

/// The terms of one connection.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// When its session ends at the latest.
    pub(super) ends_at: Option<Tick>,
    pub(super) rights: Rights,
    /// Its place among the organisation's connections, where these are measured.
    pub(super) seat: Option<Seat>,
    /// The organisation's own limits of a session, if it has any.
    pub(super) limits: Option<Arc<SessionLimits>>,
}

/// What a session may publish and subscribe to. By default everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Rights {
    /// What its token allows, if that is not everything.
    pub(super) topics: Option<TokenTopics>,
    /// What the organisation's rules allow, if that is not everything.
    pub(super) rules: Option<Arc<SessionRules>>,
}

/// The limits of a session where they are not those of all.
#[derive(Debug)]
pub(super) struct SessionLimits {
    pub(super) protocol: mqtt::Limits,
    pub(super) subscriptions_max: u16,
}

impl SessionLimits {
    /// An organisation's limits, where they differ from those of all.
    pub(super) fn of(
        org: &OrgLimits,
        all: &mqtt::Limits,
        subscriptions_max: u16,
    ) -> Option<Arc<Self>> {
        let own = Self {
            protocol: mqtt::Limits {
                packet_bytes_max: org.packet_bytes_max,
                queue_messages_max: org.queue_messages_max,
                queue_bytes_max: org.queue_bytes_max,
                ..all.clone()
            },
            subscriptions_max: org.subscriptions_per_session_max,
        };
        let differs = own.protocol != *all || own.subscriptions_max != subscriptions_max;
        differs.then(|| Arc::new(own))
    }
}

impl Pass {
    /// Whether it says nothing.
    pub(super) fn is_blank(&self) -> bool {
        let Self {
            ends_at,
            rights,
            seat,
            limits,
        } = self;
        ends_at.is_none() && rights.are_all() && seat.is_none() && limits.is_none()
    }
}

impl Rights {
    /// Whether nothing is forbidden.
    pub(super) fn are_all(&self) -> bool {
        self.topics.is_none() && self.rules.is_none()
    }

    pub(super) fn may_publish(&self, name: TopicName<'_>) -> bool {
        let (topics, rules) = (self.topics.as_ref(), self.rules.as_ref());
        topics.is_none_or(|topics| topics.may_publish(name))
            && rules.is_none_or(|rules| rules.may_publish(name))
    }

    pub(super) fn may_subscribe(&self, filter: TopicFilter<'_>) -> bool {
        let (topics, rules) = (self.topics.as_ref(), self.rules.as_ref());
        topics.is_none_or(|topics| topics.may_subscribe(filter))
            && rules.is_none_or(|rules| rules.may_subscribe(filter))
    }
}

impl Permit for Rights {
    fn allows(&self, filter: TopicFilter<'_>) -> bool {
        self.may_subscribe(filter)
    }
}

/// The passes of a worker's connections.
#[derive(Debug, Default)]
pub(super) struct Passes {
    /// By the place of the connection; as long as the last that has one.
    by_key: Vec<Option<Box<Pass>>>,
    /// The ends, next one first.
    ends: BTreeSet<(u32, usize)>,
}

impl Passes {
    pub(super) fn issue(&mut self, key: usize, pass: Pass) {
        self.withdraw(key);
        if pass.is_blank() {
            return;
        }
        if let Some(end) = pass.ends_at {
            self.ends.insert((end.0, key));
        }
        if self.by_key.len() <= key {
            self.by_key.resize_with(key + 1, || None);
        }
        self.by_key[key] = Some(Box::new(pass));
    }

    /// The pass of a connection; none for one that is like all others.
    pub(super) fn of(&self, key: usize) -> Option<&Pass> {
        self.by_key.get(key)?.as_deref()
    }

    pub(super) fn withdraw(&mut self, key: usize) {
        let Some(pass) = self.by_key.get_mut(key).and_then(Option::take) else {
            return;
        };
        if let Some(end) = pass.ends_at {
            self.ends.remove(&(end.0, key));
        }
    }

    /// A connection whose time is over, each once.
    pub(super) fn next_over(&mut self, now: Tick) -> Option<usize> {
        let (end, key) = *self.ends.first()?;
        if end > now.0 {
            return None;
        }
        self.ends.pop_first();
        Some(key)
    }
}

/// The tick at which a time comes, `now` being `now_secs` of Unix time. What lies further away than
/// a tick can say never comes.
pub(super) fn tick_of(secs: u64, now_secs: u64, now: Tick) -> Option<Tick> {
    let left = secs.saturating_sub(now_secs);
    let tenths = left.checked_mul(Tick::PER_SEC.into())?;
    let tenths = u32::try_from(tenths).ok()?;
    now.0.checked_add(tenths).map(Tick)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(tick: u32) -> Pass {
        Pass {
            ends_at: Some(Tick(tick)),
            ..Pass::default()
        }
    }

    #[test]
    fn sessions_end_in_their_order_and_once() {
        let mut passes = Passes::default();
        passes.issue(7, ending(30));
        passes.issue(3, ending(20));
        passes.issue(5, ending(30));
        assert_eq!(passes.next_over(Tick(19)), None);
        let over: Vec<_> = std::iter::from_fn(|| passes.next_over(Tick(30))).collect();
        assert_eq!(over, [3, 5, 7]);
        assert!(
            passes.of(7).is_some(),
            "it is there until its connection goes"
        );
    }

    #[test]
    fn who_takes_the_place_of_another_does_not_end_with_it() {
        let mut passes = Passes::default();
        passes.issue(7, ending(30));
        passes.withdraw(7);
        assert!(passes.of(7).is_none());
        passes.issue(7, ending(40));
        assert_eq!(passes.next_over(Tick(39)), None);
        passes.issue(7, Pass::default());
        assert_eq!(passes.next_over(Tick(50)), None);
        assert!(passes.of(7).is_none(), "a blank pass is none");
    }

    #[test]
    fn times_become_ticks_as_far_as_these_go() {
        let now = Tick(100);
        assert_eq!(tick_of(1005, 1000, now), Some(Tick(150)));
        assert_eq!(tick_of(999, 1000, now), Some(now), "it is over");
        assert_eq!(tick_of(u64::MAX, 1000, now), None);
        assert_eq!(tick_of(1_000_000_000, 1000, now), None);
    }
}
