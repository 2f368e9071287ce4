//! The doors: listening sockets, one per worker and address, and what connections inherit of them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// What is spoken at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// MQTT over TCP.
    Tcp,
    /// MQTT over TLS.
    Tls,
    /// MQTT over WebSocket (MQTT 5 §6).
    WebSocket,
    /// MQTT over WebSocket over TLS.
    SecureWebSocket,
}

impl Door {
    /// Whether TLS is spoken below everything else.
    #[must_use]
    pub fn is_secure(self) -> bool {
        match self {
            Self::Tcp | Self::WebSocket => false,
            Self::Tls | Self::SecureWebSocket => true,
        }
    }
}

/// How the operating system probes a peer that is silent at the level of TCP, so that one that is
/// gone is noticed even if its client asked for no keep alive.
#[derive(Clone, Copy, Debug)]
pub struct TcpProbes {
    /// Seconds of silence before the first probe.
    pub idle_secs: u32,
    /// Seconds between probes.
    pub interval_secs: u32,
    /// Unanswered probes until the connection is given up.
    pub count: u32,
}

impl TcpProbes {
    /// Seconds until a peer that is gone is noticed: also the time that sent data may stay
    /// unacknowledged.
    fn give_up(self) -> Duration {
        Duration::from_secs(u64::from(self.idle_secs + self.interval_secs * self.count))
    }
}

/// A listening socket of one worker.
pub struct Bound {
    pub(super) socket: TcpListener,
    /// What is spoken there.
    pub door: Door,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub is_proxied: bool,
    /// The address it is bound to, with its real port.
    pub address: SocketAddr,
}

/// Binds `address` once for each worker; the kernel spreads connections over them.
///
/// # Errors
/// If the address is taken or not this machine's. Sharing a port among workers would let a second
/// server share it too, unnoticed: so it is first bound without sharing.
pub fn bind(
    address: SocketAddr,
    door: Door,
    workers: usize,
    backlog: i32,
    probes: TcpProbes,
) -> io::Result<Vec<Bound>> {
    let exclusive = socket(address, false)?;
    let address = exclusive
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    drop(exclusive);
    (0..workers)
        .map(|_| {
            let socket = socket(address, true)?;
            prepare(&socket, probes)?;
            socket.listen(backlog)?;
            Ok(Bound {
                socket: TcpListener::from_std(socket.into()),
                door,
                is_proxied: false,
                address,
            })
        })
        .collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    if !shared {
        // Only listening finds out that somebody else listens already: SO_REUSEADDR lets bind pass.
        socket.listen(1)?;
    }
    Ok(socket)
}

/// Sets on the listener what every accepted connection inherits: a system call saved for each.
fn prepare(socket: &Socket, probes: TcpProbes) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(u64::from(probes.idle_secs)))
            .with_interval(Duration::from_secs(u64::from(probes.interval_secs)))
            .with_retries(probes.count),
    )?;
    socket.set_tcp_user_timeout(Some(probes.give_up()))
}
