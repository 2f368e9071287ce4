//! The server of this repository as a peer, built with the release profile.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio_rustls::rustls::ClientConfig;

use super::certificate::Certificate;
use super::peer::{Addresses, Peer, Running};
use super::verify;

/// The key that the configuration below gives to the organisation.
pub(super) const SECRET_KEY: &str = "sk_bench_0123456789abcdef0123456789abcdef";

/// The key that signs what is posted to the webhook.
pub(super) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A built server.
#[derive(Clone)]
pub(super) struct Whosthere {
    program: PathBuf,
    /// What its door for MQTT over TCP is in `[listen]`.
    door: &'static str,
    trusting: Option<Arc<ClientConfig>>,
    /// The end of its configuration.
    settings: String,
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
            door: "mqtt",
            trusting: None,
            settings: String::new(),
        })
    }

    /// The same with `settings` at the end of its configuration, where the organisation stands.
    pub(super) fn with(&self, settings: &str) -> Self {
        Self {
            settings: settings.to_owned(),
            ..self.clone()
        }
    }

    /// The same with TLS where it spoke MQTT over TCP.
    pub(super) fn with_tls(&self, certificate: &Certificate) -> Self {
        let (chain, key) = certificate.files();
        let files = format!("certificate = {chain:?}\nkey = {key:?}\n");
        Self {
            door: "mqtts",
            trusting: Some(certificate.trusting()),
            settings: format!("{}\n[tls]\n{files}", self.settings),
            ..self.clone()
        }
    }

    /// Starts a process in `directory`, which may have data of a former one, and returns at once.
    pub(super) fn spawn(&self, directory: TempDir) -> Result<Running> {
        self.spawn_awaiting(directory, |_| Vec::new())
    }

    fn spawn_awaiting(
        &self,
        directory: TempDir,
        awaited: impl FnOnce(&Addresses) -> Vec<SocketAddr>,
    ) -> Result<Running> {
        let addresses = Addresses::free()?;
        let path = directory.path().join("whosthere.toml");
        fs::write(&path, config(self.door, addresses) + &self.settings)?;
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--config").arg(&path);
        command.current_dir(directory.path()).stdout(Stdio::null());
        let awaited = awaited(&addresses);
        Running::spawn(command, addresses, &awaited, directory)
    }
}

/// What a webhook that listens at `address` needs in the configuration: signed, everything told.
pub(super) fn webhook_settings(address: SocketAddr) -> String {
    format!(
        r#"
[[org.webhook]]
id = "main"
url = "http://{address}/hook"
secret = "{WEBHOOK_SECRET}"
payload = "extended"

[webhook]
allow_addresses = ["127.0.0.0/8"]
"#
    )
}

impl Peer for Whosthere {
    fn start(&self) -> Result<Running> {
        self.spawn_awaiting(tempfile::tempdir()?, |addresses| {
            vec![addresses.tcp, addresses.websocket, addresses.http]
        })
    }

    fn verify(&self, running: &Running, connection_count: usize) -> Result<()> {
        verify::all_sessions_are_known(running.addresses.http, connection_count)
    }

    fn trusting(&self) -> Option<&Arc<ClientConfig>> {
        self.trusting.as_ref()
    }
}

/// The path in one of cargo's JSON messages, if it is about an executable.
fn executable(message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message.get("executable")?.as_str().map(str::to_owned)
}

fn config(door: &str, addresses: Addresses) -> String {
    let Addresses {
        tcp,
        websocket,
        http,
    } = addresses;
    format!(
        r#"
[listen]
{door} = "{tcp}"
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
