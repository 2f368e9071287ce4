//! The load generator: many idle clients on one thread and one poll.
//!
//! At most `WINDOW` clients are between their TCP connect and their SUBACK at a time, so that
//! no listen queue overflows and every server meets the same pressure.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use tokio_rustls::rustls::ClientConfig;

use super::super::callers::open_stream;
use super::Transport;
use super::conversation::Conversation;
use super::secure::Secure;

/// Handshakes under way at a time.
const WINDOW: usize = 256;

/// A server that is silent for this long while clients wait has failed.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Clients per source address; one address has about 28,000 ports to call from.
const CLIENTS_PER_ADDRESS: usize = 20_000;

struct Client {
    stream: TcpStream,
    conversation: Conversation,
    /// TLS, until the client is idle: the server's part in it goes on by itself.
    secure: Option<Secure>,
    /// What it says first, until it has.
    opening: Vec<u8>,
}

/// Connected and subscribed clients. Dropping it closes them at once.
pub(super) struct Fleet {
    poll: Poll,
    clients: Vec<Client>,
    idle_count: usize,
    target: SocketAddr,
    transport: Transport,
    trusting: Option<Arc<ClientConfig>>,
}

impl Fleet {
    /// Connects `count` clients to `target`, over TLS if it is said how to trust it, and returns when
    /// all have their SUBACK.
    pub(super) fn connect(
        target: SocketAddr,
        transport: Transport,
        trusting: Option<&Arc<ClientConfig>>,
        count: usize,
    ) -> Result<Self> {
        let clients = Vec::with_capacity(count);
        let mut fleet = Self {
            poll: Poll::new()?,
            clients,
            idle_count: 0,
            target,
            transport,
            trusting: trusting.cloned(),
        };
        let mut events = Events::with_capacity(WINDOW);
        let mut last_progress = Instant::now();
        while fleet.idle_count < count {
            while fleet.clients.len() < count && fleet.clients.len() - fleet.idle_count < WINDOW {
                fleet.add_client()?;
            }
            fleet.poll_once(&mut events, Duration::from_secs(1))?;
            if !events.is_empty() {
                last_progress = Instant::now();
            }
            ensure!(
                last_progress.elapsed() < SILENCE_MAX,
                "the server fell silent after {} of {count} clients",
                fleet.idle_count
            );
        }
        Ok(fleet)
    }

    /// Fails if the server has closed a connection or sent what nobody asked for.
    pub(super) fn ensure_all_open(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(WINDOW);
        self.poll_once(&mut events, Duration::ZERO)
    }

    fn add_client(&mut self) -> Result<()> {
        let number = self.clients.len();
        let mut stream = open_stream(self.target, 1 + number / CLIENTS_PER_ADDRESS)
            .context("cannot open a connection")?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(number), interest)?;
        let conversation = Conversation::new(number, self.transport);
        let mut secure = self.trusting.as_ref().map(Secure::new).transpose()?;
        let opening = sealed(&mut secure, conversation.opening()?)?;
        self.clients.push(Client {
            stream,
            conversation,
            secure,
            opening,
        });
        Ok(())
    }

    fn poll_once(&mut self, events: &mut Events, timeout: Duration) -> Result<()> {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in events.iter() {
            let number = event.token().0;
            let client = &mut self.clients[number];
            let was_idle = client.conversation.is_idle();
            client
                .handle_ready()
                .with_context(|| format!("client {number}"))?;
            if client.conversation.is_idle() && !was_idle {
                self.idle_count += 1;
            }
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for client in &self.clients {
            // A reset leaves no TIME_WAIT behind, which would take ports from the next round.
            let _ = SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Client {
    fn handle_ready(&mut self) -> Result<()> {
        if !self.opening.is_empty() {
            if let Some(error) = self.stream.take_error()? {
                return Err(error).context("cannot connect");
            }
            if !self.try_send(&self.opening)? {
                return Ok(());
            }
            self.opening = Vec::new();
        }
        self.read_all()
    }

    /// Edge-triggered readiness asks us to read until nothing is left.
    fn read_all(&mut self) -> Result<()> {
        let mut buffer = [0; 2048];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => {
                    let reply = self.take(&buffer[..length])?;
                    ensure!(self.try_send(&reply)?, "a fresh connection takes no bytes");
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read"),
            }
        }
    }

    /// Takes what has come and returns what to send next, if anything.
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let was_idle = self.conversation.is_idle();
        ensure!(!was_idle, "the server sent {bytes:02x?}");
        let Some(secure) = &mut self.secure else {
            return self.conversation.handle_bytes(bytes);
        };
        let plain = secure.open(bytes)?;
        let reply = self.conversation.handle_bytes(&plain)?;
        let reply = sealed(&mut self.secure, reply)?;
        if self.conversation.is_idle() {
            self.secure = None;
        }
        Ok(reply)
    }

    /// Sends a few bytes, or none while the connection is not yet up.
    fn try_send(&self, bytes: &[u8]) -> Result<bool> {
        if bytes.is_empty() {
            return Ok(true);
        }
        match (&self.stream).write(bytes) {
            Ok(length) => {
                ensure!(
                    length == bytes.len(),
                    "a fresh connection takes only half a packet"
                );
                Ok(true)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error).context("cannot write"),
        }
    }
}

/// What is to be sent for `plain` to get there.
fn sealed(secure: &mut Option<Secure>, plain: Vec<u8>) -> Result<Vec<u8>> {
    match secure {
        Some(secure) => secure.seal(&plain),
        None => Ok(plain),
    }
}
