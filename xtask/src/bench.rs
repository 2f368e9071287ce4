//! `cargo xtask bench`: the project's promises about size and speed, measured and judged.
//!
//! `connections` holds the server against Mosquitto, socket by socket; `presence` fills one
//! organisation with a million sessions and asks. Each prints a table that says PASS or FAIL
//! per goal, and a missed goal is an exit code other than 0. Nothing here is linked into the
//! server.

mod connections;
mod http;
mod machine;
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
}

/// Runs the benchmark that `args` (those after the word `bench`) ask for.
pub(crate) fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let bench = Bench::parse_from(std::iter::once("bench".to_owned()).chain(args));
    let which = bench
        .which
        .unwrap_or_else(|| Which::Connections(connections::Options::default()));
    let outcome = match which {
        Which::Connections(options) => connections::run(&options),
    };
    conclude(outcome)
}

/// Prints the report, or why there is none, and turns it into an exit code.
fn conclude(outcome: anyhow::Result<Report>) -> ExitCode {
    match outcome {
        Ok(report) => {
            println!("\n{report}");
            if report.all_met() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
