//! The server of this repository as a peer, built with the release profile.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::peer::{Addresses, Peer, Running};
use super::verify;

/// The key that the configuration below gives to the organisation.
pub(super) const SECRET_KEY: &str = "sk_bench_0123456789abcdef0123456789abcdef";

/// A built server.
pub(super) struct Whosthere {
    program: PathBuf,
}

impl Whosthere {
    /// Builds it with cargo.
    pub(super) fn build() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args([
            "build",
            "--release",
            "--package",
            "server",
            "--message-format=json",
        ]);
        let output = build
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "the server does not build");
        let messages = String::from_utf8(output.stdout)?;
        let program = messages.lines().filter_map(executable).next_back();
        Ok(Self {
            program: program.context("cargo names no executable")?.into(),
        })
    }
}

impl Peer for Whosthere {
    fn start(&self) -> Result<Running> {
        let addresses = Addresses::free()?;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("whosthere.toml");
        fs::write(&path, config(addresses))?;
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--config").arg(&path);
        command.current_dir(directory.path()).stdout(Stdio::null());
        let awaited = [addresses.tcp, addresses.websocket, addresses.http];
        Running::spawn(command, addresses, &awaited, directory)
    }

    fn verify(&self, running: &Running, connection_count: usize) -> Result<()> {
        verify::all_sessions_are_known(running.addresses.http, connection_count)
    }
}

/// The path in one of cargo's JSON messages, if it is about an executable.
fn executable(message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message.get("executable")?.as_str().map(str::to_owned)
}

fn config(addresses: Addresses) -> String {
    let Addresses {
        tcp,
        websocket,
        http,
    } = addresses;
    format!(
        r#"
[listen]
mqtt = "{tcp}"
ws = "{websocket}"
http = "{http}"

[log]
filter = "error"

[[org]]
id = "org_abc"
open_auth = true
secret_keys = ["{SECRET_KEY}"]
"#
    )
}
