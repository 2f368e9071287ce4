//! Delays stay within their bounds, whatever a receiver says.

use proptest::prelude::*;

use super::*;

#[test]
fn pauses_double_to_a_minute() {
    let schedule = Schedule::default();
    let bounds = |failures| {
        let at = |random| schedule.pause_ms(failures, None, random);
        let widest = (0..70_000).map(at);
        (widest.clone().min().unwrap(), widest.max().unwrap())
    };
    assert_eq!(bounds(1), (1_000, 2_000));
    assert_eq!(bounds(2), (2_000, 4_000));
    assert_eq!(bounds(5), (16_000, 32_000));
    assert_eq!(bounds(6), (30_000, 60_000));
    assert_eq!(bounds(1_000), (30_000, 60_000));
}

#[test]
fn retry_after_replaces_the_pause_within_bounds() {
    let schedule = Schedule::default();
    assert_eq!(schedule.pause_ms(9, Some(5_000), 7), 5_000);
    assert_eq!(schedule.pause_ms(9, Some(0), 7), 1_000);
    assert_eq!(schedule.pause_ms(1, Some(u64::MAX), 7), 3_600_000);
}

#[test]
fn a_refused_event_is_tried_four_times() {
    let schedule = Schedule::default();
    let next = |refusals, now_ms| schedule.next_try_ms(100_000, refusals, now_ms);
    assert_eq!(next(1, 100_020), Some(105_000));
    assert_eq!(next(2, 105_020), Some(160_000));
    assert_eq!(next(3, 160_020), Some(400_000));
    assert_eq!(next(4, 400_020), None);
    assert_eq!(
        next(1, 900_000),
        Some(900_000),
        "a try that is late is due at once"
    );
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now_ms = 1_730_192_400_000; // Tue, 29 Oct 2024 09:00:00 GMT
    let rows = [
        ("0", Some(0)),
        ("120", Some(120_000)),
        (" 7 ", Some(7_000)),
        ("99999999999999999999", Some(u64::MAX)),
        ("Tue, 29 Oct 2024 09:01:30 GMT", Some(90_000)),
        ("Tue, 29 Oct 2024 08:00:00 GMT", Some(0)),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("soon", None),
    ];
    for (value, expected) in rows {
        assert_eq!(parse_retry_after_ms(value, now_ms), expected, "{value:?}");
    }
}

#[test]
fn senseless_delays_are_found() {
    let check = |change: fn(&mut Schedule), error| {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.validate(), Ok(()));
        change(&mut schedule);
        assert_eq!(schedule.validate(), Err(error));
    };
    check(|schedule| schedule.pause_ms_min = 0, ScheduleError::NoPause);
    check(
        |schedule| schedule.pause_ms_max = 999,
        ScheduleError::PauseBounds,
    );
    check(
        |schedule| schedule.retry_after_ms_max = 999,
        ScheduleError::PauseBounds,
    );
    check(
        |schedule| schedule.refused_at_ms.clear(),
        ScheduleError::RefusedTries,
    );
    check(
        |schedule| schedule.refused_at_ms = vec![5],
        ScheduleError::RefusedTries,
    );
    check(
        |schedule| schedule.refused_at_ms = vec![0, 5, 5],
        ScheduleError::RefusedTries,
    );
}

proptest! {
    #[test]
    fn a_pause_keeps_its_bounds(
        pause_ms_min in 1_u64..100_000,
        more in 0_u64..u64::MAX / 2,
        asked_more in 0_u64..u64::MAX / 2,
        failures in 1_u32..,
        asked in proptest::option::of(any::<u64>()),
        random: u64,
    ) {
        let schedule = Schedule {
            pause_ms_min,
            pause_ms_max: pause_ms_min + more,
            retry_after_ms_max: pause_ms_min + asked_more,
            ..Schedule::default()
        };
        prop_assert_eq!(schedule.validate(), Ok(()));
        let pause_ms = schedule.pause_ms(failures, asked, random);
        let longest = if asked.is_some() { schedule.retry_after_ms_max } else { schedule.pause_ms_max };
        prop_assert!((pause_ms_min..=longest).contains(&pause_ms));
    }

    #[test]
    fn a_next_try_is_never_in_the_past(first: u64, refusals: u32, now: u64) {
        if let Some(due) = Schedule::default().next_try_ms(first, refusals, now) {
            prop_assert!(due >= now && due >= first && refusals < 4);
        }
    }

    #[test]
    fn any_retry_after_is_read_without_harm(value in ".*", now: u64) {
        let _ = parse_retry_after_ms(&value, now);
    }
}
