//! CONNECT and CONNACK (§3.1, §3.2).
//!
//! The protocol name and level decide who speaks; then the codec decodes, and
//! three layers of rules follow: what is malformed, what this server does not
//! have, and what the caller decides (accounts, client ids, quotas). CONNACK
//! announces every absence, so that a client never has to find out by failing.
//! Response Information (§3.1.2.11.6) is not given: a server need not.

use std::fmt;
use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, ConnectAckReason};

use super::facts::Fact;
use super::{Action, Session, State, Version};
use crate::limits::Limits;
use crate::packet;
use crate::reason::{CloseReason, Refusal};

mod decode;
mod will;
use decode::{ConnectError, decode};
pub use will::Will;

/// Bytes of a client id that the server may assign (§3.2.2.3.7), so that CONNACK
/// fits any client let in: the length of a UUID in text.
pub const ASSIGNED_CLIENT_ID_BYTES_MAX: usize = 36;

/// Bytes of the longest CONNACK of an accepted client that brought its own id.
const CONNACK_BYTES_MAX: u32 = 32;

/// What a client asks for in CONNECT. Its texts are parts of the packet's
/// buffer: copy those to be kept.
pub struct ConnectRequest {
    /// The protocol version.
    pub version: Version,
    /// May be empty: then the caller assigns one (§3.1.3.1).
    pub client_id: ByteString,
    /// Clean Start (§3.1.2.4); MQTT 3: Clean Session.
    pub clean_start: bool,
    /// User Name (§3.1.3.5).
    pub username: Option<ByteString>,
    /// Password (§3.1.3.6).
    pub password: Option<Bytes>,
    /// As asked for, before any cap; 0 is none (§3.1.2.10).
    pub keep_alive_secs: u16,
    /// In the client's order (§3.1.2.11.8).
    pub user_properties: Vec<(ByteString, ByteString)>,
    /// As asked for (§3.1.2.11.2); 0xFFFF_FFFF is forever, as without Clean Session in
    /// MQTT 3. Not granted yet: [`Limits::session_expiry_secs`].
    pub session_expiry_secs: u32,
    /// The message that the server is to publish when the session or its connection ends
    /// other than by a DISCONNECT without it (§3.1.2.5).
    pub will: Option<Box<Will>>,
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("username", &self.username)
            .field("has_password", &self.password.is_some())
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("will", &self.will)
            .finish_non_exhaustive()
    }
}

/// What the caller has decided about a CONNECT that it accepts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accepted<'a> {
    /// The id given to a client that brought none, at most
    /// [`ASSIGNED_CLIENT_ID_BYTES_MAX`] bytes. MQTT 5 is told.
    pub assigned_client_id: Option<&'a str>,
    /// Session Present (§3.2.2.1.1). MQTT 3.1 is not told.
    pub session_present: bool,
    /// The Session Expiry Interval granted (§3.2.2.3.2). MQTT 5 is told if it asked.
    pub session_expiry_secs: u32,
    /// The session's state outlives the connection and is the caller's: messages over
    /// QoS 0 come by [`Session::deliver_stored`] and acknowledgements are
    /// [`Action`]s.
    pub is_stored: bool,
    /// Packet identifiers of QoS 2 messages that a stored session has received from the
    /// client before and that the client has not released (§4.1).
    pub received: &'a [NonZeroU16],
    /// What there is to say of it in words (Reason String, §3.2.2.3.9). MQTT 5 is told if it takes
    /// a packet of that size.
    pub reason: Option<&'a str>,
}

