//! The state machine of one client's session.
//!
//! ```text
//!                   CONNECT                accept
//! AwaitingConnect ----------> Opening --------------> Connected
//!        |                       |                        |
//!        | anything else,        | refuse,                | DISCONNECT, violation,
//!        | CONNECT refused       | disconnect             | disconnect
//!        +-----------------------+------------------------+--> Closed
//! ```
//!
//! `handle_*` takes in what the client sent and returns what the caller must
//! do; the other methods answer those requests or send something of the
//! server's. In `Opening` the caller makes the session's opening durable and
//! must hold back further packets of the client until then. A closed session
//! writes nothing and asks for nothing, so late calls are harmless.
//!
//! A session is *stored* if its state outlives the connection. That state (its
//! subscriptions, what is under way) belongs to the caller; the session plays the
//! part of the connection in it and says by actions what has become of what.

mod alias;
mod busy;
mod connect;
mod deliver;
mod disconnect;
mod facts;
mod keep_alive;
mod publish;
mod subscribe;

use std::num::NonZeroU16;

use bytes::BytesMut;
use rmqtt_codec::v3;
use rmqtt_codec::v5;

pub use connect::{ASSIGNED_CLIENT_ID_BYTES_MAX, Accepted, ConnectRequest, Will};
pub use deliver::{Delivery, Discarded, Outgoing, StoredDelivery};
pub use publish::{Inbound, LOGOUT_TOPIC, PublishOutcome};
pub use subscribe::{
    SubscribeEntry, SubscribeRequest, SubscriptionOptions, UnsubscribeRequest, UnsubscribeResult,
};

use crate::frame::FrameError;
use crate::limits::Limits;
use crate::packet::{self, Packet};
use crate::reason::{CloseReason, Violation};
use busy::Busy;
use facts::{Fact, Facts};

/// The protocol version a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// MQTT 3.1.
    V31,
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

impl Version {
    /// The protocol level in CONNECT (§3.1.2.2): 3, 4 or 5.
    pub fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }
}

/// What the caller must do about a packet.
#[derive(Debug)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart at once; a box would cost each message an allocation"
)]
pub enum Action {
    /// Nothing; replies, if any, are written.
    Continue,
    /// Decide about the CONNECT: [`Session::accept`] or [`Session::refuse`].
    Open(Box<ConnectRequest>),
    /// Route the message, then [`Session::published`].
    Publish(Inbound),
    /// Apply the subscriptions, then [`Session::subscribed`].
    Subscribe(SubscribeRequest),
    /// Remove the subscriptions, then [`Session::unsubscribed`].
    Unsubscribe(UnsubscribeRequest),
    /// Stored session: the client is done with a message it was sent (PUBACK, PUBCOMP, or
    /// PUBREC with an error); forget it.
    Acknowledged(NonZeroU16),
    /// Stored session: the client has a QoS 2 message (PUBREC). Make that durable, then
    /// [`Session::release`].
    Received(NonZeroU16),
    /// Stored session: the client will not repeat a QoS 2 message (PUBREL). Forget its
    /// packet identifier durably, then [`Session::released`].
    Release(NonZeroU16),
    /// Send what is written, then close the connection.
    Close(CloseReason),
}

/// One client's session: protocol state only, no connection and no subscriptions.
///
/// An idle session is this struct alone; what it needs while messages are under way
/// is allocated then and freed afterwards.
#[derive(Debug)]
pub struct Session {
    busy: Option<Box<Busy>>,
    /// The client's Maximum Packet Size (§3.1.2.11.4); MQTT 3: unlimited.
    packet_bytes_max: u32,
    /// As asked for until accepted, then as in force.
    keep_alive_secs: u16,
    /// The client's Receive Maximum (§3.1.2.11.3); MQTT 3: 65,535.
    receive_max: u16,
    /// Of the last QoS 1 or 2 message sent.
    last_packet_id: u16,
    /// Of the only message that waits for its answer, see [`Session::alone_unanswered`].
    unanswered_id: Option<NonZeroU16>,
    state: State,
    facts: Facts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    AwaitingConnect,
    Opening(Version),
    Connected(Version),
    Closed(Option<Version>),
}

impl Session {
    /// A session awaiting its CONNECT.
    pub fn new() -> Self {
        Self {
            busy: None,
            packet_bytes_max: u32::MAX,
            keep_alive_secs: 0,
            receive_max: u16::MAX,
            last_packet_id: 0,
            unanswered_id: None,
            state: State::AwaitingConnect,
            facts: Facts::none(),
        }
    }

