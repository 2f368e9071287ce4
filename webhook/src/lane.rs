//! Which event may be tried now: order per user, pauses, retries and dead letters of one endpoint.
//!
//! A [`Dispatcher`] holds the events that wait, up to a limit, and hands out at most a few at a
//! time. Per user it hands out the next event only after the one before is settled: delivered or a
//! dead letter. It does no I/O, reads no clock and draws no numbers but its own.
//!
//! ```text
//!            Down                     its time has come
//!   Open ───────────► Paused ──────────────────────────► one probe
//!    ▲ │                 ▲                                 │  │ any answer
//!    │ │ Gone            └───────── Down: longer ──────────┘  ▼
//!    │ ▼                                              Open, 1 at once, 2, 4 …
//!   Disabled   enable()
//! ```
//!
//! The caller calls [`poll`](Dispatcher::poll) until it gives nothing, makes the attempts, hands
//! each back to [`complete`](Dispatcher::complete), and calls again at
//! [`next_wakeup`](Dispatcher::next_wakeup). Times are milliseconds that never run backwards:
//! Unix time at the start of the process and the monotonic clock from there on.

mod endpoint;
mod waiting;

use crate::{outcome::Outcome, schedule::Schedule};
use endpoint::Endpoint;
pub use endpoint::EndpointState;
use waiting::Waiting;

/// The limits of one endpoint.
#[derive(Clone, Debug)]
pub struct LaneSettings {
    /// How many attempts may be in flight at once, at least 1. Default 16.
    pub concurrency: usize,
    /// How many events are held, at least 1; the rest stays where the caller has it. 20 times as
    /// many while most of them wait behind refused ones of the same users. Default 10 000.
    pub waiting_max: usize,
    /// The delays.
    pub schedule: Schedule,
}

/// See [`Dispatcher::wants_more`].
const BLOCKED_ROOM_FACTOR: usize = 20;

impl Default for LaneSettings {
    fn default() -> Self {
        Self {
            concurrency: 16,
            waiting_max: 10_000,
            schedule: Schedule::default(),
        }
    }
}

/// An event on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<T> {
    /// Its place among all events, from 1, each used once. Users' events come in order.
    pub position: u64,
    /// Whose it is. A hash will do: users with the same number merely wait for each other.
    pub user: u64,
    /// When it was generated; its age decides when it expires.
    pub generated_at_ms: u64,
    /// What is to be delivered.
    pub payload: T,
}

/// An event that is being tried. It must come back through [`Dispatcher::complete`].
#[derive(Debug)]
#[must_use = "an attempt that does not come back holds its user and its slot for ever"]
pub struct Attempt<T> {
    position: u64,
    epoch: u64,
    started_ms: u64,
    number: u32,
    payload: T,
}

impl<T> Attempt<T> {
    /// Which event it is.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Which try of the event this is since it was pushed, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What is to be delivered.
    pub fn payload(&self) -> &T {
        &self.payload
    }
}

/// What an outcome means for the event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a dead letter that is not kept is lost"]
pub enum Settlement<T> {
    /// It has arrived.
    Delivered {
        /// Which event.
        position: u64,
    },
    /// It is given up.
    Dead(DeadLetter<T>),
    /// It waits to be tried again.
    Waits,
}

/// An event that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter<T> {
    /// Which event.
    pub position: u64,
    /// What was to be delivered.
    pub payload: T,
    /// How often it was tried since it was pushed.
    pub tries: u32,
    /// Why it is given up.
    pub reason: DeadReason,
}

/// Why an event is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadReason {
    /// Refused at every try of its schedule.
    Refused {
        /// The status of the last answer.
        status: u16,
    },
    /// It got too old.
    Expired,
}

/// The order of one endpoint's deliveries.
#[derive(Debug)]
pub struct Dispatcher<T> {
    settings: LaneSettings,
    waiting: Waiting<T>,
    endpoint: Endpoint,
}

impl<T> Dispatcher<T> {
    /// Starts with nothing waiting and the endpoint taken to be up. `seed` is random; it spreads
    /// the pauses of endpoints that went down together.
    pub fn new(settings: LaneSettings, seed: u64) -> Self {
        Self {
            waiting: Waiting::default(),
            endpoint: Endpoint::new(settings.concurrency.max(1), seed),
            settings,
        }
    }

    /// Takes one event. An event whose position is held already is dropped, so a refill may
    /// overlap.
    ///
    /// # Errors
    ///
    /// The event itself, if [`is_full`](Self::is_full).
    pub fn push(&mut self, event: Event<T>) -> Result<(), Event<T>> {
        if self.is_full() {
            return Err(event);
        }
        let expires_at_ms = self.settings.schedule.expires_at_ms(event.generated_at_ms);
        self.waiting.push(event, expires_at_ms);
        Ok(())
    }

    /// Notes that there is nothing to deliver up to `position`, so that
    /// [`floor`](Self::floor) can pass it.
    pub fn skip(&mut self, position: u64) {
        self.waiting.skip(position);
    }

