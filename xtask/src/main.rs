//! `cargo xtask`: the chores of the project.
//!
//! One module per chore; this file only finds the one that was asked for.

mod bench;
mod clients;
mod conformance;
mod steps;
mod test;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a chore returns: nothing, or a sentence for the person at the terminal.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let chore = arguments.next().unwrap_or_default();
    let outcome = match chore.as_str() {
        "bench" => return bench::main(arguments),
        "test" => test::run(),
        "tidy" => tidy::run(),
        _ => Err(format!("no chore named {chore:?}\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace, wherever the command was started.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

const USAGE: &str = "\
cargo xtask bench  [connections|messages|presence|journal|webhook|restart]; --help tells more
cargo xtask test   install what the tests need, then run every check there is
cargo xtask tidy   the rules for files that no linter knows";
