//! What an endpoint at level `user` hears, and that it ends up believing the truth.

use proptest::prelude::*;

use super::*;

const USER: Level = Level::User { grace_ms: 0 };
const PATIENT: Level = Level::User { grace_ms: 5_000 };

fn event(
    position: u64,
    user: &'static str,
    status: Status,
    at_ms: u64,
    online_sessions: u32,
) -> LevelEvent<&'static str, ()> {
    LevelEvent {
        position,
        user,
        status,
        at_ms,
        online_sessions,
        payload: (),
    }
}

use Status::{LoggedOut, Offline, Online};

fn passed(filter: &mut LevelFilter<&'static str, ()>) -> Vec<u64> {
    std::iter::from_fn(|| filter.poll_passed())
        .map(|event| event.position)
        .collect()
}

fn run(level: Level, events: &[(&'static str, Status, u64, u32)]) -> Vec<u64> {
    let mut filter = LevelFilter::new(level, 100);
    for (position, (user, status, at_ms, online)) in (1..).zip(events) {
        filter.handle(event(position, user, *status, *at_ms, *online));
    }
    passed(&mut filter)
}

#[test]
fn at_level_session_everything_passes() {
    let events = [
        ("a", Online, 1, 1),
        ("a", Online, 2, 2),
        ("a", Offline, 3, 1),
    ];
    assert_eq!(run(Level::Session, &events), [1, 2, 3]);
}

#[test]
fn at_level_user_the_first_and_the_last_device_pass() {
    let events = [
        ("a", Online, 1, 1),
        ("a", Online, 2, 2),
        ("b", Online, 3, 1),
        ("a", Offline, 4, 1),
        ("a", Offline, 5, 0),
        ("b", LoggedOut, 6, 0),
    ];
    assert_eq!(run(USER, &events), [1, 3, 5, 6]);
}

#[test]
fn a_return_in_time_is_silent() {
    let events = [
        ("a", Online, 0, 1),
        ("a", Offline, 1_000, 0),
        ("a", Online, 5_999, 1),
    ];
    assert_eq!(run(PATIENT, &events), [1]);
}

#[test]
fn a_late_return_tells_of_both() {
    let events = [
        ("a", Online, 0, 1),
        ("a", Offline, 1_000, 0),
        ("a", Online, 6_000, 1),
    ];
    assert_eq!(run(PATIENT, &events), [1, 2, 3]);
}

#[test]
fn an_ending_passes_when_its_time_is_over() {
    let mut filter = LevelFilter::new(PATIENT, 100);
    filter.handle(event(1, "a", Offline, 1_000, 0));
    assert_eq!(
        (filter.next_wakeup(), filter.oldest_held()),
        (Some(6_000), Some(1))
    );
    filter.handle_time(5_999);
    assert!(passed(&mut filter).is_empty());
    filter.handle_time(6_000);
    assert_eq!(passed(&mut filter), [1]);
    assert_eq!((filter.next_wakeup(), filter.oldest_held()), (None, None));
}

#[test]
fn a_logout_is_not_held_back() {
    let events = [("a", LoggedOut, 1_000, 0), ("a", Online, 1_001, 1)];
    assert_eq!(run(PATIENT, &events), [1, 2]);
}

#[test]
fn one_users_return_takes_back_no_other_users_ending() {
    let events = [
        ("a", Offline, 1, 0),
        ("b", Online, 2, 1),
        ("a", Online, 3, 1),
    ];
    assert_eq!(run(PATIENT, &events), [2]);
}

#[test]
fn a_second_return_after_a_silent_one_is_judged_anew() {
    let events = [
        ("a", Offline, 1_000, 0),
        ("a", Online, 2_000, 1),
        ("a", Offline, 3_000, 0),
        ("a", Online, 9_000, 1),
    ];
    assert_eq!(run(PATIENT, &events), [3, 4]);
}

#[test]
fn at_the_limit_the_oldest_ending_passes_before_its_time() {
    let mut filter = LevelFilter::new(PATIENT, 2);
    for (position, user) in [(1, "a"), (2, "b"), (3, "c")] {
        filter.handle(event(position, user, Offline, position, 0));
    }
    assert_eq!(passed(&mut filter), [1]);
    assert_eq!((filter.held_len(), filter.oldest_held()), (2, Some(2)));
    filter.handle(event(4, "a", Online, 4, 1));
    assert_eq!(
        passed(&mut filter),
        [4],
        "its ending was told, so is its return"
    );
}

/// What one user's devices do: one more comes, one goes, one logs out; and how long after.
fn devices() -> impl Strategy<Value = Vec<(usize, Status, u64)>> {
    let status = prop_oneof![Just(Online), Just(Offline), Just(LoggedOut)];
    prop::collection::vec((0..USERS.len(), status, 0_u64..8_000), 0..60)
}

const USERS: [&str; 3] = ["a", "b", "c"];

proptest! {
    /// Told are, in turn, a user's first device and its last; what was told last is true.
    #[test]
    fn what_a_user_level_endpoint_believes_is_true_in_the_end(
        devices in devices(),
        grace_ms in prop_oneof![Just(0_u64), 1_u64..10_000],
        held_max in 0_usize..4,
    ) {
        let mut filter = LevelFilter::new(Level::User { grace_ms }, held_max);
        let mut online = [0_u32; USERS.len()];
        let mut told = [const { Vec::new() }; USERS.len()];
        let mut now_ms = 0;
        let mut position = 0;
        for (user, status, later_ms) in devices {
            now_ms += later_ms;
            if status != Online && online[user] == 0 {
                continue;
            }
            online[user] = if status == Online { online[user] + 1 } else { online[user] - 1 };
            position += 1;
            filter.handle(event(position, USERS[user], status, now_ms, online[user]));
        }
        filter.handle_time(u64::MAX);
        while let Some(event) = filter.poll_passed() {
            let user = USERS.iter().position(|name| *name == event.user).unwrap();
            told[user].push((event.position, event.status));
        }
        prop_assert_eq!((filter.held_len(), filter.oldest_held()), (0, None));
        for (told, online) in told.iter().zip(online) {
            prop_assert!(told.is_sorted_by(|(one, _), (next, _)| one < next));
            let in_turn = |(at, (_, status)): (usize, &(u64, Status))| {
                (*status == Online) == (at % 2 == 0)
            };
            prop_assert!(told.iter().enumerate().all(in_turn));
            prop_assert_eq!(told.len() % 2 == 1, online > 0);
        }
    }
}
