//! `cargo xtask bench`: the project's promises about size and speed, measured and judged.
//!
//! `connections` and `messages` hold the server against Mosquitto; `presence` fills one
//! organisation with a million sessions and asks; `journal`, `webhook` and `restart` measure what
//! it costs that events are written down, delivered and found again. Each prints a table that says
//! PASS or FAIL per goal, and a missed goal is an exit code other than 0. Nothing here is linked
//! into the server.

mod arrivals;
mod callers;
mod certificate;
mod connections;
mod http;
mod journal;
mod machine;
mod messages;
mod mosquitto;
mod optimised;
mod packets;
mod peer;
mod presence;
mod process;
mod receiver;
mod report;
mod restart;
mod stats;
mod verify;
mod webhook;
mod whosthere;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use report::Report;

/// Measure the project against its goals.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Bench {
    #[command(subcommand)]
    which: Option<Which>,
}

#[derive(Subcommand)]
enum Which {
    /// Memory and CPU time per connection, beside Mosquitto's (the default)
    Connections(connections::Options),
    /// Messages a second of CPU time, and how long they take, beside Mosquitto's
    Messages(messages::Options),
    /// A million sessions in one organisation: memory, queries, and changes meanwhile
    Presence(presence::Options),
    /// What CONNECT takes with the journal on, beside the same without one
    Journal(journal::Options),
    /// From a closed socket to the receiver; deliveries a second; a receiver that hangs
    Webhook(webhook::Options),
    /// The time to a ready server after a crash with a million sessions open
    Restart(restart::Options),
    /// Posts bodies from a file: what `webhook` is compared with
    #[command(hide = true)]
    Post(webhook::PostOptions),
}

/// Runs the benchmark that `args` (those after the word `bench`) ask for.
pub(crate) fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let bench = Bench::parse_from(std::iter::once("bench".to_owned()).chain(args));
    let which = bench
        .which
        .unwrap_or_else(|| Which::Connections(connections::Options::default()));
    match which {
        Which::Connections(options) => conclude(connections::run(&options)),
        Which::Messages(options) => optimised(|| messages::run(&options)),
        Which::Presence(options) => optimised(|| presence::run(&options)),
        Which::Journal(options) => optimised(|| journal::run(&options)),
        Which::Webhook(options) => optimised(|| webhook::run(&options)),
        Which::Restart(options) => optimised(|| restart::run(&options)),
        Which::Post(options) => exit_code(webhook::post(&options).map(|()| true)),
    }
}

/// Runs a benchmark in an optimised program.
fn optimised(run: impl FnOnce() -> anyhow::Result<Report>) -> ExitCode {
    match optimised::rerun() {
        Some(outcome) => exit_code(outcome),
        None => conclude(run()),
    }
}

/// Prints the report and turns it into an exit code.
fn conclude(outcome: anyhow::Result<Report>) -> ExitCode {
    exit_code(outcome.map(|report| {
        println!("\n{report}");
        report.all_met()
    }))
}

/// Success if all goals were met; says why if there is no outcome.
fn exit_code(outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