impl Session {
    pub(super) fn handle_connect(
        &mut self,
        frame: BytesMut,
        now_ms: u64,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Action {
        match decode(frame, now_ms) {
            Ok((version, connect, will)) => self.open(version, connect, will, limits, out),
            Err(ConnectError::Silent(reason)) => {
                self.close();
                Action::Close(reason)
            }
            Err(ConnectError::ReturnCode(version, code, text)) => {
                self.state = State::Opening(version);
                self.turn_away_v3(code, text, out)
            }
            Err(ConnectError::ReasonCode(code, text)) => {
                self.state = State::Opening(Version::V5);
                self.turn_away_v5(code, text, out)
            }
        }
    }

    fn open(
        &mut self,
        version: Version,
        connect: v5::Connect,
        will: Option<Box<Will>>,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Action {
        self.state = State::Opening(version);
        self.keep_alive_secs = connect.keep_alive;
        let is_requested = connect.session_expiry_interval_secs > 0;
        self.facts.set(Fact::ExpiryRequested, is_requested);
        self.facts
            .set(Fact::WantsReasons, connect.request_problem_info);
        self.receive_max = connect.receive_max.map_or(u16::MAX, NonZeroU16::get);
        self.packet_bytes_max = connect
            .max_packet_size
            .map_or(u32::MAX, |bytes| bytes.get());
        if let Some(action) = self.turn_away_unservable(&connect, will.as_deref(), limits, out) {
            return action;
        }
        if connect.topic_alias_max.min(limits.topic_alias_sent_max) > 0 {
            self.busy().aliases.allow(connect.topic_alias_max);
        }
        Action::Open(Box::new(ConnectRequest {
            version,
            client_id: connect.client_id,
            clean_start: connect.clean_start,
            username: connect.username,
            password: connect.password,
            keep_alive_secs: connect.keep_alive,
            user_properties: connect.user_properties,
            session_expiry_secs: connect.session_expiry_interval_secs,
            will,
        }))
    }

    /// What is valid MQTT and not served here.
    fn turn_away_unservable(
        &mut self,
        connect: &v5::Connect,
        will: Option<&Will>,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Option<Action> {
        if will.is_some_and(|will| will.message.retain() && !limits.retain_available) {
            let text = "retained messages are not supported"; // MQTT-3.2.2-13
            return Some(self.turn_away(ConnectAckReason::RetainNotSupported, text, out));
        }
        if will.is_some_and(Will::is_to_server) {
            let text = "names that begin with $ are the server's own";
            return Some(self.turn_away(ConnectAckReason::NotAuthorized, text, out));
        }
        if connect.auth_method.is_some() {
            let text = "no authentication method is supported";
            return Some(self.turn_away_v5(ConnectAckReason::BadAuthenticationMethod, text, out));
        }
        let assigned = if connect.client_id.is_empty() {
            3 + ASSIGNED_CLIENT_ID_BYTES_MAX
        } else {
            0
        };
        if self.packet_bytes_max < CONNACK_BYTES_MAX + u32::try_from(assigned).unwrap_or(u32::MAX) {
            let text = "Maximum Packet Size leaves no room for CONNACK";
            return Some(self.turn_away_v5(ConnectAckReason::PacketTooLarge, text, out));
        }
        None
    }

    /// Accepts the CONNECT: writes CONNACK with all that the client must know.
    /// Does nothing unless the session is opening.
    pub fn accept(&mut self, accepted: &Accepted<'_>, limits: &Limits, out: &mut BytesMut) {
        let State::Opening(version) = self.state else {
            return;
        };
        self.state = State::Connected(version);
        self.facts.set(Fact::Stored, accepted.is_stored);
        for packet_id in accepted.received {
            self.busy().receiving.restore(*packet_id);
        }
        if version == Version::V5 {
            let connack = self.connack(accepted, limits);
            packet::reply_v5(
                self.packet_bytes_max,
                accepted.reason,
                out,
                |reason_string| {
                    v5::ConnectAck {
                        reason_string,
                        ..connack.clone()
                    }
                    .into()
                },
            );
            return;
        }
        let connack = v3::ConnectAck {
            return_code: v3::ConnectAckReason::ConnectionAccepted,
            // The byte is reserved in MQTT 3.1.
            session_present: accepted.session_present && version != Version::V31,
        };
        Self::reply_v3(v3::Packet::ConnectAck(connack), out);
    }

    fn connack(&mut self, accepted: &Accepted<'_>, limits: &Limits) -> v5::ConnectAck {
        v5::ConnectAck {
            session_present: accepted.session_present,
            session_expiry_interval_secs: self
                .facts
                .has(Fact::ExpiryRequested)
                .then_some(accepted.session_expiry_secs),
            receive_max: NonZeroU16::new(limits.receive_max).unwrap_or(NonZeroU16::MIN),
            max_qos: QoS::ExactlyOnce,
            max_packet_size: Some(limits.packet_bytes_max),
            assigned_client_id: accepted.assigned_client_id.map(ByteString::from),
            topic_alias_max: limits.topic_alias_max,
            retain_available: limits.retain_available,
            subscription_identifiers_available: limits.subscription_ids_available,
            shared_subscription_available: limits.shared_available,
            server_keepalive_sec: self.cap_keep_alive(limits),
            ..v5::ConnectAck::default()
        }
    }

    /// Refuses the CONNECT with a code, and for MQTT 5 with `reason` in words.
    /// The session is closed. Nothing is written unless it was opening.
    pub fn refuse(&mut self, refusal: Refusal, reason: &str, out: &mut BytesMut) {
        match self.state {
            State::Opening(Version::V5) => self.write_refusal_v5(refusal.v5(), reason, out),
            State::Opening(_) => Self::write_refusal_v3(refusal.v3(), out),
            _ => {}
        }
        self.close();
    }

    fn turn_away(
        &mut self,
        code: ConnectAckReason,
        text: &'static str,
        out: &mut BytesMut,
    ) -> Action {
        let code_v3 = match code {
            ConnectAckReason::NotAuthorized => v3::ConnectAckReason::NotAuthorized,
            _ => v3::ConnectAckReason::ServiceUnavailable,
        };
        match self.version() {
            Some(Version::V5) => self.turn_away_v5(code, text, out),
            _ => self.turn_away_v3(code_v3, text, out),
        }
    }

    fn turn_away_v5(
        &mut self,
        code: ConnectAckReason,
        text: &'static str,
        out: &mut BytesMut,
    ) -> Action {
        self.write_refusal_v5(code, text, out);
        self.close();
        Action::Close(CloseReason::Refused(text))
    }

    fn turn_away_v3(
        &mut self,
        code: v3::ConnectAckReason,
        text: &'static str,
        out: &mut BytesMut,
    ) -> Action {
        Self::write_refusal_v3(code, out);
        self.close();
        Action::Close(CloseReason::Refused(text))
    }

    fn write_refusal_v5(&self, reason_code: ConnectAckReason, reason: &str, out: &mut BytesMut) {
        packet::reply_v5(self.packet_bytes_max, Some(reason), out, |reason_string| {
            v5::ConnectAck {
                reason_code,
                reason_string,
                ..v5::ConnectAck::default()
            }
            .into()
        });
    }

    fn write_refusal_v3(return_code: v3::ConnectAckReason, out: &mut BytesMut) {
        let connack = v3::ConnectAck {
            return_code,
            session_present: false,
        };
        Self::reply_v3(v3::Packet::ConnectAck(connack), out);
    }
}
