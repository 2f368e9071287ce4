//! What happens to a session: it opens, and it ends. Both are told once, by value.

use std::net::SocketAddr;

use compact_str::CompactString;

use crate::id::{Address, Os, Protocol, SessionId, SessionRef};

/// A session about to open.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Its name in events, for ever.
    pub id: SessionId,
    /// The user, without the organisation's suffix.
    pub username: &'a str,
    /// MQTT client identifier; assigned by the server if the client sent none.
    pub client_id: &'a str,
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// The client's address, if known.
    pub peer: Option<SocketAddr>,
    /// The system it runs on, if known.
    pub os: Option<Os>,
    /// When it connected, in Unix milliseconds.
    pub connected_at_ms: u64,
    /// Where its connection is.
    pub address: Address,
}

/// A session that has opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its name from now on.
    pub session: SessionRef,
    /// The session that had this client identifier until now. It ended **before** this one opened.
    pub taken_over: Option<Ended>,
    /// How many sessions the user has now, this one included.
    pub online_sessions: u32,
}

/// A session that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What it was.
    pub facts: SessionFacts,
    /// How many sessions the user has left.
    pub online_sessions: u32,
}

/// All that is known of one session but its subscriptions, by value.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// Its name in this process.
    pub session: SessionRef,
    /// Its name in events, for ever.
    pub id: SessionId,
    /// Where its connection is or was.
    pub address: Address,
    /// Whose it is.
    pub username: CompactString,
    /// Its client identifier.
    pub client_id: CompactString,
    /// The protocol it speaks.
    pub protocol: Protocol,
    /// The client's address, if known.
    pub peer: Option<SocketAddr>,
    /// The system it runs on, if known.
    pub os: Option<Os>,
    /// When it connected, in Unix milliseconds.
    pub connected_at_ms: u64,
}

/// Why a session ended, in the words of the webhook contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The client sent DISCONNECT.
    ClientDisconnect,
    /// The connection closed or failed without one.
    ConnectionLost,
    /// Nothing came for one and a half times the keep alive (MQTT 5 §3.1.2.10).
    KeepAliveTimeout,
    /// The same client identifier connected again (MQTT 5 §3.1.4-3).
    TakenOver,
    /// The user logged in on another device, and the organisation allows one only.
    KickedByDevice,
    /// An operator ended it.
    Terminated,
    /// The user logged out, by the client or through the server.
    LoggedOut,
    /// What it had logged in with is no longer valid.
    CredentialsExpired,
    /// The client broke the protocol or one of its limits.
    ProtocolError,
    /// The server stops.
    ServerStopped,
    /// The server went without ending it; the next start did.
    ServerCrashed,
}

impl EndReason {
    /// The word in events and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientDisconnect => "client_disconnect",
            Self::ConnectionLost => "connection_lost",
            Self::KeepAliveTimeout => "keep_alive_timeout",
            Self::TakenOver => "taken_over",
            Self::KickedByDevice => "kicked_by_device",
            Self::Terminated => "terminated",
            Self::LoggedOut => "logged_out",
            Self::CredentialsExpired => "credentials_expired",
            Self::ProtocolError => "protocol_error",
            Self::ServerStopped => "server_stopped",
            Self::ServerCrashed => "server_crashed",
        }
    }
}
