//! The dispatcher against a plain list of events, under random histories.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Push { user: u64 },
    Skip,
    Poll,
    Complete { which: usize, how: How },
    Wait { ms: u64 },
    Wake,
    Enable,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Delivered,
    Refused,
    Down,
    DownFor { ms: u64 },
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits,
    WaitsUntil(u64),
    InFlight,
    Delivered,
    Dead,
}

struct Known {
    position: u64,
    user: u64,
    generated_at_ms: u64,
    first_refused_ms: Option<u64>,
    refusals: usize,
    state: State,
}

struct World {
    lane: Dispatcher<u64>,
    schedule: Schedule,
    known: Vec<Known>,
    in_flight: Vec<Attempt<u64>>,
    position: u64,
    now_ms: u64,
}

const EXPIRY_MS: u64 = 400_000;

impl World {
    fn new(concurrency: usize, waiting_max: usize, seed: u64) -> Self {
        let schedule = Schedule {
            expiry_ms: EXPIRY_MS,
            ..Schedule::default()
        };
        let settings = LaneSettings {
            concurrency,
            waiting_max,
            schedule: schedule.clone(),
        };
        Self {
            lane: Dispatcher::new(settings, seed),
            schedule,
            known: Vec::new(),
            in_flight: Vec::new(),
            position: 0,
            now_ms: 1,
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Push { user } => self.push(user),
            Step::Skip => {
                self.position += 1;
                self.lane.skip(self.position);
            }
            Step::Poll => self.poll(),
            Step::Complete { which, how } if !self.in_flight.is_empty() => {
                let attempt = self.in_flight.remove(which % self.in_flight.len());
                self.complete(attempt, how);
            }
            Step::Complete { .. } => {}
            Step::Wait { ms } => self.now_ms += ms,
            Step::Wake => self.now_ms = self.now_ms.max(self.lane.next_wakeup().unwrap_or(0)),
            Step::Enable => self.lane.enable(),
        }
        self.check_floor();
    }

    fn push(&mut self, user: u64) {
        let event = Event {
            position: self.position + 1,
            user,
            generated_at_ms: self.now_ms,
            payload: self.position + 1,
        };
        if self.lane.push(event).is_err() {
            // More only behind refused events: see `a_refused_users_events_leave_room_for_others`.
            let (held, most) = (self.unsettled().count(), self.lane.settings.waiting_max);
            assert!((most..=most * crate::lane::BLOCKED_ROOM_FACTOR).contains(&held));
            return;
        }
        self.position += 1;
        self.known.push(Known {
            position: self.position,
            user,
            generated_at_ms: self.now_ms,
            first_refused_ms: None,
            refusals: 0,
            state: State::Waits,
        });
    }

    fn unsettled(&self) -> impl Iterator<Item = &Known> {
        let settled = |known: &&Known| matches!(known.state, State::Delivered | State::Dead);
        self.known.iter().filter(move |known| !settled(known))
    }

    /// Each user's oldest event that is not settled.
    fn heads(&self) -> Vec<&Known> {
        let mut heads: Vec<&Known> = Vec::new();
        for known in self.unsettled() {
            if heads.iter().all(|head| head.user != known.user) {
                heads.push(known);
            }
        }
        heads
    }

    /// The oldest event that could be tried if the endpoint took any.
    fn next(&self) -> Option<u64> {
        let now_ms = self.now_ms;
        let due = |head: &&&Known| match head.state {
            State::Waits => true,
            State::WaitsUntil(due_ms) => due_ms <= now_ms,
            _ => false,
        };
        self.heads().iter().find(due).map(|head| head.position)
    }

    fn known(&mut self, position: u64) -> &mut Known {
        let mut known = self.known.iter_mut();
        known
            .find(|known| known.position == position)
            .expect("an event that was pushed")
    }

