//! `cargo xtask bench`: the project's promises about size and speed, measured and judged.
//!
//! `connections` holds the server against Mosquitto, socket by socket; `presence` fills one
//! organisation with a million sessions and asks. Each prints a table that says PASS or FAIL
//! per goal, and a missed goal is an exit code other than 0. Nothing here is linked into the
//! server.

mod connections;
mod http;
mod machine;
mod presence;
mod process;
mod report;
mod stats;

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
    /// A million sessions in one organisation: memory, queries, and changes meanwhile
    Presence(presence::Options),
}

/// Runs the benchmark that `args` (those after the word `bench`) ask for.
pub(crate) fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let bench = Bench::parse_from(std::iter::once("bench".to_owned()).chain(args));
    let which = bench
        .which
        .unwrap_or_else(|| Which::Connections(connections::Options::default()));
    match which {
        Which::Connections(options) => conclude(connections::run(&options)),
        Which::Presence(options) => match presence::rerun_optimised(&options) {
            Some(outcome) => exit_code(outcome),
            None => conclude(presence::run(&options)),
        },
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
