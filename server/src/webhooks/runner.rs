//! The task of one endpoint: reads events when there is room, tries those whose turn it is, settles
//! them, and keeps on disk how far it has come.
//!
//! Two lanes share the endpoint: one for events in the order of the journal, one for those that are
//! sent again. What is sent again waits in a table of its own, so that it neither holds up the
//! first lane nor is lost with the process.

mod again;
mod flight;
mod report;
mod settled;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use journal::Position;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use views::{DeadLetter, Disabled, EventId, Reader};
use webhook::lane::{
    Attempt, Dispatcher, EndpointState, Event as LaneEvent, LaneSettings, Settlement,
};
use webhook::level::{Level, LevelEvent, LevelFilter};
use webhook::outcome::Outcome;

use super::bonds::Bonds;
use super::metrics::EndpointMetrics;
use super::{Command, Hook, Shared, StartError, message};
use crate::clock::SteadyClock;
use flight::{Flight, Landed, MainLane};
use report::{Tally, error_text};

/// Events read from the views at a time.
const EVENTS_PER_READ: usize = 512;

/// How long an event may take from the clock to here: an ending is not let go before a return that
/// came in time can have been read.
const FOLDING_MS: u64 = 250;

/// How often it is written down how far the endpoint has come: after a crash, a receiver may be
/// told again what it was told in this time.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// What a runner is made of.
pub(super) struct Parts {
    pub(super) hook: Arc<Hook>,
    pub(super) level: Level,
    pub(super) held_max: usize,
    pub(super) lane: LaneSettings,
    pub(super) reader: Reader,
    pub(super) folded: watch::Receiver<Position>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) metrics: EndpointMetrics,
    pub(super) drain: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Main,
    Again,
}

type Passed = LevelEvent<CompactString, Shared>;

pub(super) struct Runner {
    parts: Parts,
    /// For the lanes, whose time must not run backwards.
    clock: SteadyClock,
    filter: LevelFilter<CompactString, Shared>,
    main: Arc<MainLane>,
    again: Dispatcher<Shared>,
    /// Numbers for what is sent again: those lanes count on each being used once.
    next_again: u64,
    /// What is in that lane.
    queued_again: HashSet<EventId>,
    flights: JoinSet<Option<Landed>>,
    tally: Tally,
    /// The next position to read.
    next: Position,
    /// Events that the filter let pass and the lane has no room for yet.
    passed: VecDeque<Passed>,
    /// Where a restart must not begin.
    bonds: Bonds,
    /// Positions in the main lane and when they happened, to know the oldest that waits.
    waiting: VecDeque<(u64, u64)>,
    /// Given up, and not yet written down as such.
    unburied: Vec<(u64, DeadLetter)>,
    saved: Position,
    save_at: Instant,
    drain_until: Option<Instant>,
}

/// A lane counts from 1.
fn lane_position(position: Position) -> u64 {
    position.0 + 1
}

impl Runner {
    pub(super) fn new(parts: Parts) -> Result<Self, StartError> {
        let mut deliveries = parts.hook.deliveries();
        let key = parts.hook.key();
        let floor = match deliveries.floor(key)? {
            Some(floor) => floor,
            // A new endpoint hears of what happens from now on.
            None => {
                let now = *parts.folded.borrow();
                deliveries.set_floors(&[(key, now)])?;
                now
            }
        };
        let is_disabled = deliveries.disabled(key)?.is_some();
        let parked = deliveries.parked(key)?;
        drop(deliveries);
        let seed = lane_seed();
        let mut runner = Self {
            clock: SteadyClock::start(),
            filter: LevelFilter::new(parts.level, parts.held_max),
            main: Arc::new(MainLane::new(parts.lane.clone(), seed)),
            again: Dispatcher::new(
                LaneSettings {
                    waiting_max: usize::MAX,
                    ..parts.lane.clone()
                },
                seed ^ 1,
            ),
            next_again: 1,
            queued_again: HashSet::new(),
            flights: JoinSet::new(),
            tally: Tally {
                hook: Arc::clone(&parts.hook),
                metrics: parts.metrics.clone(),
            },
            next: floor,
            passed: VecDeque::new(),
            bonds: Bonds::default(),
            waiting: VecDeque::new(),
            unburied: Vec::new(),
            saved: floor,
            save_at: Instant::now() + SAVE_EVERY,
            drain_until: None,
            parts,
        };
        runner.main.lock().skip(floor.0);
        if is_disabled {
            runner.disable();
        }
        for parked in parked {
            runner.send_again(Arc::new(parked.event));
        }
        Ok(runner)
    }

