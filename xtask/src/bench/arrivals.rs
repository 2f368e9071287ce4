//! What CONNECT takes while clients come at a fixed pace.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::callers::Callers;
use super::stats::{as_time, median, percentile};

/// How many clients came, and how long they waited for their CONNACK, in nanoseconds.
#[derive(Clone, Copy)]
pub(super) struct Arrivals {
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// The median of the p99 of every second: what one stall, or another process, cannot spoil.
    pub(super) p99_of_seconds: f64,
    /// CONNACKs a second.
    pub(super) rate: f64,
}

impl Arrivals {
    /// Lets `count` clients come, `rate` a second.
    pub(super) fn measure(target: SocketAddr, rate: u32, count: usize) -> Result<Self> {
        ensure!(count > 0, "no connections");
        let mut callers = Callers::new(target)?;
        let started = Instant::now();
        callers.pace(rate, count, |callers, _| callers.call().map(drop))?;
        callers.settle()?;
        let took = started.elapsed().as_secs_f64();
        let mut laps = callers.take_laps();
        let seconds = laps.chunks_mut(rate as usize).map(|second| {
            second.sort_unstable();
            percentile(second, 990) as f64
        });
        let p99_of_seconds = median(&seconds.collect::<Vec<_>>());
        laps.sort_unstable();
        Ok(Self {
            p50: percentile(&laps, 500) as f64,
            p99: percentile(&laps, 990) as f64,
            p99_of_seconds,
            rate: count as f64 / took,
        })
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, rate, .. } = *self;
        write!(f, "p50 {}, p99 {}, {rate:.0}/s", time(p50), time(p99))
    }
}

/// `nanos` for a reader.
pub(super) fn time(nanos: f64) -> String {
    as_time(nanos as u64)
}
