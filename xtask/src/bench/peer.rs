//! A server under test: a child process with its configuration in a directory of its own.
//!
//! The process ends with its `Running`, and so does the directory.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio_rustls::rustls::ClientConfig;

/// How long a server may take from its start to its open port.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Something that can be started, connected to and measured.
pub(super) trait Peer {
    /// Starts a fresh process; it accepts connections when this returns.
    fn start(&self) -> Result<Running>;

    /// Asks the server, where it can be asked, whether it knows all `connection_count` sessions.
    fn verify(&self, running: &Running, connection_count: usize) -> Result<()>;

    /// How to trust it, if it speaks TLS where others speak MQTT over TCP.
    fn trusting(&self) -> Option<&Arc<ClientConfig>> {
        None
    }
}

/// Where a server listens.
#[derive(Clone, Copy)]
pub(super) struct Addresses {
    pub(super) tcp: SocketAddr,
    pub(super) websocket: SocketAddr,
    pub(super) http: SocketAddr,
}

impl Addresses {
    /// Three free ports of the loopback interface.
    ///
    /// They are free now; nobody holds them until the server takes them.
    pub(super) fn free() -> Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        // All are held at once, or the kernel could give the same port twice.
        let (tcp, websocket, http) = (bind()?, bind()?, bind()?);
        Ok(Self {
            tcp: tcp.local_addr()?,
            websocket: websocket.local_addr()?,
            http: http.local_addr()?,
        })
    }
}

/// A server process.
pub(super) struct Running {
    child: Child,
    pub(super) addresses: Addresses,
    directory: Option<TempDir>,
}

impl Running {
    /// Spawns `command` and waits until all of `awaited` accept a connection.
    pub(super) fn spawn(
        mut command: Command,
        addresses: Addresses,
        awaited: &[SocketAddr],
        directory: TempDir,
    ) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut running = Self {
            child,
            addresses,
            directory: Some(directory),
        };
        let deadline = Instant::now() + START_TIMEOUT;
        for address in awaited {
            while TcpStream::connect(address).is_err() {
                if let Some(status) = running.child.try_wait()? {
                    bail!("{} ended at once: {status}", program.display());
                }
                if Instant::now() > deadline {
                    bail!("{} does not listen on {address}", program.display());
                }
                sleep(Duration::from_millis(20));
            }
        }
        Ok(running)
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process and gives its directory back.
    pub(super) fn kill(mut self) -> Result<TempDir> {
        self.child.kill()?;
        self.child.wait()?;
        self.directory.take().context("the directory is gone")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left to do if the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
