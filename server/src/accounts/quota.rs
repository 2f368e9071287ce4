//! Quotas of an organisation: what it may have, and meters of what it has now.
//!
//! A meter is shared by all event loops and takes no lock. A rate lets a second's worth through at
//! once and then as many as it says, evenly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::config::{Config, OrgQuotaConfig};

const US_PER_SEC: u64 = 1_000_000;

/// A rate runs ahead of the clock by a second at most, and the event loops' clocks are apart by less
/// than another.
const AHEAD_US_MAX: u64 = 2 * US_PER_SEC;

/// What an organisation may have, as configured for it or for all. 0 is no limit where it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgLimits {
    /// Connections that are logged in; 0 for no limit.
    pub connections_max: u32,
    /// Logins a second; 0 for no limit.
    pub connects_per_sec: u32,
    /// Messages a second; 0 for no limit.
    pub messages_per_sec: u32,
    /// Retained messages.
    pub retained_messages_max: usize,
    /// Bytes of retained messages.
    pub retained_bytes_max: usize,
    /// Subscriptions of one session.
    pub subscriptions_per_session_max: u16,
    /// Messages in one session's queue.
    pub queue_messages_max: u32,
    /// Bytes in one session's queue.
    pub queue_bytes_max: u32,
    /// Messages in the queue of a session that is stored.
    pub stored_queue_messages_max: usize,
    /// Bytes in the queue of a session that is stored.
    pub stored_queue_bytes_max: u64,
    /// Bytes of a packet from a client.
    pub packet_bytes_max: u32,
}

impl OrgLimits {
    pub(super) fn of(config: &Config, own: &OrgQuotaConfig) -> Self {
        let (all, mqtt) = (&config.quota, &config.mqtt);
        let (retained, stored) = (&config.retained, &config.sessions);
        let own_bytes = own.queue_bytes_max.map_or(u64::MAX, u64::from);
        let own_messages = own
            .queue_messages_max
            .map_or(usize::MAX, |most| most as usize);
        let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let or = |own: Option<u32>, all: u32| own.unwrap_or(all);
        Self {
            connections_max: or(own.connections_max, all.org_connections_max),
            connects_per_sec: or(own.connects_per_sec, all.org_connects_per_sec),
            messages_per_sec: or(own.messages_per_sec, all.org_messages_per_sec),
            retained_messages_max: own.retained_messages_max.unwrap_or(retained.messages_max),
            retained_bytes_max: own.retained_bytes_max.unwrap_or(retained.bytes_max),
            subscriptions_per_session_max: own
                .subscriptions_per_session_max
                .unwrap_or(mqtt.subscriptions_per_session_max),
            queue_messages_max: or(own.queue_messages_max, narrow(mqtt.queue_messages_max)),
            queue_bytes_max: or(own.queue_bytes_max, narrow(mqtt.queue_bytes_max)),
            stored_queue_messages_max: stored.queue_messages_max.min(own_messages),
            stored_queue_bytes_max: stored.queue_bytes_max.min(own_bytes),
            packet_bytes_max: or(own.packet_bytes_max, mqtt.packet_bytes_max),
        }
    }

    /// A meter, if there is anything to be measured.
    pub(super) fn meter(&self) -> Option<Arc<Meter>> {
        let is_measured = self.connections_max + self.connects_per_sec + self.messages_per_sec > 0;
        is_measured.then(|| {
            Arc::new(Meter {
                connections: AtomicU32::new(0),
                connections_max: self.connections_max,
                connects: Rate::new(self.connects_per_sec),
                messages: Rate::new(self.messages_per_sec),
            })
        })
    }
}

/// What an organisation has and does now.
#[derive(Debug)]
pub struct Meter {
    connections: AtomicU32,
    connections_max: u32,
    connects: Rate,
    messages: Rate,
}

/// One of an organisation's connections; given back when it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<Meter>);

/// What an organisation has used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Its connections.
    Connections,
    /// Its logins for this second.
    Connects,
}

impl Meter {
    /// Takes a connection. `replaces` says whether it takes the place of another, which is about
    /// to go; it is asked only when there is no room.
    ///
    /// # Errors
    ///
    /// What has been used up.
    pub fn connect(
        self: &Arc<Self>,
        now_ms: u64,
        replaces: impl FnOnce() -> bool,
    ) -> Result<Seat, Over> {
        if !self.connects.take(now_ms) {
            return Err(Over::Connects);
        }
        let seat = Seat(Arc::clone(self));
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let is_full = self.connections_max > 0 && before >= self.connections_max;
        if is_full && !replaces() {
            return Err(Over::Connections);
        }
        Ok(seat)
    }

