//! Whether an endpoint takes events, and how many at once.
//!
//! An outcome speaks about the endpoint only if its attempt began after the last change of state
//! (it is *fresh*, by `epoch`): sixteen attempts that time out together are one failure, and a
//! straggler's success does not end a pause that came after it began.

use crate::{outcome::Outcome, schedule::Schedule};

/// Whether an endpoint takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// It does, as far as is known.
    Open,
    /// It is down; it is probed with one event at a time.
    Paused {
        /// When the next probe may start.
        until_ms: u64,
        /// How often in a row it has been found down, at least once.
        failures: u32,
    },
    /// It said 410 or was switched off; nothing is tried until it is enabled.
    Disabled,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    state: EndpointState,
    /// How many attempts may be in flight when open.
    concurrency: usize,
    /// How many of this epoch may be: doubles from 1 after a pause, so that a receiver that has
    /// just come up is not knocked over by what waited.
    window: usize,
    in_flight: usize,
    in_flight_fresh: usize,
    /// Counts the changes for the worse.
    epoch: u64,
    random: Random,
}

impl Endpoint {
    pub(super) fn new(concurrency: usize, seed: u64) -> Self {
        Self {
            state: EndpointState::Open,
            concurrency,
            window: concurrency,
            in_flight: 0,
            in_flight_fresh: 0,
            epoch: 0,
            random: Random(seed),
        }
    }

    pub(super) fn state(&self) -> EndpointState {
        self.state
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn admits(&self, now_ms: u64) -> bool {
        self.admits_from_ms()
            .is_some_and(|from_ms| from_ms <= now_ms)
    }

    /// From when one more attempt may start; `None` while only a completion can open the way.
    pub(super) fn admits_from_ms(&self) -> Option<u64> {
        if self.in_flight >= self.concurrency || self.in_flight_fresh >= self.window {
            return None;
        }
        match self.state {
            EndpointState::Open => Some(0),
            EndpointState::Paused { until_ms, .. } => Some(until_ms),
            EndpointState::Disabled => None,
        }
    }

    /// Counts an attempt and gives the epoch it belongs to.
    pub(super) fn start(&mut self) -> u64 {
        self.in_flight += 1;
        self.in_flight_fresh += 1;
        self.epoch
    }

    pub(super) fn finish(
        &mut self,
        epoch: u64,
        outcome: &Outcome,
        now_ms: u64,
        schedule: &Schedule,
    ) {
        let fresh = epoch == self.epoch;
        self.in_flight -= 1;
        self.in_flight_fresh -= usize::from(fresh);
        match outcome {
            Outcome::Delivered { .. } | Outcome::Refused { .. } if fresh => self.answered(),
            Outcome::Delivered { .. } | Outcome::Refused { .. } => {}
            Outcome::Down { retry_after_ms, .. } if fresh => {
                self.pause(*retry_after_ms, now_ms, schedule);
            }
            Outcome::Down { retry_after_ms, .. } => {
                self.extend_pause(*retry_after_ms, now_ms, schedule);
            }
            Outcome::Gone => self.disable(),
        }
    }

    fn answered(&mut self) {
        if let EndpointState::Paused { .. } = self.state {
            self.state = EndpointState::Open;
        }
        self.window = (self.window * 2).min(self.concurrency);
    }

    fn pause(&mut self, retry_after_ms: Option<u64>, now_ms: u64, schedule: &Schedule) {
        let failures = match self.state {
            EndpointState::Open => 1,
            EndpointState::Paused { failures, .. } => failures.saturating_add(1),
            EndpointState::Disabled => return,
        };
        let pause_ms = schedule.pause_ms(failures, retry_after_ms, self.random.next());
        self.new_epoch(EndpointState::Paused {
            until_ms: now_ms.saturating_add(pause_ms),
            failures,
        });
    }

    /// A straggler says nothing new about the endpoint, but what it was asked to wait counts.
    fn extend_pause(&mut self, retry_after_ms: Option<u64>, now_ms: u64, schedule: &Schedule) {
        if let (EndpointState::Paused { until_ms, .. }, Some(asked_ms)) =
            (&mut self.state, retry_after_ms)
        {
            let asked_ms = schedule.clamped_retry_after_ms(asked_ms);
            *until_ms = (*until_ms).max(now_ms.saturating_add(asked_ms));
        }
    }

    pub(super) fn disable(&mut self) {
        self.new_epoch(EndpointState::Disabled);
    }

    pub(super) fn enable(&mut self) {
        if self.state == EndpointState::Disabled {
            self.new_epoch(EndpointState::Open);
        }
    }

    fn new_epoch(&mut self, state: EndpointState) {
        self.state = state;
        self.epoch += 1;
        self.window = 1;
        self.in_flight_fresh = 0;
    }
}

/// SplitMix64: good enough to spread pauses, and the same again from the same seed.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
