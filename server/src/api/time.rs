//! Times as requests write them: ISO 8601, or Unix milliseconds.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveTime};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A time in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) u64);

impl Time {
    /// Reads digits as milliseconds, `2026-03-27T10:00:00Z` (with any offset) as a moment and
    /// `2026-03-27` as its midnight, UTC. `None` for anything else, and for times before 1970.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(Self);
        }
        let ms = match DateTime::parse_from_rfc3339(text) {
            Ok(time) => time.timestamp_millis(),
            Err(_) => midnight_ms(text)?,
        };
        u64::try_from(ms).ok().map(Self)
    }
}

fn midnight_ms(text: &str) -> Option<i64> {
    let date: NaiveDate = text.parse().ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis())
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an ISO 8601 time or Unix milliseconds")
    }

    fn visit_u64<E: Error>(self, ms: u64) -> Result<Time, E> {
        Ok(Time(ms))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        Time::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_usual_form() {
        let ms = 1_774_605_600_000;
        let table = [
            ("0", Some(0)),
            ("1774605600000", Some(ms)),
            ("2026-03-27T10:00:00Z", Some(ms)),
            ("2026-03-27T10:00:00.250Z", Some(ms + 250)),
            ("2026-03-27T11:00:00+01:00", Some(ms)),
            ("2026-03-27", Some(ms - 36_000_000)),
            ("1969-12-31T23:59:59Z", None),
            ("-1", None),
            ("2026-03-27T10:00:00", None),
            ("2026-02-30", None),
            ("99999999999999999999999", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(Time::parse(text), expected.map(Time), "{text}");
            let json = serde_json::to_string(text).unwrap();
            let read: Result<Time, _> = serde_json::from_str(&json);
            assert_eq!(read.ok(), expected.map(Time), "{json}");
        }
        assert_eq!(serde_json::from_str::<Time>("7").unwrap(), Time(7));
        for json in ["-7", "7.5", "null", "[]"] {
            assert!(serde_json::from_str::<Time>(json).is_err(), "{json}");
        }
    }
}
