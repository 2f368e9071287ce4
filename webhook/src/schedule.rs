//! When something is tried again: pure functions of what failed, how often, and the time.
//!
//! Chance is an argument too: `random` is any 64 random bits, so a test can name its luck. Every
//! delay has a lower and an upper bound; nothing a receiver says moves it beyond them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// The delays of one endpoint, all in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The shortest pause of an endpoint that is down. Default 1 s.
    pub pause_ms_min: u64,
    /// The longest pause that is our own choice. Default 60 s.
    pub pause_ms_max: u64,
    /// The longest pause a receiver's `Retry-After` can ask for. Default 1 h, so that a slip of
    /// the receiver cannot hold its events until they expire.
    pub retry_after_ms_max: u64,
    /// When a refused event is tried, counted from its first try, ascending; the first is 0. After
    /// the last it is a dead letter. Default 0 s, 5 s, 1 min, 5 min.
    pub refused_at_ms: Vec<u64>,
    /// How old an event may get before it is a dead letter. Default 75 h: a weekend and a day.
    pub expiry_ms: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            pause_ms_min: 1_000,
            pause_ms_max: 60_000,
            retry_after_ms_max: 3_600_000,
            refused_at_ms: vec![0, 5_000, 60_000, 300_000],
            expiry_ms: 75 * 3_600_000,
        }
    }
}

impl Schedule {
    /// Whether the delays make sense together.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), ScheduleError> {
        if self.pause_ms_min == 0 {
            return Err(ScheduleError::NoPause);
        }
        if self.pause_ms_max < self.pause_ms_min || self.retry_after_ms_max < self.pause_ms_min {
            return Err(ScheduleError::PauseBounds);
        }
        let ascending = self
            .refused_at_ms
            .is_sorted_by(|earlier, later| earlier < later);
        if self.refused_at_ms.first() != Some(&0) || !ascending {
            return Err(ScheduleError::RefusedTries);
        }
        Ok(())
    }

    /// How long to leave an endpoint alone that has been down `failures` times in a row (at least
    /// once): doubling from the shortest pause to the longest, the upper half of each step at
    /// random. `Retry-After` replaces it, within its own bounds.
    #[must_use]
    pub fn pause_ms(&self, failures: u32, retry_after_ms: Option<u64>, random: u64) -> u64 {
        if let Some(asked) = retry_after_ms {
            return self.clamped_retry_after_ms(asked);
        }
        let doubled = 1_u64.checked_shl(failures).unwrap_or(u64::MAX);
        let ceiling = self.pause_ms_min.saturating_mul(doubled);
        let ceiling = ceiling.min(self.pause_ms_max);
        let floor = (ceiling / 2).max(self.pause_ms_min).min(ceiling);
        floor + random % (ceiling - floor + 1)
    }

    /// What a receiver asked for, within the bounds of what it may ask for.
    #[must_use]
    pub fn clamped_retry_after_ms(&self, asked_ms: u64) -> u64 {
        asked_ms.max(self.pause_ms_min).min(self.retry_after_ms_max)
    }

    /// When to try an event again that was first tried at `first_try_ms` and has been refused
    /// `refusals` times; never before `now_ms`. `None`: never again.
    #[must_use]
    pub fn next_try_ms(&self, first_try_ms: u64, refusals: u32, now_ms: u64) -> Option<u64> {
        let refusals = usize::try_from(refusals).ok()?;
        let offset = self.refused_at_ms.get(refusals)?;
        Some(first_try_ms.saturating_add(*offset).max(now_ms))
    }

    /// When an event that was generated at `generated_at_ms` becomes a dead letter.
    #[must_use]
    pub fn expires_at_ms(&self, generated_at_ms: u64) -> u64 {
        generated_at_ms.saturating_add(self.expiry_ms)
    }
}

/// Why a [`Schedule`] makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// Without a pause an endpoint that is down would be asked without end.
    #[error("the shortest pause is 0")]
    NoPause,
    /// A longest pause is below the shortest.
    #[error("a longest pause is shorter than the shortest")]
    PauseBounds,
    /// The tries of a refused event do not begin with 0 or do not ascend.
    #[error("the tries of a refused event must begin with 0 and ascend")]
    RefusedTries,
}

/// Reads a `Retry-After` header (RFC 9110 §10.2.3): seconds, or a date, as milliseconds from
/// `now_ms` (Unix). A date that has passed is 0; what is neither is `None`.
#[must_use]
pub fn parse_retry_after_ms(value: &str, now_ms: u64) -> Option<u64> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit mean a very long time.
        return Some(
            value
                .parse::<u64>()
                .unwrap_or(u64::MAX)
                .saturating_mul(1_000),
        );
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now: SystemTime = UNIX_EPOCH.checked_add(Duration::from_millis(now_ms))?;
    let wait = date.duration_since(now).unwrap_or_default();
    Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