    /// The next event to try, if one may be tried now.
    pub fn poll(&mut self, now_ms: u64) -> Option<Attempt<T>> {
        if !self.endpoint.admits(now_ms) {
            return None;
        }
        let event = self.waiting.start_next(now_ms)?;
        let epoch = self.endpoint.start();
        Some(Attempt {
            position: event.position,
            epoch,
            started_ms: now_ms,
            number: event.tries,
            payload: event.payload,
        })
    }

    /// The next event that has become too old while it waited, if there is one. Call it before
    /// [`poll`](Self::poll), until it gives nothing.
    pub fn poll_expired(&mut self, now_ms: u64) -> Option<DeadLetter<T>> {
        self.waiting.take_expired(now_ms)
    }

    /// Takes an attempt back with how it ended.
    pub fn complete(
        &mut self,
        attempt: Attempt<T>,
        outcome: &Outcome,
        now_ms: u64,
    ) -> Settlement<T> {
        let schedule = &self.settings.schedule;
        self.endpoint
            .finish(attempt.epoch, outcome, now_ms, schedule);
        let position = attempt.position;
        match outcome {
            Outcome::Delivered { .. } => {
                self.waiting.settle(position);
                Settlement::Delivered { position }
            }
            Outcome::Refused { status } => self.refused(attempt, *status, now_ms),
            Outcome::Down { .. } | Outcome::Gone => {
                self.waiting.put_back(position, attempt.payload);
                Settlement::Waits
            }
        }
    }

    fn refused(&mut self, attempt: Attempt<T>, status: u16, now_ms: u64) -> Settlement<T> {
        let position = attempt.position;
        let (first_ms, refusals) = self.waiting.note_refusal(position, attempt.started_ms);
        let schedule = &self.settings.schedule;
        if let Some(due_ms) = schedule.next_try_ms(first_ms, refusals, now_ms) {
            self.waiting
                .put_back_until(position, attempt.payload, due_ms);
            return Settlement::Waits;
        }
        self.waiting.settle(position);
        Settlement::Dead(DeadLetter {
            position,
            payload: attempt.payload,
            tries: attempt.number,
            reason: DeadReason::Refused { status },
        })
    }

    /// When to poll again if nothing happens before; asked after the polls gave nothing.
    /// `None`: only a push or a completion can change anything.
    pub fn next_wakeup(&self) -> Option<u64> {
        let next_try = self.waiting.next_try_ms().and_then(|due_ms| {
            let admits_ms = self.endpoint.admits_from_ms()?;
            Some(due_ms.max(admits_ms))
        });
        let expiry = self.waiting.next_expiry_ms();
        next_try.into_iter().chain(expiry).min()
    }

    /// The position up to which everything is settled: a restart may begin after it. A dead letter
    /// counts as settled once it has been handed out.
    pub fn floor(&self) -> u64 {
        self.waiting.floor()
    }

    /// The highest position pushed or skipped; a refill begins after it.
    pub fn highest(&self) -> u64 {
        self.waiting.highest()
    }

    /// The positions that are held, ascending, at most `waiting_max`. With
    /// [`highest`](Self::highest) they say more than the floor: what is up to there and not here
    /// is settled.
    pub fn unsettled(&self) -> impl Iterator<Item = u64> {
        self.waiting.positions()
    }

    /// How many events are held, those in flight included.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no event is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`push`](Self::push) would refuse an event.
    pub fn is_full(&self) -> bool {
        self.len() >= self.room()
    }

    /// Whether it is time to refill from the store: at most half of the room is used, or what is
    /// held keeps nobody busy.
    pub fn wants_more(&self) -> bool {
        self.len() <= self.settings.waiting_max / 2 || (self.is_starved() && !self.is_full())
    }

    /// Events behind a refused one must not keep other users' events out: where they are what
    /// fills the room, there is [`BLOCKED_ROOM_FACTOR`] times as much.
    fn room(&self) -> usize {
        let waiting_max = self.settings.waiting_max.max(1);
        if self.is_starved() {
            waiting_max.saturating_mul(BLOCKED_ROOM_FACTOR)
        } else {
            waiting_max
        }
    }

    /// Whether the endpoint would take more than what is held lets be tried.
    fn is_starved(&self) -> bool {
        self.endpoint.state() == EndpointState::Open
            && self.waiting.has_refused()
            && self.waiting.ready_len() < self.settings.concurrency
    }

    /// How many attempts are in flight.
    pub fn in_flight(&self) -> usize {
        self.endpoint.in_flight()
    }

    /// Whether the endpoint takes events.
    pub fn state(&self) -> EndpointState {
        self.endpoint.state()
    }

    /// Lets an endpoint that said 410, or that was switched off, be tried again.
    pub fn enable(&mut self) {
        self.endpoint.enable();
    }

    /// Stops trying until [`enable`](Self::enable); what is in flight may still arrive, what waits
    /// goes on getting older.
    pub fn disable(&mut self) {
        self.endpoint.disable();
    }
}

#[cfg(test)]
mod tests;
