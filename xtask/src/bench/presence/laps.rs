//! Many laps of a [`Stopwatch`](super::stopwatch::Stopwatch), and what to say about them.

use std::fmt;
use std::time::Duration;

use super::super::stats::{as_time, percentile};
use super::stopwatch::Lap;

/// Laps in the order in which they were measured.
#[derive(Clone, Default)]
pub(super) struct Laps {
    wall: Vec<u64>,
    cpu_max: u64,
    without_queue_max: u64,
}

impl Laps {
    /// Room for `count` laps, so that the list does not grow while memory is watched.
    pub(super) fn with_capacity(count: usize) -> Self {
        // Written once, the pages count from the beginning.
        let mut wall = vec![1; count];
        wall.clear();
        Self {
            wall,
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, lap: Lap) {
        self.wall.push(lap.wall);
        self.cpu_max = self.cpu_max.max(lap.cpu);
        self.without_queue_max = self.without_queue_max.max(lap.without_queue);
    }

    /// The slowest by the wall's clock.
    pub(super) fn wall_max(&self) -> Duration {
        Duration::from_nanos(self.wall.iter().copied().max().unwrap_or(0))
    }

    /// The most CPU time that one took.
    pub(super) fn cpu_max(&self) -> Duration {
        Duration::from_nanos(self.cpu_max)
    }

    /// The slowest when the waiting for a core is taken off.
    pub(super) fn without_queue_max(&self) -> Duration {
        Duration::from_nanos(self.without_queue_max)
    }

    pub(super) fn count(&self) -> usize {
        self.wall.len()
    }
}

impl fmt::Display for Laps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.wall.clone();
        sorted.sort_unstable();
        let at = |per_mille| as_time(percentile(&sorted, per_mille));
        let max = as_time(self.wall_max().as_nanos() as u64);
        write!(
            f,
            "p50 {}, p99 {}, p99.9 {}, max {max}",
            at(500),
            at(990),
            at(999)
        )
    }
}