    /// The version in its CONNECT, also after closing; `None` before.
    pub fn version(&self) -> Option<Version> {
        match self.state {
            State::AwaitingConnect => None,
            State::Opening(version) | State::Connected(version) => Some(version),
            State::Closed(version) => version,
        }
    }

    /// Whether it is accepted and not closed.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Whether its CONNECT waits for [`Session::accept`] or [`Session::refuse`];
    /// hold back the client's further packets until then.
    pub fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening(_))
    }

    /// Takes in one packet: `frame` is exactly that, as [`crate::whole_frame`]
    /// measured it, in an allocation of its own. Replies are appended to `out`.
    /// `now_ms` is Unix time in milliseconds, by the clock that is told to
    /// [`Session::deliver`] too: messages expire by it.
    ///
    /// A packet that arrives while the session is opening closes it, so hold it
    /// back; a packet that arrives after closing is ignored.
    pub fn handle_frame(
        &mut self,
        frame: BytesMut,
        now_ms: u64,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Action {
        match self.state {
            State::AwaitingConnect => self.handle_connect(frame, now_ms, limits, out),
            // MQTT-3.1.4-6: nothing may be processed before the answer to CONNECT.
            State::Opening(_) => self.fail(Violation::protocol("packet before CONNACK"), out),
            State::Connected(version) => match packet::decode(frame, version) {
                Ok(packet) => {
                    let mut turn = Turn {
                        version,
                        now_ms,
                        limits,
                        out,
                    };
                    self.handle_packet(packet, &mut turn)
                }
                Err(violation) => self.fail(violation, out),
            },
            State::Closed(_) => Action::Continue,
        }
    }

    /// Takes in that no packet can be cut from what the client sent; the session
    /// is closed. MQTT 5 is told why, once connected: 0x95 or 0x81 (§4.13).
    pub fn handle_frame_error(&mut self, error: FrameError, out: &mut BytesMut) -> CloseReason {
        let violation = Violation::from(error);
        let _ = self.fail(violation, out);
        violation.close_reason()
    }

    fn handle_packet(&mut self, packet: Packet, turn: &mut Turn<'_>) -> Action {
        match packet {
            Packet::Publish {
                publish,
                expires_at_once,
            } => self.handle_publish(*publish, expires_at_once, turn),
            Packet::PublishAck(packet_id) => self.handle_publish_ack(packet_id, turn),
            Packet::PublishReceived {
                packet_id,
                is_error,
            } => self.handle_publish_received(packet_id, is_error, turn),
            Packet::PublishRelease(packet_id) => self.handle_publish_release(packet_id, turn),
            Packet::PublishComplete(packet_id) => self.handle_publish_complete(packet_id, turn),
            Packet::Subscribe(subscribe) => self.handle_subscribe(subscribe, turn.limits, turn.out),
            Packet::Unsubscribe { packet_id, filters } => {
                Action::Unsubscribe(UnsubscribeRequest { packet_id, filters })
            }
            Packet::Ping => self.handle_ping(turn.version, turn.out),
            Packet::Disconnect(disconnect) => self.handle_disconnect(disconnect, turn.out),
        }
    }

    /// Closes for the client's fault; a connected MQTT 5 client is told (§4.13.2).
    fn fail(&mut self, violation: Violation, out: &mut BytesMut) -> Action {
        if self.state == State::Connected(Version::V5) {
            self.write_disconnect(violation.code, violation.text, out);
        }
        self.close();
        Action::Close(violation.close_reason())
    }

    fn close(&mut self) {
        self.state = State::Closed(self.version());
        self.unanswered_id = None;
        self.busy = None;
    }

    /// Appends an MQTT 5 reply other than CONNACK and DISCONNECT, whose Reason
    /// String is the client's choice (MQTT-3.1.2-29).
    fn reply_v5(
        &self,
        reason: Option<&str>,
        out: &mut BytesMut,
        packet: impl Fn(Option<bytestring::ByteString>) -> v5::Packet,
    ) {
        let reason = reason.filter(|_| self.facts.has(Fact::WantsReasons));
        packet::reply_v5(self.packet_bytes_max, reason, out, packet);
    }

    /// Appends an MQTT 3 reply. Those made here always fit.
    fn reply_v3(packet: v3::Packet, out: &mut BytesMut) {
        let encoded = packet::encode_v3(packet, out);
        debug_assert!(
            encoded,
            "replies of MQTT 3 have no texts that could be too long"
        );
    }
}

/// What handling one packet is done with.
struct Turn<'a> {
    version: Version,
    now_ms: u64,
    limits: &'a Limits,
    out: &'a mut BytesMut,
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_session_is_small() {
        assert_eq!(size_of::<Session>(), 24, "at most 32 are planned for");
    }
}
