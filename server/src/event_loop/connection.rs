//! What is kept of one connection. Idle, it is a handful of words: buffers exist only while a packet
//! is half read or bytes wait to be written.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use mio::net::TcpStream;
use presence::{EndReason, Org, SessionRef};

use super::listener::Door;
use super::turns::Turn;
use super::websocket::{self, Closing};

/// One accepted connection.
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) transport: Transport,
    /// Whether TLS lies between the socket and the transport. The worker has it: a connection
    /// without it pays nothing.
    pub(super) is_secure: bool,
    pub(super) phase: Phase,
    /// Whether the poll was asked to tell when the socket takes bytes again.
    pub(super) waits_to_write: bool,
    /// Whether it stands in the worker's list of connections to flush.
    pub(super) is_dirty: bool,
    /// Whether the socket may have more although no event will tell: reading stopped before its end.
    pub(super) has_unread: bool,
    /// Whether it waits until it is read from.
    pub(super) turn: Turn,
    /// Whether it took long to serve when it was served last.
    pub(super) is_costly: bool,
    /// The last packet of a session; before that, when the connection was accepted; while it
    /// lingers, since when.
    pub(super) active_at: Tick,
    pub(super) session: mqtt::Session,
    /// Tells it from others that get its place, for answers that come late.
    pub(super) ticket: u32,
    /// The session that is online through this connection.
    pub(super) online: Option<Online>,
    pub(super) pending: Option<Box<Pending>>,
}

/// Time since the worker's start, in tenths of a second. It wraps after 13 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick(pub(super) u32);

impl Tick {
    /// Tenths of a second in a second.
    pub(super) const PER_SEC: u32 = 10;

    pub(super) fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// As [`since`](Self::since), and nothing if `other` is later.
    pub(super) fn beyond(self, other: Self) -> u32 {
        u32::try_from(self.since(other).cast_signed()).unwrap_or(0)
    }
}

/// What lies between TCP and MQTT.
#[derive(Clone, Copy)]
pub(super) enum Transport {
    Tcp,
    /// WebSocket whose upgrade has not come yet.
    Upgrade,
    WebSocket(websocket::Fragmentation),
}

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The load balancer has not said yet whom it forwards.
    Arriving,
    /// Its CONNECT waits for the journal. Nothing is read until the answer has come: no packet may
    /// be handled before CONNACK (MQTT 5 §3.1.4-6).
    Opening,
    /// We have said our last word: what still comes is thrown away, so that the peer can read that
    /// word before the socket is gone.
    Lingering,
}

/// A session that is online, and its organisation.
pub(super) struct Online {
    pub(super) org: Arc<Org>,
    pub(super) session: SessionRef,
}

/// How a client ends the stream of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// By the goodbye of TLS.
    Goodbye,
    /// By what is answered with a closing frame of WebSocket.
    Frame(Closing),
}

impl Ending {
    pub(super) fn reason(self) -> EndReason {
        match self {
            // Closing WebSocket without DISCONNECT is losing the connection (MQTT 5 §6).
            Self::Goodbye | Self::Frame(Closing::Answered) => EndReason::ConnectionLost,
            Self::Frame(Closing::Broken(..)) => EndReason::ProtocolError,
        }
    }
}

/// What a busy connection needs besides.
#[derive(Default)]
pub(super) struct Pending {
    /// Bytes from the socket that do not make a whole yet: of a packet, or of a WebSocket frame's
    /// header.
    pub(super) input: Vec<u8>,
    /// WebSocket: bytes of a packet that is not whole yet.
    pub(super) packet: Vec<u8>,
    /// WebSocket: the frame whose payload is being read.
    pub(super) frame: Option<websocket::OpenFrame>,
    /// How the client ends, once what it said before has been handled.
    pub(super) ending: Option<Ending>,
    /// The client identifier that was assigned, until CONNACK tells it.
    pub(super) assigned: Option<Box<str>>,
    /// Whom a load balancer forwards, until CONNACK.
    pub(super) forwarded: Option<SocketAddr>,
    /// Packets to send.
    pub(super) output: BytesMut,
    /// WebSocket: frames to send. They go first.
    pub(super) frames: BytesMut,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty()
            && self.packet.is_empty()
            && self.frame.is_none()
            && self.ending.is_none()
            && self.assigned.is_none()
            && self.forwarded.is_none()
            && self.unsent() == 0
    }

    pub(super) fn unsent(&self) -> usize {
        self.output.len() + self.frames.len()
    }

    /// Forgets the content and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.input.clear();
        self.packet.clear();
        self.frame = None;
        self.ending = None;
        self.assigned = None;
        self.forwarded = None;
        self.output.clear();
        self.frames.clear();
    }
}

impl Connection {
    pub(super) fn new(socket: TcpStream, door: Door, ticket: u32, now: Tick) -> Self {
        Self {
            socket,
            transport: match door {
                Door::Tcp | Door::Tls => Transport::Tcp,
                Door::WebSocket | Door::SecureWebSocket => Transport::Upgrade,
            },
            is_secure: door.is_secure(),
            phase: Phase::Open,
            waits_to_write: false,
            is_dirty: false,
            has_unread: false,
            turn: Turn::None,
            is_costly: false,
            active_at: now,
            session: mqtt::Session::new(),
            ticket,
            online: None,
            pending: None,
        }
    }

    pub(super) fn unsent(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.unsent())
    }

    /// Whether this connection carries that very session.
    pub(super) fn carries(&self, session: SessionRef) -> bool {
        self.online
            .as_ref()
            .is_some_and(|online| online.session == session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_compared_over_their_wrap() {
        assert_eq!(Tick(5).beyond(Tick(3)), 2);
        assert_eq!(Tick(3).beyond(Tick(5)), 0);
        assert_eq!(Tick(1).beyond(Tick(u32::MAX)), 2);
        assert_eq!(Tick(u32::MAX).beyond(Tick(1)), 0);
    }

    /// Every connection pays this, and most are idle.
    #[test]
    fn an_idle_connection_is_a_handful_of_words() {
        assert!(size_of::<Connection>() <= 88);
    }
}
