//! The JSON of a connection status event, field for field as in the contract.
//!
//! The only place that knows the names on the wire. What is absent is omitted, never null; `os`
//! appears on [`Status::Online`] only, `reason` on the two endings only. The bytes are made once
//! and shared by all attempts, because the signature covers them exactly as they are.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// One change of one session, as the receiver will hear of it.
#[derive(Clone, Copy, Debug)]
pub struct StatusEvent<'a> {
    /// The same on every retry; the receiver deduplicates by it.
    pub id: Uuid,
    /// What happened.
    pub status: Status,
    /// The organisation; it is not on the wire, an endpoint belongs to one.
    pub org: &'a str,
    /// The user, without the organisation's suffix.
    pub user_id: &'a str,
    /// The client's platform, if it is known.
    pub os: Option<Os>,
    /// When it happened, in Unix milliseconds.
    pub at_ms: u64,
    /// When the event was generated, in Unix milliseconds.
    pub generated_at_ms: u64,
    /// The client's address, if it is known.
    pub client_ip: Option<SocketAddr>,
    /// New for every connection, the same in its two events; on the wire `sess_` and 32 digits.
    pub session_id: Uuid,
    /// MQTT client identifier ([`Shape::Extended`]).
    pub client_id: &'a str,
    /// Counts the user's events without a gap ([`Shape::Extended`]).
    pub seq: u64,
    /// Why the session ended ([`Shape::Extended`]); not written for [`Status::Online`].
    pub reason: Option<&'static str>,
    /// The user's sessions after the event ([`Shape::Extended`]).
    pub online_sessions: u32,
    /// When the session opened, in Unix milliseconds ([`Shape::Extended`]).
    pub connected_at_ms: u64,
    /// The protocol level the client reported: 3, 4 or 5 ([`Shape::Extended`]).
    pub protocol: u8,
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It opened: `"0"`.
    Online,
    /// It ended: `"1"`.
    Offline,
    /// It ended because the user logged out: `"2"`.
    LoggedOut,
}

/// A client's platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Os {
    /// `iOS`
    #[serde(rename = "iOS")]
    Ios,
    /// `Android`
    Android,
    /// `Websocket`
    Websocket,
}

impl Os {
    /// The platform that a client names, compared without case.
    #[must_use]
    pub fn from_client(name: &str) -> Option<Self> {
        let all = [
            ("ios", Self::Ios),
            ("android", Self::Android),
            ("websocket", Self::Websocket),
        ];
        let found = all.iter().find(|(word, _)| name.eq_ignore_ascii_case(word));
        found.map(|(_, os)| *os)
    }
}

/// How much an endpoint is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The contract's fields and no other.
    #[default]
    Contract,
    /// Also `clientId`, `seq`, `reason`, `onlineSessions`, `connectedAt` and `protocol`.
    Extended,
}

impl StatusEvent<'_> {
    /// The body of the request.
    #[must_use]
    pub fn to_json(&self, shape: Shape) -> Bytes {
        let mut body = Vec::with_capacity(BODY_BYTES_USUAL);
        let envelope = Envelope {
            kind: "user:connection_status",
            id: self.id,
            time: self.generated_at_ms,
            data: [self.data(shape)],
        };
        serde_json::to_writer(&mut body, &envelope)
            .expect("writing strings and numbers to memory does not fail");
        body.into()
    }

    fn data(&self, shape: Shape) -> Data<'_> {
        let online = self.status == Status::Online;
        Data {
            status: match self.status {
                Status::Online => "0",
                Status::Offline => "1",
                Status::LoggedOut => "2",
            },
            user_id: self.user_id,
            os: self.os.filter(|_| online),
            time: self.at_ms,
            client_ip: self.client_ip.map(ClientIp),
            session_id: SessionId(self.session_id),
            extension: (shape == Shape::Extended).then(|| Extension {
                client_id: self.client_id,
                seq: self.seq,
                reason: self.reason.filter(|_| !online),
                online_sessions: self.online_sessions,
                connected_at: self.connected_at_ms,
                protocol: match self.protocol {
                    3 => "3",
                    4 => "4",
                    _ => "5",
                },
            }),
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(serialize_with = "as_text")]
    id: Uuid,
    time: u64,
    data: [Data<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    status: &'static str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<Os>,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<ClientIp>,
    session_id: SessionId,
    #[serde(flatten)]
    extension: Option<Extension<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extension<'a> {
    client_id: &'a str,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    online_sessions: u32,
    connected_at: u64,
    protocol: &'static str,
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// `ip:port`; a socket that takes both families shows an IPv4 client as IPv4.
struct ClientIp(SocketAddr);

impl Serialize for ClientIp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.ip().to_canonical() {
            // Not the socket address itself: it would show the scope of a link-local address.
            IpAddr::V4(ip) => serializer.collect_str(&format_args!("{ip}:{}", self.0.port())),
            IpAddr::V6(ip) => serializer.collect_str(&format_args!("[{ip}]:{}", self.0.port())),
        }
    }
}

struct SessionId(Uuid);

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("sess_{}", self.0.simple()))
    }
}

/// Room for an extended event with names of usual length, so that the body is not moved as it grows.
const BODY_BYTES_USUAL: usize = 512;

#[cfg(test)]
mod tests;
