//! The lane against a naive model, with random outcomes, and its rules as stories.

mod model;

use super::*;
use crate::outcome::DownReason;

const HOUR_MS: u64 = 3_600_000;

fn dispatcher(concurrency: usize, waiting_max: usize) -> Dispatcher<&'static str> {
    let settings = LaneSettings {
        concurrency,
        waiting_max,
        schedule: Schedule::default(),
    };
    Dispatcher::new(settings, 42)
}

fn event(position: u64, user: u64) -> Event<&'static str> {
    Event {
        position,
        user,
        generated_at_ms: 0,
        payload: "body",
    }
}

/// A dispatcher with events 1, 2, … of `users`.
fn waiting(concurrency: usize, users: &[u64]) -> Dispatcher<&'static str> {
    let mut lane = dispatcher(concurrency, 100);
    for (position, user) in (1..).zip(users) {
        lane.push(event(position, *user)).unwrap();
    }
    lane
}

fn poll_all(lane: &mut Dispatcher<&'static str>, now_ms: u64) -> Vec<Attempt<&'static str>> {
    std::iter::from_fn(|| lane.poll(now_ms)).collect()
}

fn positions(attempts: &[Attempt<&'static str>]) -> Vec<u64> {
    attempts.iter().map(Attempt::position).collect()
}

const DELIVERED: Outcome = Outcome::Delivered { status: 200 };
const REFUSED: Outcome = Outcome::Refused { status: 404 };

fn down() -> Outcome {
    DownReason::Timeout.into()
}

fn down_for(retry_after_ms: u64) -> Outcome {
    Outcome::Down {
        why: DownReason::Status(503),
        retry_after_ms: Some(retry_after_ms),
    }
}

/// Takes the one attempt that may be made now and completes it.
fn step(
    lane: &mut Dispatcher<&'static str>,
    outcome: &Outcome,
    now_ms: u64,
) -> (u64, Settlement<&'static str>) {
    let attempt = lane.poll(now_ms).expect("an attempt is due");
    (attempt.position(), lane.complete(attempt, outcome, now_ms))
}

fn until_ms(lane: &Dispatcher<&'static str>) -> u64 {
    match lane.state() {
        EndpointState::Paused { until_ms, .. } => until_ms,
        state => panic!("not paused: {state:?}"),
    }
}

#[test]
fn a_users_next_event_waits_and_other_users_do_not() {
    let mut lane = waiting(16, &[7, 7, 8, 7, 9]);
    let mut attempts = poll_all(&mut lane, 0);
    assert_eq!(positions(&attempts), [1, 3, 5]);
    let first = attempts.remove(0);
    let settled = lane.complete(first, &DELIVERED, 0);
    assert_eq!(settled, Settlement::Delivered { position: 1 });
    assert_eq!(positions(&poll_all(&mut lane, 0)), [2]);
}

#[test]
fn no_more_than_concurrency_are_in_flight() {
    let mut lane = waiting(2, &[1, 2, 3]);
    let mut attempts = poll_all(&mut lane, 0);
    assert_eq!((attempts.len(), lane.in_flight()), (2, 2));
    assert_eq!(
        lane.next_wakeup(),
        Some(75 * HOUR_MS),
        "only the expiry of the third"
    );
    let _ = lane.complete(attempts.remove(0), &DELIVERED, 0);
    assert_eq!(positions(&poll_all(&mut lane, 0)), [3]);
}

#[test]
fn an_endpoint_that_is_down_is_probed_with_its_oldest_event() {
    let mut lane = waiting(3, &[1, 2, 3, 4, 5]);
    let attempts = poll_all(&mut lane, 0);
    for attempt in attempts.into_iter().rev() {
        assert_eq!(lane.complete(attempt, &down(), 0), Settlement::Waits);
    }
    let until_ms = until_ms(&lane);
    assert!(
        (1_000..=2_000).contains(&until_ms),
        "three that fail together are one failure"
    );
    assert!(lane.poll(until_ms - 1).is_none());
    assert_eq!(lane.next_wakeup(), Some(until_ms));
    assert_eq!(positions(&poll_all(&mut lane, until_ms)), [1], "one probe");
}

#[test]
fn pauses_grow_until_an_answer_comes() {
    let mut lane = waiting(4, &[1, 2]);
    let mut now_ms = 0;
    for (shortest, longest) in [
        (1, 2),
        (2, 4),
        (4, 8),
        (8, 16),
        (16, 32),
        (30, 60),
        (30, 60),
    ] {
        let (position, _) = step(&mut lane, &down(), now_ms);
        assert_eq!(position, 1);
        let pause_ms = until_ms(&lane) - now_ms;
        assert!(
            (shortest * 1_000..=longest * 1_000).contains(&pause_ms),
            "{pause_ms}"
        );
        now_ms += pause_ms;
    }
    let _ = step(&mut lane, &DELIVERED, now_ms);
    assert_eq!(lane.state(), EndpointState::Open);
    let _ = step(&mut lane, &down(), now_ms);
    assert!(until_ms(&lane) - now_ms <= 2_000, "the first pause again");
}

#[test]
fn after_a_pause_the_attempts_at_once_double() {
    let users: Vec<u64> = (1..=20).collect();
    let mut lane = waiting(8, &users);
    for attempt in poll_all(&mut lane, 0) {
        let _ = lane.complete(attempt, &down(), 0);
    }
    let now_ms = until_ms(&lane);
    let mut widths = Vec::new();
    while !lane.is_empty() {
        let attempts = poll_all(&mut lane, now_ms);
        widths.push(attempts.len());
        for attempt in attempts {
            let _ = lane.complete(attempt, &DELIVERED, now_ms);
        }
    }
    assert_eq!(widths, [1, 2, 8, 8, 1]);
}

#[test]
fn a_straggler_does_not_end_a_pause_that_came_after_it_began() {
    let mut lane = waiting(3, &[1, 2, 3]);
    let mut attempts = poll_all(&mut lane, 0);
    let _ = lane.complete(attempts.remove(0), &down(), 10);
    let paused = lane.state();
    let _ = lane.complete(attempts.remove(0), &DELIVERED, 20);
    assert_eq!(lane.state(), paused);
    let _ = lane.complete(attempts.remove(0), &down_for(90_000), 30);
    assert_eq!(until_ms(&lane), 90_030, "what it is asked to wait counts");
}

#[test]
fn stragglers_keep_their_slots_after_a_pause() {
    let users: Vec<u64> = (1..=20).collect();
    let mut lane = waiting(4, &users);
    let mut stragglers = poll_all(&mut lane, 0);
    let _ = lane.complete(stragglers.remove(0), &down(), 0);
    let now_ms = until_ms(&lane);
    for _ in 0..3 {
        let _ = step(&mut lane, &DELIVERED, now_ms);
    }
    assert_eq!(poll_all(&mut lane, now_ms).len(), 1);
    assert_eq!(lane.in_flight(), 4);
}

#[test]
fn retry_after_is_kept_to() {
    let mut lane = waiting(1, &[1]);
    let _ = step(&mut lane, &down_for(7_000), 100);
    assert_eq!(until_ms(&lane), 7_100);
}

#[test]
fn a_refused_event_is_tried_on_its_schedule_and_holds_only_its_user() {
    let mut lane = waiting(16, &[1, 1, 2]);
    for (at_ms, next_ms) in [(0, 5_000), (5_000, 60_000), (60_000, 300_000)] {
        assert_eq!(step(&mut lane, &REFUSED, at_ms), (1, Settlement::Waits));
        if at_ms == 0 {
            let (position, _) = step(&mut lane, &DELIVERED, at_ms);
            assert_eq!(position, 3, "the other user goes on");
        }
        assert!(lane.poll(next_ms - 1).is_none());
        assert_eq!(lane.next_wakeup(), Some(next_ms));
    }
    let dead = DeadLetter {
        position: 1,
        payload: "body",
        tries: 4,
        reason: DeadReason::Refused { status: 404 },
    };
    assert_eq!(
        step(&mut lane, &REFUSED, 300_000),
        (1, Settlement::Dead(dead))
    );
    let (position, _) = step(&mut lane, &DELIVERED, 300_000);
    assert_eq!(position, 2, "its user goes on");
}

#[test]
fn a_receiver_that_is_gone_is_asked_no_more() {
    let mut lane = waiting(2, &[1, 2]);
    let mut attempts = poll_all(&mut lane, 0);
    assert_eq!(
        lane.complete(attempts.remove(0), &Outcome::Gone, 0),
        Settlement::Waits
    );
    let _ = lane.complete(attempts.remove(0), &down(), 0);
    assert_eq!(lane.state(), EndpointState::Disabled);
    assert!(lane.poll(HOUR_MS).is_none());
    assert_eq!(lane.next_wakeup(), Some(75 * HOUR_MS));
    lane.enable();
    assert_eq!(step(&mut lane, &DELIVERED, HOUR_MS).0, 1, "nothing is lost");
    assert_eq!(step(&mut lane, &DELIVERED, HOUR_MS).0, 2);
}

#[test]
fn an_event_that_is_too_old_is_given_up() {
    let mut lane = waiting(4, &[1, 1, 2]);
    lane.disable();
    let expired = |lane: &mut Dispatcher<_>, now_ms| {
        let dead = std::iter::from_fn(|| lane.poll_expired(now_ms));
        dead.map(|letter| (letter.position, letter.reason))
            .collect::<Vec<_>>()
    };
    assert_eq!(expired(&mut lane, 75 * HOUR_MS - 1), []);
    let all = [1, 2, 3].map(|position| (position, DeadReason::Expired));
    assert_eq!(expired(&mut lane, 75 * HOUR_MS), all);
    assert!(lane.is_empty());
    assert_eq!(lane.floor(), 3);
}

#[test]
fn an_event_behind_one_in_flight_is_not_given_up_before_it() {
    let mut lane = waiting(4, &[1, 1]);
    let attempt = lane.poll(0).unwrap();
    assert!(lane.poll_expired(75 * HOUR_MS).is_none());
    let _ = lane.complete(attempt, &down(), 75 * HOUR_MS);
    assert_eq!(
        lane.poll_expired(75 * HOUR_MS)
            .map(|letter| letter.position),
        Some(1)
    );
    assert_eq!(
        lane.poll_expired(75 * HOUR_MS)
            .map(|letter| letter.position),
        Some(2)
    );
}

#[test]
fn a_refused_event_that_waits_can_expire() {
    let mut lane = waiting(4, &[1]);
    let _ = step(&mut lane, &REFUSED, 75 * HOUR_MS - 1);
    assert_eq!(
        lane.poll_expired(75 * HOUR_MS).map(|letter| letter.tries),
        Some(1)
    );
    assert!(lane.poll(80 * HOUR_MS).is_none());
    assert_eq!(lane.next_wakeup(), None);
}

#[test]
fn a_full_dispatcher_gives_the_event_back() {
    let mut lane = dispatcher(4, 2);
    assert!(lane.wants_more());
    lane.push(event(1, 1)).unwrap();
    lane.push(event(2, 2)).unwrap();
    assert!(lane.is_full() && !lane.wants_more());
    assert_eq!(lane.push(event(3, 3)), Err(event(3, 3)));
    let _ = step(&mut lane, &DELIVERED, 0);
    assert!(!lane.is_full() && lane.wants_more());
}

#[test]
fn a_refused_users_events_leave_room_for_others() {
    let mut lane = dispatcher(4, 2);
    lane.push(event(1, 1)).unwrap();
    let _ = step(&mut lane, &Outcome::Refused { status: 400 }, 0);
    for position in 2..10 {
        assert!(lane.wants_more(), "nothing that is held may be tried");
        lane.push(event(position, 1)).unwrap();
    }
    lane.push(event(10, 2)).unwrap();
    assert_eq!(step(&mut lane, &DELIVERED, 1).0, 10);
    for position in 11.. {
        if lane.push(event(position, 1)).is_err() {
            break;
        }
    }
    assert_eq!(
        lane.len(),
        2 * BLOCKED_ROOM_FACTOR,
        "this room has an end, too"
    );
}

#[test]
fn a_refill_may_overlap() {
    let mut lane = waiting(4, &[1, 2]);
    let attempt = lane.poll(0).unwrap();
    lane.push(event(1, 1)).unwrap();
    lane.push(event(2, 2)).unwrap();
    assert_eq!(lane.len(), 2);
    let _ = lane.complete(attempt, &DELIVERED, 0);
    assert_eq!(step(&mut lane, &DELIVERED, 0).0, 2);
    assert!(lane.poll(0).is_none());
}

#[test]
fn the_floor_is_below_the_oldest_that_is_not_settled() {
    let mut lane = dispatcher(4, 100);
    assert_eq!(lane.floor(), 0);
    lane.skip(3);
    assert_eq!(lane.floor(), 3);
    lane.push(event(5, 1)).unwrap();
    lane.push(event(8, 2)).unwrap();
    lane.skip(9);
    let mut attempts = poll_all(&mut lane, 0);
    assert_eq!(lane.floor(), 4);
    let _ = lane.complete(attempts.remove(1), &DELIVERED, 0);
    assert_eq!(lane.floor(), 4);
    assert_eq!(lane.unsettled().collect::<Vec<_>>(), [5]);
    let _ = lane.complete(attempts.remove(0), &DELIVERED, 0);
    assert_eq!(lane.floor(), 9);
}
