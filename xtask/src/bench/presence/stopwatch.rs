//! Three clocks for one call: the wall's, the thread's CPU time, and what is left of the wall's
//! without the time in which the thread could run but had no core.
//!
//! On a busy machine a call of a microsecond now and then takes milliseconds because the kernel
//! let others run. The third figure keeps that apart from what the call itself waited for, such
//! as a lock. All three are shown.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// Calls shorter than this are not worth asking the kernel about.
const SLOW_NANOS: u64 = 500_000;

/// How long one call took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lap {
    /// From beginning to end.
    pub(super) wall: u64,
    /// On a core.
    pub(super) cpu: u64,
    /// From beginning to end, less the waiting for a core.
    pub(super) without_queue: u64,
}

/// Measures calls of the thread that made it.
pub(super) struct Stopwatch {
    schedstat: File,
    queued_nanos: u64,
}

impl Stopwatch {
    /// A stopwatch for this thread.
    pub(super) fn new() -> Result<Self> {
        let schedstat = File::open("/proc/thread-self/schedstat")?;
        let mut stopwatch = Self {
            schedstat,
            queued_nanos: 0,
        };
        stopwatch.begin_batch();
        Ok(stopwatch)
    }

    /// Notes how long the thread has waited for cores until now. Calling it before every few
    /// calls keeps the figure without the queue from excusing a slow call for older waits.
    pub(super) fn begin_batch(&mut self) {
        self.queued_nanos = self.read_queued();
    }

    /// Runs `call` and says how long it took.
    pub(super) fn time<T>(&mut self, call: impl FnOnce() -> T) -> (T, Lap) {
        let (cpu_start, start) = (cpu_nanos(), Instant::now());
        let result = call();
        let wall = start.elapsed().as_nanos() as u64;
        // The reading of the clock is in it, and must not make it longer than the wall's time.
        let cpu = (cpu_nanos() - cpu_start).min(wall);
        let without_queue = if wall < SLOW_NANOS {
            wall
        } else {
            wall - self.take_queued(wall - cpu)
        };
        (
            result,
            Lap {
                wall,
                cpu,
                without_queue,
            },
        )
    }

    /// The time in the run queue since the last look, but not more than `most`.
    fn take_queued(&mut self, most: u64) -> u64 {
        let before = self.queued_nanos;
        self.begin_batch();
        (self.queued_nanos - before).min(most)
    }

    /// The second number of `schedstat`; 0 where the kernel keeps none.
    fn read_queued(&self) -> u64 {
        let mut text = [0; 64];
        let length = self.schedstat.read_at(&mut text, 0).unwrap_or(0);
        let text = std::str::from_utf8(&text[..length]).unwrap_or("");
        text.split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    }
}

fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_sleep_takes_wall_time_but_no_cpu_time_and_is_no_waiting_for_a_core() {
        let mut stopwatch = Stopwatch::new().unwrap();
        let sleep = || std::thread::sleep(Duration::from_millis(20));
        let ((), lap) = stopwatch.time(sleep);
        assert!(lap.wall >= 20_000_000);
        assert!(lap.cpu < lap.wall / 2);
        assert!(lap.without_queue > 0);
    }
}