    pub(super) async fn run(mut self) {
        loop {
            self.refill();
            self.start_attempts();
            self.report();
            if self.is_done() {
                break;
            }
            let wake_at = self.wake_at();
            tokio::select! {
                Some(landed) = self.flights.join_next() => {
                    self.land_all(landed);
                }
                () = self.main.attention.notified() => {}
                Ok(()) = self.parts.folded.changed() => {}
                Some(command) = self.parts.commands.recv() => self.obey(command),
                Ok(()) = self.parts.stopping.changed() => {
                    self.drain_until = Some(Instant::now() + self.parts.drain);
                }
                () = sleep_until(wake_at) => {}
            }
            if Instant::now() >= self.save_at {
                self.save();
            }
        }
        self.save();
    }

    /// Whether the server stops and there is nothing left to deliver, or no time.
    fn is_done(&self) -> bool {
        let Some(until) = self.drain_until else {
            return false;
        };
        let is_up_to_date = self.next >= *self.parts.folded.borrow();
        let is_idle = self.main.lock().is_empty() && self.again.is_empty() && is_up_to_date;
        is_idle || self.is_stuck(until) || Instant::now() >= until
    }

    /// Whether nothing is under way and nothing may be tried before `until`.
    fn is_stuck(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let until_ms = self.clock.now_ms() + left.as_millis() as u64;
        let can_wait = |lane: &Dispatcher<Shared>| {
            lane.is_empty()
                || lane.state() != EndpointState::Open
                || lane.next_wakeup().is_none_or(|at_ms| at_ms > until_ms)
        };
        self.flights.is_empty() && can_wait(&self.main.lock()) && can_wait(&self.again)
    }

    fn wake_at(&self) -> Instant {
        let now_ms = self.clock.now_ms();
        let next_ms = [
            self.main.lock().next_wakeup(),
            self.again.next_wakeup(),
            self.filter.next_wakeup(),
        ];
        let lanes = next_ms.into_iter().flatten().min();
        let wait = lanes.map_or(SAVE_EVERY, |at_ms| {
            Duration::from_millis(at_ms.saturating_sub(now_ms)).min(SAVE_EVERY)
        });
        Instant::now() + wait
    }

    // === in ===

