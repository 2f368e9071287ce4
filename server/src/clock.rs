//! The wall's clock, for those who do not get the time as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Unix time as it was at the start, and from there on by a clock that is never set.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    started_ms: u64,
    started: Instant,
}

impl SteadyClock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started_ms: unix_ms(),
            started: Instant::now(),
        }
    }

    /// Milliseconds; never less than before.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started_ms.saturating_add(passed)
    }
}
