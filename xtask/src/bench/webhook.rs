//! `bench webhook`: how soon and how fast events reach a receiver, and whom one that hangs
//! disturbs.
//!
//! The receiver is in this process, on a thread that does next to nothing per request; the server
//! is a child process, and only its CPU time is counted.

mod hung;
mod latency;
mod poster;
mod saturation;
mod verify;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::machine;
use super::report::Report;
use super::whosthere::Whosthere;
pub(crate) use poster::{PostOptions, post};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this part
    #[arg(long)]
    part: Option<Part>,
    /// How often each part is measured; the medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Events a second while the latency is measured
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Sessions that come and go before deliveries are counted
    #[arg(long, default_value_t = 50_000)]
    sessions: usize,
    /// CONNECTs a second while the receiver hangs
    #[arg(long, default_value_t = 1_000)]
    connects: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From a closed socket to the receiver
    Latency,
    /// Deliveries a second
    Saturation,
    /// CONNECT while a receiver hangs
    Hung,
}

/// Measures and judges all parts, or the one that was asked for.
pub(crate) fn run(options: &Options) -> Result<Report> {
    let is_wanted = |part| options.part.is_none_or(|wanted| wanted == part);
    machine::raise_open_files(0)?;
    let server = Whosthere::build()?;
    let mut report = Report::default();
    machine::describe(&mut report);
    if is_wanted(Part::Latency) {
        latency::run(options, &server, &mut report)?;
    }
    if is_wanted(Part::Saturation) {
        saturation::run(options, &server, &mut report)?;
    }
    if is_wanted(Part::Hung) {
        hung::run(options, &server, &mut report)?;
    }
    Ok(report)
}
