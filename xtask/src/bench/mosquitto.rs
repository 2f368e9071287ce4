//! Mosquitto as the peer: the broker that most people know, and a lean one.
//!
//! It runs without persistence, log and `$SYS` topics, which can only help it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_rustls::rustls::ClientConfig;

use super::certificate::Certificate;
use super::peer::{Addresses, Peer, Running};

/// A Mosquitto that was found and tried.
#[derive(Clone)]
pub(super) struct Mosquitto {
    program: PathBuf,
    /// The beginning of its configuration, beside what is always there.
    settings: String,
    /// What its listener for TCP has beside its address.
    listener: String,
    trusting: Option<Arc<ClientConfig>>,
    version: String,
    speaks_websocket: bool,
}

impl Mosquitto {
    /// Looks for `program` and finds out whether it was built with WebSocket.
    pub(super) fn find(program: &Path) -> Result<Self> {
        // Debian keeps it where the PATH of ordinary users does not lead.
        let candidates = [program.to_owned(), Path::new("/usr/sbin").join(program)];
        let found = candidates
            .into_iter()
            .find_map(|path| Some((version(&path)?, path)));
        let (version, program) = found.with_context(|| {
            format!(
                "{} does not run, and there is nothing to compare with. Install Mosquitto \
                 (Debian, Ubuntu: `apt install mosquitto`; others: https://mosquitto.org/download/) \
                 or give its path with --mosquitto",
                program.display()
            )
        })?;
        let mut mosquitto = Self {
            program,
            settings: String::new(),
            listener: String::new(),
            trusting: None,
            version,
            speaks_websocket: true,
        };
        // One that was built without ends at once when asked for such a listener.
        mosquitto.speaks_websocket = mosquitto.start().is_ok();
        Ok(mosquitto)
    }

    /// The same with `settings`, whole lines, for all its listeners.
    pub(super) fn with(&self, settings: &str) -> Self {
        Self {
            settings: settings.to_owned(),
            ..self.clone()
        }
    }

    /// The same with TLS where it spoke MQTT over TCP.
    pub(super) fn with_tls(&self, certificate: &Certificate) -> Self {
        let (chain, key) = certificate.files();
        let files = format!("certfile {}\nkeyfile {}\n", chain.display(), key.display());
        Self {
            listener: files,
            trusting: Some(certificate.trusting()),
            ..self.clone()
        }
    }

    /// What it calls itself.
    pub(super) fn version(&self) -> String {
        let without = if self.speaks_websocket {
            ""
        } else {
            ", built without WebSocket"
        };
        format!("{}{without}", self.version)
    }

    /// Whether it can be measured over WebSocket.
    pub(super) fn speaks_websocket(&self) -> bool {
        self.speaks_websocket
    }

    fn config(&self, addresses: Addresses) -> String {
        let listener = |port| format!("listener {port} 127.0.0.1\nmax_connections -1\n");
        let mut text =
            "allow_anonymous true\npersistence false\nlog_dest none\nsys_interval 0\n".to_owned();
        text += &self.settings;
        text += &listener(addresses.tcp.port());
        text += &self.listener;
        if self.speaks_websocket {
            text += &listener(addresses.websocket.port());
            text += "protocol websockets\n";
        }
        text
    }
}

impl Peer for Mosquitto {
    fn start(&self) -> Result<Running> {
        let addresses = Addresses::free()?;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("mosquitto.conf");
        fs::write(&path, self.config(addresses))?;
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let awaited = [addresses.tcp, addresses.websocket];
        let awaited = if self.speaks_websocket {
            &awaited[..]
        } else {
            &awaited[..1]
        };
        Running::spawn(command, addresses, awaited, directory)
    }

    fn verify(&self, _running: &Running, _connection_count: usize) -> Result<()> {
        // It cannot be asked who is there. That all connections are open was seen from outside.
        Ok(())
    }

    fn trusting(&self) -> Option<&Arc<ClientConfig>> {
        self.trusting.as_ref()
    }
}

/// The first line of its help, which names the version; `None` when it cannot be run.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("-h").output().ok()?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(str::to_owned)
}