    /// Reads events while the lane has room for them.
    fn refill(&mut self) {
        let late = self.clock.now_ms().saturating_sub(FOLDING_MS);
        self.filter.handle_time(late);
        self.move_passed();
        while self.next < *self.parts.folded.borrow()
            && self.passed.is_empty()
            && self.main.lock().wants_more()
        {
            let (org, next) = (self.parts.hook.org(), self.next);
            let page = self.parts.reader.events_from(org, next, EVENTS_PER_READ);
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    let key = self.parts.hook.key();
                    tracing::error!(%error, endpoint = key, "failed to read events");
                    return;
                }
            };
            for event in page.events {
                self.filter.handle(LevelEvent {
                    position: lane_position(event.position),
                    user: event.username.clone(),
                    status: message::status(event.kind),
                    at_ms: event.at_ms,
                    online_sessions: event.online_sessions,
                    payload: event,
                });
            }
            self.next = page.next;
            self.main.lock().skip(page.next.0);
            self.move_passed();
        }
        let is_unread = self.next < *self.parts.folded.borrow() || !self.passed.is_empty();
        self.main.note_unread(is_unread);
    }

    /// Moves what the filter lets pass into the lane, as far as there is room. The rest stays here,
    /// counts as unsettled, and nothing more is read until it is gone.
    fn move_passed(&mut self) {
        while let Some((held, returned)) = self.filter.poll_cancelled() {
            self.bonds.add(held, returned);
        }
        self.passed
            .extend(std::iter::from_fn(|| self.filter.poll_passed()));
        let mut lane = self.main.lock();
        while !lane.is_full()
            && let Some(passed) = self.passed.pop_front()
        {
            let (position, at_ms) = (passed.position, passed.at_ms);
            self.waiting.push_back((position, at_ms));
            let pushed = lane.push(LaneEvent {
                position,
                user: hash(&passed.user),
                generated_at_ms: at_ms,
                payload: passed.payload,
            });
            debug_assert!(pushed.is_ok(), "there was room");
        }
    }

    // === out ===

    fn start_attempts(&mut self) {
        let now_ms = self.clock.now_ms();
        while let Some(letter) = self.next_expired(now_ms) {
            self.bury(Lane::Main, letter, "it got too old");
        }
        while let Some(letter) = self.again.poll_expired(now_ms) {
            self.bury(Lane::Again, letter, "it got too old");
        }
        while let Some(attempt) = self.next_attempt(now_ms) {
            self.launch(Lane::Main, attempt);
        }
        while let Some(attempt) = self.again.poll(now_ms) {
            self.launch(Lane::Again, attempt);
        }
    }

    // These give the lane back before what they found is dealt with.

    fn next_expired(&self, now_ms: u64) -> Option<webhook::lane::DeadLetter<Shared>> {
        self.main.lock().poll_expired(now_ms)
    }

    fn next_attempt(&self, now_ms: u64) -> Option<Attempt<Shared>> {
        self.main.lock().poll(now_ms)
    }

    fn launch(&mut self, lane: Lane, attempt: Attempt<Shared>) {
        let flight = Flight {
            hook: Arc::clone(&self.parts.hook),
            main: Arc::clone(&self.main),
            tally: self.tally.clone(),
            clock: self.clock,
        };
        self.flights.spawn(flight.fly(lane, attempt));
    }

    fn land_all(&mut self, first: Result<Option<Landed>, tokio::task::JoinError>) {
        let mut landed = Some(first);
        while let Some(result) = landed {
            match result {
                Ok(Some((lane, attempt, outcome))) => self.land(lane, attempt, &outcome),
                Ok(None) => {}
                // Its attempt never comes back, so its user waits until the next start.
                Err(error) => tracing::error!(%error, "an attempt to deliver panicked"),
            }
            landed = self.flights.try_join_next();
        }
    }

    fn land(&mut self, lane: Lane, attempt: Attempt<Shared>, outcome: &Outcome) {
        let now_ms = self.clock.now_ms();
        let event = Arc::clone(attempt.payload());
        let settlement = match lane {
            Lane::Main => self.main.lock().complete(attempt, outcome, now_ms),
            Lane::Again => self.again.complete(attempt, outcome, now_ms),
        };
        self.tally.count(outcome, &event, now_ms);
        match settlement {
            Settlement::Delivered { .. } if lane == Lane::Again => self.unpark(&event),
            Settlement::Delivered { .. } | Settlement::Waits => {}
            Settlement::Dead(letter) => {
                let why = error_text(outcome).unwrap_or_default();
                self.bury(lane, letter, &why);
            }
        }
        if *outcome == Outcome::Gone {
            self.note_gone(now_ms);
        }
    }

    /// 410: nothing is tried any more until somebody enables the endpoint again.
    fn note_gone(&mut self, at_ms: u64) {
        let key = self.parts.hook.key();
        tracing::error!(endpoint = key, "the endpoint answered 410 and is disabled");
        let why = Disabled {
            why: "it answered 410".to_owned(),
            at_ms,
        };
        if let Err(error) = self.parts.hook.deliveries().disable(key, &why) {
            tracing::error!(%error, endpoint = key, "failed to write down that it is disabled");
        }
        self.disable();
    }

    fn disable(&mut self) {
        self.main.lock().disable();
        self.again.disable();
        self.parts.metrics.disabled.set(1);
    }
}

fn hash(name: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn lane_seed() -> u64 {
    // Without random numbers all endpoints pause alike, which does no harm.
    getrandom::u64().unwrap_or(0)
}
