//! The tests with real MQTT clients: what they need, and running them against the built server.
//!
//! Python packages live in `target/clients/venv`, MQTT.js in `tests/clients/node_modules`; both
//! are exactly the pinned versions, and are laid again when the pins change. rumqttc is built into
//! `target/clients/rumqttc`, by its own lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::call;
use crate::{Outcome, root};

/// Runs pytest against the server that lies beside this program.
pub(crate) fn run() -> Outcome {
    call(
        Command::new(venv().join("bin/python"))
            .args(["-m", "pytest"])
            .current_dir(folder())
            .env("SERVER_UNDER_TEST", server()?),
    )
}

/// The tests' own code, held to the same order as the rest.
pub(crate) fn lint() -> Outcome {
    let ruff = || {
        let mut command = Command::new(venv().join("bin/ruff"));
        command.current_dir(folder());
        command
    };
    call(ruff().args(["format", "--check", "."]))?;
    call(ruff().args(["check", "."]))?;
    call(rumqttc("fmt").args(["--", "--check"]))?;
    call(rumqttc_to_build("clippy").args(["--", "-D", "warnings"]))
}

/// Installs the Python and Node packages if they are not yet there as pinned, and builds the client
/// that speaks through rumqttc.
pub(crate) fn install() -> Outcome {
    once_per(&folder().join("requirements.txt"), &venv(), install_python)?;
    let modules = folder().join("node_modules");
    once_per(&folder().join("package-lock.json"), &modules, || {
        call(Command::new("npm").arg("ci").current_dir(folder()))
    })?;
    call(&mut rumqttc_to_build("build"))
}

/// A command of cargo for that client, which is no part of the workspace.
fn rumqttc(command: &str) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args([command, "--manifest-path"]);
    cargo.arg(folder().join("rumqttc/Cargo.toml"));
    cargo
}

/// The same for a command that builds: by the lock file, where the tests look for it.
fn rumqttc_to_build(command: &str) -> Command {
    let mut cargo = rumqttc(command);
    cargo.args(["--locked", "--target-dir"]);
    cargo.arg(root().join("target/clients/rumqttc"));
    cargo
}

fn install_python() -> Outcome {
    call(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(venv()),
    )?;
    call(
        Command::new(venv().join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(["--no-deps", "-r", "requirements.txt"])
            .current_dir(folder()),
    )
}

/// Runs `install` unless a copy of `pins` in `target` shows that it ran for just these pins.
/// The copy is written last: an installation that broke off is done again.
fn once_per(pins: &Path, target: &Path, install: impl FnOnce() -> Outcome) -> Outcome {
    let wanted = fs::read(pins).map_err(|e| format!("cannot read {}: {e}", pins.display()))?;
    let stamp = target.join("installed-pins");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(&stamp, wanted).map_err(|e| format!("cannot write {}: {e}", stamp.display()))
}

/// Cargo puts this program and the server into the same folder, wherever the target folder is.
fn server() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|e| format!("cannot find my own path: {e}"))?;
    Ok(here.with_file_name("whosthere"))
}

fn folder() -> PathBuf {
    root().join("tests/clients")
}

fn venv() -> PathBuf {
    root().join("target/clients/venv")
}
