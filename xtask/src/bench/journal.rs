//! `bench journal`: what it costs a CONNECT that it is on disk before it is answered.
//!
//! The same clients come at the same pace to a server that writes its journal and to one that
//! does not, in turns, so that the figures of one round form a pair. What the disk takes for a sync
//! is measured beside it: the journal cannot be quicker.

mod commits;
mod disk;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::arrivals::{Arrivals, time};
use super::peer::Peer;
use super::report::Report;
use super::stats::median;
use super::whosthere::Whosthere;
use super::{machine, process};
use commits::Commits;

/// What makes a server write nothing down.
const OFF: &str = "\n[journal]\ndangerous_off = true\n";

/// More at the median, in nanoseconds.
const MEDIAN_MORE_MAX: f64 = 1e6;

/// More at p99, in nanoseconds.
const P99_MORE_MAX: f64 = 5e6;

/// The offered pace must be kept to this share.
const PACE_SHARE_MIN: f64 = 0.98;

/// Time for a server to fold the last events.
const SETTLE: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// CONNECTs a second
    #[arg(long, default_value_t = 3_000)]
    rate: u32,
    /// CONNECTs to each server
    #[arg(long, default_value_t = 15_000)]
    connections: usize,
    /// How often the pair is measured; the medians count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Measures the pairs and judges them.
pub(crate) fn run(options: &Options) -> Result<Report> {
    machine::raise_open_files(options.connections)?;
    let on = Whosthere::build()?;
    let off = on.with(OFF);
    let mut pairs = Vec::new();
    let mut syncs = Vec::new();
    for round in 0..options.rounds {
        let measure = |server: &Whosthere| trial(server, options.rate, options.connections);
        let (with, without) = if round.is_multiple_of(2) {
            let with = measure(&on)?;
            (with, measure(&off)?)
        } else {
            let without = measure(&off)?;
            (measure(&on)?, without)
        };
        println!(
            "round {}: on {}; off {}",
            round + 1,
            with.arrivals,
            without.arrivals
        );
        pairs.push((with, without));
        // After both, so that it disturbs neither.
        syncs.append(&mut disk::syncs()?);
    }
    let mut report = judge(options, &pairs);
    disk::note(&mut report, syncs);
    Ok(report)
}

fn judge(options: &Options, pairs: &[(Trial, Trial)]) -> Report {
    let mut report = Report::default();
    machine::describe(&mut report);
    let (count, rounds) = (options.connections, options.rounds);
    report.note("connections", format!("{count} x {rounds} rounds"));
    let over = |figure: &dyn Fn(&(Trial, Trial)) -> f64| {
        median(&pairs.iter().map(figure).collect::<Vec<_>>())
    };
    let rate = over(&|(on, _)| on.arrivals.rate);
    report.goal(
        "CONNACKs a second, journal on",
        format!("{rate:.0} of {}", options.rate),
        format!(">= {PACE_SHARE_MIN} of the pace"),
        rate >= f64::from(options.rate) * PACE_SHARE_MIN,
    );
    let mut row = |name: &str, quantity: fn(&Arrivals) -> f64, more_max: f64| {
        let (on, off) = (
            over(&|pair| quantity(&pair.0.arrivals)),
            over(&|pair| quantity(&pair.1.arrivals)),
        );
        let more = over(&|(on, off)| quantity(&on.arrivals) - quantity(&off.arrivals));
        report.goal(
            format!("CONNECT to CONNACK, {name}"),
            format!(
                "{}, without journal {}, {:+.2} ms",
                time(on),
                time(off),
                more / 1e6
            ),
            format!("<= +{:.0} ms", more_max / 1e6),
            more <= more_max,
        );
    };
    row("p50", |arrivals| arrivals.p50, MEDIAN_MORE_MAX);
    row("p99", |arrivals| arrivals.p99, P99_MORE_MAX);
    let usual = |trial: &Trial| trial.arrivals.p99_of_seconds;
    report.note(
        "CONNECT to CONNACK, p99 of the median second",
        format!(
            "{}, without journal {}",
            time(over(&|(on, _)| usual(on))),
            time(over(&|(_, off)| usual(off)))
        ),
    );
    report.note(
        "commits of the journal",
        format!(
            "{:.0}, mean {:.2} ms, slower than {:.1} ms {:.1} %",
            over(&|(on, _)| on.commits.count),
            over(&|(on, _)| on.commits.mean_ms),
            commits::SLOW_SECS * 1e3,
            over(&|(on, _)| on.commits.slow_percent),
        ),
    );
    let on = pairs.iter().map(|(on, _)| on);
    let off = pairs.iter().map(|(_, off)| off);
    report.note("CPU us per CONNECT by thread", threads(on));
    report.note("the same without journal", threads(off));
    report
}

/// One server under the load.
struct Trial {
    arrivals: Arrivals,
    /// CPU time of each of its threads per CONNECT, in microseconds.
    threads: BTreeMap<String, f64>,
    /// How long its commits took.
    commits: Commits,
}

/// Starts a server, lets `count` clients come to it and measures them.
fn trial(server: &Whosthere, rate: u32, count: usize) -> Result<Trial> {
    let running = server.start()?;
    let before = process::cpu_nanos_by_thread(running.pid())?;
    let arrivals = Arrivals::measure(running.addresses.tcp, rate, count)?;
    sleep(SETTLE);
    let after = process::cpu_nanos_by_thread(running.pid())?;
    let used = |(name, nanos): (String, u64)| {
        let nanos = nanos.saturating_sub(before.get(&name).copied().unwrap_or(0));
        (name, nanos as f64 / 1e3 / count as f64)
    };
    let threads = after.into_iter().map(used).collect();
    let commits = Commits::of(running.addresses.http)?;
    Ok(Trial {
        arrivals,
        threads,
        commits,
    })
}

/// The medians of what each thread used.
fn threads<'a>(trials: impl Iterator<Item = &'a Trial>) -> String {
    let mut by_name: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, micros) in trials.flat_map(|trial| &trial.threads) {
        by_name.entry(name).or_default().push(*micros);
    }
    let medians = by_name.iter().map(|(name, all)| (name, median(all)));
    let mut parts: Vec<String> = medians
        .filter(|(_, micros)| *micros >= 0.1)
        .map(|(name, micros)| format!("{name} {micros:.1}"))
        .collect();
    parts.sort_unstable();
    parts.join(", ")
}
