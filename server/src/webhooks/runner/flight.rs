//! An attempt under way, on a task of its own.
//!
//! While the receiver takes what it gets, a flight goes from one event straight to the next: a
//! delivery then costs no wake-up of the endpoint's task. What that task must decide comes back to
//! it: every failure, everything of the second lane, and that no event may be tried now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use webhook::lane::{Attempt, Dispatcher, LaneSettings, Settlement};
use webhook::outcome::Outcome;

use super::Lane;
use super::report::Tally;
use crate::clock::{SteadyClock, unix_ms};
use crate::webhooks::{Hook, Shared, message};

/// An attempt that came back to the endpoint's task, and what became of it.
pub(super) type Landed = (Lane, Attempt<Shared>, Outcome);

/// The lane of events in the order of the journal, from which flights help themselves.
pub(super) struct MainLane {
    dispatcher: Mutex<Dispatcher<Shared>>,
    concurrency: usize,
    /// Whether there are events that have not been read into the lane.
    has_unread: AtomicBool,
    /// The endpoint's task has something to do.
    pub(super) attention: Notify,
}

impl MainLane {
    pub(super) fn new(settings: LaneSettings, seed: u64) -> Self {
        Self {
            concurrency: settings.concurrency,
            dispatcher: Mutex::new(Dispatcher::new(settings, seed)),
            has_unread: AtomicBool::new(false),
            attention: Notify::new(),
        }
    }

    /// The lane, for a moment: flights wait for it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Dispatcher<Shared>> {
        self.dispatcher.lock()
    }

    pub(super) fn note_unread(&self, has_unread: bool) {
        self.has_unread.store(has_unread, Ordering::Relaxed);
    }

    /// Settles a delivery and gives the next event to try, if one may be tried now.
    fn pass_on(
        &self,
        delivered: Attempt<Shared>,
        outcome: &Outcome,
        now_ms: u64,
    ) -> Option<Attempt<Shared>> {
        let mut lane = self.lock();
        let settled = lane.complete(delivered, outcome, now_ms);
        debug_assert!(matches!(settled, Settlement::Delivered { .. }));
        let next = lane.poll(now_ms);
        let could_do_more = lane.in_flight() < self.concurrency
            || (self.has_unread.load(Ordering::Relaxed) && lane.wants_more());
        drop(lane);
        if could_do_more {
            self.attention.notify_one();
        }
        next
    }
}

/// What a flight needs.
pub(super) struct Flight {
    pub(super) hook: Arc<Hook>,
    pub(super) main: Arc<MainLane>,
    pub(super) tally: Tally,
    pub(super) clock: SteadyClock,
}

impl Flight {
    /// Makes the attempt, and those after it. `None`: all were delivered and settled, and nothing
    /// may be tried now.
    pub(super) async fn fly(self, lane: Lane, mut attempt: Attempt<Shared>) -> Option<Landed> {
        loop {
            let (id, body) = message::of(attempt.payload(), self.hook.shape);
            let outcome = self.hook.endpoint().deliver(id, body, unix_ms()).await;
            let is_delivered = matches!(outcome, Outcome::Delivered { .. });
            if lane == Lane::Again || !is_delivered {
                return Some((lane, attempt, outcome));
            }
            let now_ms = self.clock.now_ms();
            self.tally.count(&outcome, attempt.payload(), now_ms);
            attempt = self.main.pass_on(attempt, &outcome, now_ms)?;
        }
    }
}
