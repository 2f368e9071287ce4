//! Deliveries a second: a backlog from the disk, signed, in order, beside the same client that
//! posts the same bodies from memory, unsigned.
//!
//! The receiver holds its answers back while sessions come and go, and counts once it lets them
//! out. Server and peer take turns; each has the receiver and the cores for itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::callers::Callers;
use super::super::peer::Peer;
use super::super::process;
use super::super::receiver::{Delivery, Receiver};
use super::super::report::Report;
use super::super::stats::median;
use super::super::whosthere::{Whosthere, webhook_settings};
use super::poster::{Poster, write_bodies};
use super::{Options, verify};

/// Sessions that are open at the same time.
const WAVE: usize = 10_000;

/// How many of them come in a second.
const WAVE_RATE: u32 = 4_000;

/// The receiver may hold its answers back for as long as all sessions take.
const PATIENCE: &str = "deadline_secs = 120\n";

/// Time for everything to be delivered.
const DRAIN_MAX: Duration = Duration::from_secs(180);

const SHARE_MIN: f64 = 0.5;

/// How fast events were delivered, and what one cost.
struct Pace {
    per_second: f64,
    cpu_micros: f64,
    /// Cores that the receiver used: what it lacks is shared by both sides.
    receiver_cores: f64,
}

pub(super) fn run(options: &Options, server: &Whosthere, report: &mut Report) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let bodies = directory.path().join("bodies");
    let mut pairs = Vec::new();
    for round in 0..options.rounds {
        let early = match round.is_multiple_of(2) {
            true => None,
            // The bodies of the round before.
            false => Some(from_memory(&bodies, 2 * options.sessions)?),
        };
        let (ours, deliveries) = from_backlog(server, options.sessions)?;
        write_bodies(&bodies, &deliveries)?;
        drop(deliveries);
        let theirs = match early {
            Some(theirs) => theirs,
            None => from_memory(&bodies, 2 * options.sessions)?,
        };
        println!(
            "saturation, round {}: {ours}; from memory {theirs}",
            round + 1
        );
        pairs.push((ours, theirs));
    }
    let over = |figure: &dyn Fn(&(Pace, Pace)) -> f64| {
        median(&pairs.iter().map(figure).collect::<Vec<_>>())
    };
    let share = over(&|(ours, theirs)| ours.per_second / theirs.per_second);
    report.goal(
        "deliveries a second: signed, durable, ordered",
        format!(
            "{:.0}, from memory {:.0}, ratio {share:.2}",
            over(&|(ours, _)| ours.per_second),
            over(&|(_, theirs)| theirs.per_second)
        ),
        format!(">= {SHARE_MIN}"),
        share >= SHARE_MIN,
    );
    report.note(
        "CPU us per delivery",
        format!(
            "{:.1}, from memory {:.1}",
            over(&|(ours, _)| ours.cpu_micros),
            over(&|(_, theirs)| theirs.cpu_micros)
        ),
    );
    report.note(
        "cores that the receiver used",
        format!(
            "{:.2}, from memory {:.2}",
            over(&|(ours, _)| ours.receiver_cores),
            over(&|(_, theirs)| theirs.receiver_cores)
        ),
    );
    Ok(())
}

fn from_backlog(server: &Whosthere, sessions: usize) -> Result<(Pace, Vec<Delivery>)> {
    let receiver = Receiver::holding()?;
    let settings = webhook_settings(receiver.address) + PATIENCE;
    let running = server.with(&settings).start()?;
    let mut callers = Callers::new(running.addresses.tcp)?;
    let mut left = sessions;
    while left > 0 {
        let wave = left.min(WAVE);
        callers.pace(WAVE_RATE, wave, |callers, _| callers.call().map(drop))?;
        callers.settle()?;
        callers.hang_up_all();
        left -= wave;
    }
    process::wait_until_idle(running.pid())?;
    let held = receiver.received();
    ensure!(
        held < 100,
        "{held} events came while answers were held back"
    );

    let cpu_before = process::cpu_nanos(running.pid())?;
    let receiver_before = Receiver::cpu_nanos()?;
    let started = Instant::now();
    receiver.release()?;
    receiver.wait_for(2 * sessions, DRAIN_MAX)?;
    let cpu = process::cpu_nanos(running.pid())? - cpu_before;
    let receiver_cpu = Receiver::cpu_nanos()? - receiver_before;
    drop(running);
    let deliveries = receiver.finish()?;
    verify::all_is_well(&deliveries, 2 * sessions)?;
    Ok((
        pace(&deliveries, held, started, (cpu, receiver_cpu))?,
        deliveries,
    ))
}

fn from_memory(bodies: &std::path::Path, count: usize) -> Result<Pace> {
    let receiver = Receiver::answering()?;
    let mut poster = Poster::start(bodies, receiver.address)?;
    process::wait_until_idle(poster.pid())?;
    let cpu_before = process::cpu_nanos(poster.pid())?;
    let receiver_before = Receiver::cpu_nanos()?;
    let started = Instant::now();
    poster.go()?;
    receiver.wait_for(count, DRAIN_MAX)?;
    let cpu = process::cpu_nanos(poster.pid())? - cpu_before;
    let receiver_cpu = Receiver::cpu_nanos()? - receiver_before;
    drop(poster);
    pace(&receiver.finish()?, 0, started, (cpu, receiver_cpu))
}

/// `skipped` deliveries came before the start; `cpu` is the sender's and the receiver's.
fn pace(
    deliveries: &[Delivery],
    skipped: usize,
    started: Instant,
    cpu: (u64, u64),
) -> Result<Pace> {
    let last = deliveries.last().context("no deliveries")?;
    let count = (deliveries.len() - skipped) as f64;
    let seconds = last.at.duration_since(started).as_secs_f64();
    Ok(Pace {
        per_second: count / seconds,
        cpu_micros: cpu.0 as f64 / 1e3 / count,
        receiver_cores: cpu.1 as f64 / 1e9 / seconds,
    })
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0}/s at {:.1} us, receiver {:.2} cores",
            self.per_second, self.cpu_micros, self.receiver_cores
        )
    }
}
