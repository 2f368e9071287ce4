//! `cargo xtask test`: everything that must hold before a change lands.
//!
//! CI runs exactly this. Cheap checks come first, so that a slip is seen within seconds.

use std::process::Command;

use crate::steps::{Steps, call, works};
use crate::{Outcome, clients, conformance, root, tidy, tools};

/// Runs every step up to the first failure and prints what was done.
pub(crate) fn run() -> Outcome {
    let mut steps = Steps::default();
    let outcome = all(&mut steps);
    steps.report(&outcome);
    outcome
}

fn all(steps: &mut Steps) -> Outcome {
    steps.step("format", || cargo(&["fmt", "--all", "--check"]))?;
    steps.step("tidy", tidy::run)?;
    steps.step("conformance document", conformance::run)?;
    steps.step("tools", tools::install)?;
    steps.step("lints of the client tests", clients::lint)?;
    steps.step("clippy", || {
        let deny = ["--", "-D", "warnings"];
        cargo(
            &[
                &["clippy", "--locked", "--workspace", "--all-targets"],
                &deny[..],
            ]
            .concat(),
        )
    })?;
    steps.step("documentation", documentation)?;
    steps.step("unit tests", unit_tests)?;
    steps.step("documentation tests", || {
        cargo(&["test", "--locked", "--workspace", "--doc"])
    })?;
    steps.step("dependencies: licences, bans, sources", tools::audit_policy)?;
    steps.step("dependencies: advisories", tools::audit_advisories)?;
    steps.step("build the server", || {
        cargo(&["build", "--locked", "--bin", "whosthere"])
    })?;
    steps.step("real clients", clients::run)
}

fn documentation() -> Outcome {
    let all = ["--workspace", "--no-deps", "--document-private-items"];
    call(
        cargo_command(&["doc", "--locked"])
            .args(all)
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// nextest when it is there, for its speed and its report; plain cargo does the same tests.
fn unit_tests() -> Outcome {
    if works(&mut cargo_command(&["nextest", "--version"])) {
        return cargo(&[
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-fail-fast",
        ]);
    }
    cargo(&[
        "test",
        "--locked",
        "--workspace",
        "--all-targets",
        "--no-fail-fast",
    ])
}

fn cargo(args: &[&str]) -> Outcome {
    call(&mut cargo_command(args))
}

fn cargo_command(args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(root());
    command
}
