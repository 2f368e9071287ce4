//! One server, one shape, one QoS, measured once.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::peer::Peer;
use super::super::process;
use super::super::stats::{as_time, percentile};
use super::crowd::Crowd;
use super::shape::Shape;

/// How long messages are sent at a fixed rate.
const PACED_TIME: Duration = Duration::from_secs(4);

/// What a server did.
pub(super) struct Measurement {
    /// Messages delivered per second of its CPU time.
    pub(super) per_cpu_second: f64,
    /// Messages delivered per second.
    pub(super) per_second: f64,
    /// Nanoseconds under way at the fixed rate, the median.
    pub(super) p50_nanos: u64,
    /// Of 100 messages, 99 are under way for no longer, in nanoseconds.
    pub(super) p99_nanos: u64,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (as_time(self.p50_nanos), as_time(self.p99_nanos));
        let (per_cpu, per_second) = (self.per_cpu_second / 1e3, self.per_second / 1e3);
        write!(
            f,
            "{per_cpu:.0}k/CPU s {per_second:.0}k/s p50 {p50} p99 {p99}"
        )
    }
}

/// Starts the server and sends it both kinds of traffic.
pub(super) fn measure(peer: &impl Peer, shape: &Shape, qos: u8) -> Result<Measurement> {
    let running = peer.start()?;
    let pid = running.pid();
    let mut crowd = Crowd::connect(running.addresses.tcp, shape, qos)?;
    // Buffers get their sizes, and what the connections left to do is done.
    crowd.saturate(shape.messages / 10)?;
    process::wait_until_idle(pid)?;

    let before = process::cpu_nanos(pid)?;
    let started = Instant::now();
    crowd.saturate(shape.messages)?;
    let elapsed = started.elapsed();
    // The kernel adds up what a thread uses at the end of its turn.
    process::wait_until_idle(pid)?;
    let cpu_nanos = process::cpu_nanos(pid)?.saturating_sub(before);

    let mut laps = crowd.pace(PACED_TIME)?;
    laps.sort_unstable();
    let deliveries = shape.deliveries(shape.messages) as f64;
    Ok(Measurement {
        per_cpu_second: deliveries * 1e9 / cpu_nanos as f64,
        per_second: deliveries / elapsed.as_secs_f64(),
        p50_nanos: percentile(&laps, 500),
        p99_nanos: percentile(&laps, 990),
    })
}