    fn poll(&mut self) {
        while let Some(letter) = self.lane.poll_expired(self.now_ms) {
            assert_eq!(letter.reason, DeadReason::Expired);
            let is_head = self
                .heads()
                .iter()
                .any(|head| head.position == letter.position);
            assert!(is_head, "given up in order");
            let now_ms = self.now_ms;
            let known = self.known(letter.position);
            assert!(matches!(known.state, State::Waits | State::WaitsUntil(_)));
            assert!(known.generated_at_ms + EXPIRY_MS <= now_ms);
            known.state = State::Dead;
        }
        let expected = self.next();
        let admits = match self.lane.state() {
            EndpointState::Open => true,
            EndpointState::Paused { until_ms, .. } => until_ms <= self.now_ms,
            EndpointState::Disabled => false,
        };
        let Some(attempt) = self.lane.poll(self.now_ms) else {
            let idle = self.in_flight.is_empty() && admits;
            assert!(
                !idle || expected.is_none(),
                "{expected:?} is kept waiting by nobody"
            );
            if let (true, Some(wakeup_ms)) = (self.in_flight.is_empty(), self.lane.next_wakeup()) {
                assert!(
                    wakeup_ms > self.now_ms,
                    "a wake-up that finds nothing to do"
                );
            }
            return;
        };
        assert!(admits);
        assert_eq!(Some(attempt.position()), expected);
        assert_eq!(attempt.position(), *attempt.payload());
        self.known(attempt.position()).state = State::InFlight;
        self.in_flight.push(attempt);
        assert!(self.in_flight.len() <= self.lane.settings.concurrency);
        assert_eq!(self.in_flight.len(), self.lane.in_flight());
    }

    fn complete(&mut self, attempt: Attempt<u64>, how: How) {
        let (now_ms, position) = (self.now_ms, attempt.position());
        let started_ms = attempt.started_ms;
        let outcome = match how {
            How::Delivered => DELIVERED,
            How::Refused => REFUSED,
            How::Down => down(),
            How::DownFor { ms } => down_for(ms),
            How::Gone => Outcome::Gone,
        };
        let settlement = self.lane.complete(attempt, &outcome, now_ms);
        let tries_ms = self.schedule.refused_at_ms.clone();
        let known = self.known(position);
        known.state = match how {
            How::Delivered => State::Delivered,
            How::Refused => {
                let first_ms = *known.first_refused_ms.get_or_insert(started_ms);
                known.refusals += 1;
                let next = tries_ms.get(known.refusals);
                next.map_or(State::Dead, |ms| {
                    State::WaitsUntil((first_ms + ms).max(now_ms))
                })
            }
            How::Down | How::DownFor { .. } | How::Gone => State::Waits,
        };
        match (settlement, known.state) {
            (Settlement::Delivered { position: settled }, State::Delivered) => {
                assert_eq!(settled, position);
            }
            (Settlement::Dead(letter), State::Dead) => assert_eq!(letter.position, position),
            (Settlement::Waits, State::Waits | State::WaitsUntil(_)) => {}
            (settlement, state) => panic!("{settlement:?}, not {state:?}"),
        }
    }

    fn check_floor(&self) {
        let unsettled: Vec<u64> = self.unsettled().map(|known| known.position).collect();
        let floor = unsettled.first().map_or(self.position, |oldest| oldest - 1);
        assert_eq!(self.lane.floor(), floor);
        assert_eq!(self.lane.unsettled().collect::<Vec<_>>(), unsettled);
        assert_eq!(self.lane.len(), unsettled.len());
    }

    /// A receiver that is well again gets everything that is not given up.
    fn drain(&mut self) {
        self.lane.enable();
        for _ in 0..10 * self.known.len() + 10 {
            self.apply(&Step::Poll);
            while !self.in_flight.is_empty() {
                self.apply(&Step::Complete {
                    which: 0,
                    how: How::Delivered,
                });
            }
            self.apply(&Step::Wake);
        }
        assert!(self.lane.is_empty());
        let settled = |known: &Known| matches!(known.state, State::Delivered | State::Dead);
        assert!(self.known.iter().all(settled));
        assert_eq!(self.lane.floor(), self.position);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![
        6 => Just(How::Delivered),
        3 => Just(How::Refused),
        2 => Just(How::Down),
        1 => (0_u64..100_000).prop_map(|ms| How::DownFor { ms }),
        1 => Just(How::Gone),
    ];
    let step = prop_oneof![
        6 => (0_u64..5).prop_map(|user| Step::Push { user }),
        1 => Just(Step::Skip),
        6 => Just(Step::Poll),
        6 => (any::<usize>(), how).prop_map(|(which, how)| Step::Complete { which, how }),
        1 => (0_u64..90_000).prop_map(|ms| Step::Wait { ms }),
        2 => Just(Step::Wake),
        1 => Just(Step::Enable),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Order per user, one at a time per user, nothing lost, nothing twice, the floor, and nobody
    /// kept waiting without a reason: all are checked at every step by [`World`].
    #[test]
    fn any_history_keeps_the_rules(
        concurrency in 1_usize..6,
        waiting_max in 1_usize..20,
        seed: u64,
        steps in steps(),
    ) {
        let mut world = World::new(concurrency, waiting_max, seed);
        for step in &steps {
            world.apply(step);
        }
        world.drain();
    }
}
