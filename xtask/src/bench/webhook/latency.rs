//! From a closed socket to the receiver, while sessions come and go at a fixed pace.
//!
//! Half of the events are openings, half endings; only endings are timed, from just before `close`
//! to the last byte of the request.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::callers::Callers;
use super::super::peer::Peer;
use super::super::receiver::{Delivery, Receiver};
use super::super::report::Report;
use super::super::stats::{as_time, median, percentile};
use super::super::whosthere::{Whosthere, webhook_settings};
use super::Options;

/// Clients that are there before and all the time.
const CROWD: usize = 2_000;

/// How many seconds sessions come and go.
const SECONDS: u32 = 10;

const P50_MAX: u64 = 5_000_000;
const P99_MAX: u64 = 25_000_000;

/// p50 and p99 in nanoseconds.
struct Laps {
    p50: u64,
    p99: u64,
}

pub(super) fn run(options: &Options, server: &Whosthere, report: &mut Report) -> Result<()> {
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let laps = measure(server, options.rate)?;
        let (p50, p99) = (as_time(laps.p50), as_time(laps.p99));
        println!("latency, round {}: p50 {p50}, p99 {p99}", round + 1);
        rounds.push(laps);
    }
    let mut row = |name: &str, quantity: fn(&Laps) -> u64, max: u64| {
        let all: Vec<f64> = rounds.iter().map(|laps| quantity(laps) as f64).collect();
        let middle = median(&all) as u64;
        report.goal(
            format!("close to receiver, {} events/s, {name}", options.rate),
            as_time(middle),
            format!("< {}", as_time(max)),
            middle < max,
        );
    };
    row("p50", |laps| laps.p50, P50_MAX);
    row("p99", |laps| laps.p99, P99_MAX);
    Ok(())
}

fn measure(server: &Whosthere, rate: u32) -> Result<Laps> {
    let receiver = Receiver::answering()?;
    let running = server.with(&webhook_settings(receiver.address)).start()?;
    let mut callers = Callers::new(running.addresses.tcp)?;
    callers.pace(2_000, CROWD, |callers, _| callers.call().map(drop))?;
    callers.settle()?;
    receiver.wait_for(CROWD, Duration::from_secs(30))?;

    let steps = (rate * SECONDS) as usize;
    let mut closed = HashMap::new();
    let mut oldest = 0;
    callers.pace(rate, steps, |callers, step| {
        if step.is_multiple_of(2) {
            return callers.call().map(drop);
        }
        closed.insert(oldest, callers.hang_up(oldest)?);
        oldest += 1;
        Ok(())
    })?;
    receiver.wait_for(CROWD + steps, Duration::from_secs(30))?;
    drop(callers);
    drop(running);
    let mut laps = laps(&receiver.finish()?, &closed)?;
    ensure!(laps.len() == closed.len(), "an ending was not told");
    laps.sort_unstable();
    Ok(Laps {
        p50: percentile(&laps, 500),
        p99: percentile(&laps, 990),
    })
}

/// The time of every ending in nanoseconds.
fn laps(deliveries: &[Delivery], closed: &HashMap<usize, Instant>) -> Result<Vec<u64>> {
    let mut laps = HashMap::new();
    for delivery in deliveries {
        let event = delivery.event()?;
        let client = event["clientId"].as_str().unwrap_or_default();
        let number = client.rsplit('-').next().context("no number")?.parse()?;
        if event["status"] != "1" {
            continue;
        }
        // What was told when the server ended is not of interest, nor what was told again.
        if let Some(at) = closed.get(&number) {
            let lap = delivery.at.duration_since(*at).as_nanos() as u64;
            laps.entry(number).or_insert(lap);
        }
    }
    Ok(laps.into_values().collect())
}
