//! CONNECT at a fixed pace while the receiver hangs, beside one that answers.
//!
//! Every round has one run with a receiver that hangs between two with one that answers, so that
//! the spread of the latter says what noise is.

use anyhow::Result;

use super::super::arrivals::{Arrivals, time};
use super::super::peer::Peer;
use super::super::receiver::Receiver;
use super::super::report::Report;
use super::super::stats::median;
use super::super::whosthere::{Whosthere, webhook_settings};
use super::Options;

/// How many seconds clients come.
const SECONDS: u32 = 6;

pub(super) fn run(options: &Options, server: &Whosthere, report: &mut Report) -> Result<()> {
    let (mut hung, mut healthy) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let measure = |receiver| measure(server, receiver, options.connects);
        let before = measure(Receiver::answering()?)?;
        let between = measure(Receiver::holding()?)?;
        let after = measure(Receiver::answering()?)?;
        println!(
            "hung, round {}: {between}; healthy {before} and {after}",
            round + 1
        );
        hung.push(between);
        healthy.extend([before, after]);
    }
    let all = |runs: &[Arrivals], quantity: fn(&Arrivals) -> f64| -> Vec<f64> {
        runs.iter().map(quantity).collect()
    };
    let p99 = median(&all(&hung, |run| run.p99));
    let usual = all(&healthy, |run| run.p99);
    let worst = usual.iter().copied().fold(0.0, f64::max);
    let best = usual.iter().copied().fold(f64::INFINITY, f64::min);
    let middle = median(&usual);
    report.goal(
        format!("CONNECT p99 at {}/s, receiver hung", options.connects),
        format!(
            "{}, healthy {}, ratio {:.2}",
            time(p99),
            time(middle),
            p99 / middle
        ),
        format!("within noise, {} to {}", time(best), time(worst)),
        p99 <= worst,
    );
    let rate = median(&all(&hung, |run| run.rate));
    let usual = all(&healthy, |run| run.rate);
    let slowest = usual.iter().copied().fold(f64::INFINITY, f64::min);
    report.goal(
        "CONNACKs a second, receiver hung",
        format!("{rate:.0}, healthy {:.0}", median(&usual)),
        format!("within noise, >= {slowest:.0}"),
        // Less than a thousandth is the clock of the last answer.
        rate >= slowest * 0.999,
    );
    Ok(())
}

fn measure(server: &Whosthere, receiver: Receiver, rate: u32) -> Result<Arrivals> {
    let running = server.with(&webhook_settings(receiver.address)).start()?;
    let arrivals = Arrivals::measure(running.addresses.tcp, rate, (rate * SECONDS) as usize)?;
    drop(running);
    receiver.finish()?;
    Ok(arrivals)
}