    /// Whether one more message may be published now.
    #[must_use]
    pub fn publish(&self, now_ms: u64) -> bool {
        self.messages.take(now_ms)
    }
}

impl Seat {
    /// The meter that it is a part of.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// So many a second, a second's worth of them at once.
#[derive(Debug)]
struct Rate {
    per_sec: u32,
    /// When all that were let through would have come if they had come evenly, microseconds.
    even_us: AtomicU64,
}

impl Rate {
    fn new(per_sec: u32) -> Self {
        Self {
            per_sec,
            even_us: AtomicU64::new(0),
        }
    }

    fn take(&self, now_ms: u64) -> bool {
        if self.per_sec == 0 {
            return true;
        }
        let now_us = now_ms.saturating_mul(1000);
        let latest_us = now_us.saturating_add(AHEAD_US_MAX);
        let step_us = (US_PER_SEC / u64::from(self.per_sec)).max(1);
        let taken = self
            .even_us
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |even_us| {
                // Further ahead than it can be: the clock was set back.
                let is_stale = even_us > latest_us;
                let from_us = if is_stale {
                    now_us
                } else {
                    even_us.max(now_us)
                };
                let next_us = from_us.saturating_add(step_us);
                (next_us <= now_us.saturating_add(US_PER_SEC)).then_some(next_us)
            });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn meter(connections_max: u32, connects_per_sec: u32, messages_per_sec: u32) -> Arc<Meter> {
        let own = OrgQuotaConfig {
            connections_max: Some(connections_max),
            connects_per_sec: Some(connects_per_sec),
            messages_per_sec: Some(messages_per_sec),
            ..OrgQuotaConfig::default()
        };
        OrgLimits::of(&Config::default(), &own).meter().unwrap()
    }

    #[test]
    fn a_rate_lets_a_second_s_worth_through_and_then_goes_evenly() {
        let meter = meter(0, 0, 10);
        let at = |ms| (0..100).filter(|_| meter.publish(NOW_MS + ms)).count();
        assert_eq!(at(0), 10);
        assert_eq!(at(99), 0);
        assert_eq!(at(100), 1);
        assert_eq!(at(600), 5);
        assert_eq!(at(10_000), 10, "what was not used is not saved up");
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nobody() {
        let meter = meter(0, 0, 10);
        assert!((0..10).all(|_| meter.publish(NOW_MS)));
        let an_hour_ago = NOW_MS - 3_600_000;
        let let_through = (0..100).filter(|_| meter.publish(an_hour_ago)).count();
        assert_eq!(let_through, 10);
        assert!(!meter.publish(an_hour_ago + 99));
        assert!(meter.publish(an_hour_ago + 100));
    }

    #[test]
    fn loops_whose_clocks_differ_a_little_share_a_rate() {
        let meter = meter(0, 0, 10);
        assert!((0..10).all(|_| meter.publish(NOW_MS)));
        let let_through = (0..100).filter(|_| meter.publish(NOW_MS - 500)).count();
        assert_eq!(let_through, 0);
    }

    #[test]
    fn connections_are_given_back_when_they_go() {
        let meter = meter(2, 0, 0);
        let no = || false;
        let (first, second) = (meter.connect(NOW_MS, no), meter.connect(NOW_MS, no));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(meter.connect(NOW_MS, no).unwrap_err(), Over::Connections);
        drop(first);
        let third = meter.connect(NOW_MS, no);
        assert!(third.is_ok());
        assert!(
            meter.connect(NOW_MS, || true).is_ok(),
            "it takes another's place"
        );
    }

    #[test]
    fn logins_have_a_rate_of_their_own() {
        let meter = meter(0, 3, 0);
        let results: Vec<_> = (0..5)
            .map(|_| meter.connect(NOW_MS, || false).map(|_| ()).err())
            .collect();
        let over = Some(Over::Connects);
        assert_eq!(results, [None, None, None, over, over]);
        assert!(meter.publish(NOW_MS), "messages have no limit here");
    }

    #[test]
    fn what_an_organisation_does_not_say_is_as_for_all() {
        let own = OrgQuotaConfig {
            queue_messages_max: Some(7),
            ..OrgQuotaConfig::default()
        };
        let limits = OrgLimits::of(&Config::default(), &own);
        assert_eq!(limits.queue_messages_max, 7);
        assert_eq!(limits.stored_queue_messages_max, 7);
        assert_eq!(limits.packet_bytes_max, 1_048_576);
        assert_eq!(limits.retained_messages_max, 100_000);
        assert!(limits.meter().is_none(), "nothing is measured");
    }
}
