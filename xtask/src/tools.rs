//! Programs from outside that the checks need: looked for, and installed when missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{call, works};
use crate::{Outcome, clients, root};

/// Installs what is missing; does nothing, quickly, when all is there.
pub(crate) fn install() -> Outcome {
    install_debian_packages()?;
    clients::install()?;
    install_cargo_deny()
}

fn install_debian_packages() -> Outcome {
    let missing: Vec<&str> = DEBIAN_PACKAGES
        .iter()
        .filter(|(program, _)| !exists(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(apt) = apt_get() else {
        return Err(format!(
            "please install {} (on Debian: apt-get install {0})",
            missing.join(" ")
        ));
    };
    call(apt().arg("update"))?;
    call(
        apt()
            .args(["install", "-y", "--no-install-recommends"])
            .args(missing),
    )
}

/// A way to run apt-get without being asked for anything, if there is one.
fn apt_get() -> Option<fn() -> Command> {
    fn as_root() -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-q").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
    fn with_sudo() -> Command {
        let mut command = Command::new("sudo");
        command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
        command
    }
    if !exists("apt-get") {
        return None;
    }
    if works(Command::new("sh").args(["-c", "test \"$(id -u)\" = 0"])) {
        return Some(as_root);
    }
    works(Command::new("sudo").args(["-n", "true"])).then_some(with_sudo)
}

/// Looks through PATH and the folders of system programs, which a user's PATH may lack.
fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .any(|folder| folder.join(program).is_file())
}

/// The dependencies' licences, duplicates and origins, by the rules in `deny.toml`.
pub(crate) fn audit_policy() -> Outcome {
    call(&mut deny(&["check", "bans", "licenses", "sources"]))
}

/// Known vulnerabilities. The list of them is fetched from GitHub; where GitHub cannot be reached
/// the step says so and passes, because a change is not to blame for the network. A list that was
/// fetched and has a finding fails the step.
pub(crate) fn audit_advisories() -> Outcome {
    if let Err(reason) = call(&mut deny(&["fetch", "db"])) {
        eprintln!("WARNING: {reason}");
        eprintln!("WARNING: advisories NOT CHECKED: their database could not be fetched.");
        eprintln!("WARNING: before a release, run this where GitHub can be reached.");
        return Ok(());
    }
    call(&mut deny(&["check", "advisories"]))
}

fn deny(args: &[&str]) -> Command {
    let mut command = Command::new(cargo_deny());
    command.arg("--locked").args(args).current_dir(root());
    command
}

/// Built without optimisation: it builds in half the time and runs for a second.
fn install_cargo_deny() -> Outcome {
    if cargo_deny().is_file() {
        return Ok(());
    }
    let target = root().join("target/cargo-deny-build");
    let outcome = call(
        Command::new("cargo")
            .args(["install", "cargo-deny", "--version", CARGO_DENY_VERSION])
            .args(["--locked", "--debug", "--quiet"])
            .arg("--root")
            .arg(cargo_deny_folder())
            .arg("--target-dir")
            .arg(&target)
            .current_dir(std::env::temp_dir()),
    );
    // Half a gigabyte that nobody needs again; a failure to remove it harms nothing.
    let _ = std::fs::remove_dir_all(target);
    outcome
}

fn cargo_deny() -> PathBuf {
    cargo_deny_folder().join("bin/cargo-deny")
}

/// Outside the target folder, so that a fresh clone on the same machine need not build it again.
fn cargo_deny_folder() -> PathBuf {
    let name = format!("whosthere/cargo-deny-{CARGO_DENY_VERSION}");
    match std::env::var_os("HOME") {
        Some(home) => Path::new(&home).join(".cache").join(name),
        None => root().join("target").join(name),
    }
}

const CARGO_DENY_VERSION: &str = "0.20.2";

/// A program and the Debian package that brings it.
const DEBIAN_PACKAGES: [(&str, &str); 7] = [
    ("haproxy", "haproxy"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("python3", "python3-venv"),
];
