//! Messages under way from the client, and what they are answered.
//!
//! ```text
//! QoS 1  PUBLISH --> unanswered --PUBACK-->
//! QoS 2  PUBLISH --> unanswered --PUBREC--> received --PUBREL--> (releasing) --PUBCOMP-->
//! ```
//!
//! `releasing` is for stored sessions: the caller forgets the identifier durably
//! before PUBCOMP is sent. Whatever is here counts against our Receive Maximum.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;

use bytes::BytesMut;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, DisconnectReasonCode, PublishAck2Reason, PublishAckReason};

use super::super::{Action, Session, State, Turn, Version};
use crate::limits::Limits;
use crate::packet::is_error;
use crate::reason::Violation;

/// A message that the client awaits an answer to. One fits in the session itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct Unanswered {
    packet_id: NonZeroU16,
    qos: QoS,
}

impl Unanswered {
    pub(in crate::session) fn new(packet_id: NonZeroU16, is_exactly_once: bool) -> Self {
        let qos = match is_exactly_once {
            true => QoS::ExactlyOnce,
            false => QoS::AtLeastOnce,
        };
        Self { packet_id, qos }
    }

    pub(in crate::session) fn packet_id(self) -> NonZeroU16 {
        self.packet_id
    }

    pub(in crate::session) fn is_exactly_once(self) -> bool {
        self.qos == QoS::ExactlyOnce
    }
}

/// Messages under way from the client, but for one that is alone and unanswered.
#[derive(Debug, Default)]
pub(in crate::session) struct Receiving {
    /// In the order of receipt. An answer waits here for those before it.
    unanswered: VecDeque<(Unanswered, Option<PublishAckReason>)>,
    /// QoS 2 identifiers from PUBREC to PUBCOMP.
    received: BTreeMap<NonZeroU16, Received>,
    /// Of `received`: from this connection, and so against its Receive Maximum (§4.9).
    counted: usize,
}

#[derive(Debug)]
struct Received {
    is_counted: bool,
    is_releasing: bool,
}

impl Receiving {
    pub(in crate::session) fn is_empty(&self) -> bool {
        self.unanswered.is_empty() && self.received.is_empty()
    }

    fn len(&self) -> usize {
        self.unanswered.len() + self.counted
    }

    /// Takes in an identifier that a stored session has received on an earlier
    /// connection.
    pub(in crate::session) fn restore(&mut self, packet_id: NonZeroU16) {
        let received = Received {
            is_counted: false,
            is_releasing: false,
        };
        self.received.insert(packet_id, received);
    }

    /// Takes in an identifier that PUBREC goes out for. One that is known stays as it is:
    /// its message was repeated.
    fn receive(&mut self, packet_id: NonZeroU16) {
        if let Entry::Vacant(place) = self.received.entry(packet_id) {
            place.insert(Received {
                is_counted: true,
                is_releasing: false,
            });
            self.counted += 1;
        }
    }

    fn remove(&mut self, packet_id: NonZeroU16) -> bool {
        let removed = self.received.remove(&packet_id);
        self.counted -= usize::from(removed.as_ref().is_some_and(|found| found.is_counted));
        removed.is_some()
    }

    /// Notes an answer; gives the answers that may go out now, one at a time.
    fn next_answered(&mut self) -> Option<(Unanswered, PublishAckReason)> {
        let (unanswered, code) = *self.unanswered.front()?;
        let code = code?;
        self.unanswered.pop_front();
        Some((unanswered, code))
    }
}

impl Session {
    /// QoS 1 and 2 messages of the client that [`Session::published`] has not answered
    /// yet. An MQTT 5 client keeps this within our Receive Maximum; from an MQTT 3
    /// client the caller reads no more while there are too many.
    pub fn unanswered(&self) -> usize {
        let receiving = self.busy.as_ref().map(|busy| &busy.receiving);
        let kept = receiving.map_or(0, |receiving| receiving.unanswered.len());
        kept + usize::from(self.unanswered_id.is_some())
    }

    /// Whether the QoS 2 message is one that came before: then it is answered as then,
    /// or will be (MQTT-4.3.3-10).
    pub(super) fn repeat_received(
        &mut self,
        packet_id: NonZeroU16,
        version: Version,
        out: &mut BytesMut,
    ) -> bool {
        let unanswered = Unanswered {
            packet_id,
            qos: QoS::ExactlyOnce,
        };
        if self.alone_unanswered() == Some(unanswered) {
            return true;
        }
        let Some(busy) = &mut self.busy else {
            return false;
        };
        let receiving = &mut busy.receiving;
        if receiving.unanswered.iter().any(|(u, _)| *u == unanswered) {
            return true;
        }
        if !receiving.received.contains_key(&packet_id) {
            return false;
        }
        let code = PublishAckReason::Success;
        if receiving.unanswered.is_empty() && self.unanswered_id.is_none() {
            self.write_answer(unanswered, version, code, out);
        } else {
            self.keep_unanswered(unanswered, Some(code));
        }
        true
    }

    /// Takes in that a message wants an answer, unless there are too many that do.
    pub(super) fn expect_answer(
        &mut self,
        packet_id: NonZeroU16,
        qos: QoS,
        version: Version,
        limits: &Limits,
    ) -> Result<(), Violation> {
        let receiving = self.busy.as_ref().map(|busy| &busy.receiving);
        let under_way = receiving.map_or(0, Receiving::len);
        let max = match version {
            Version::V5 => limits.receive_max.max(1),
            // There are no more identifiers than that.
            Version::V31 | Version::V311 => u16::MAX,
        };
        if under_way + usize::from(self.unanswered_id.is_some()) >= usize::from(max) {
            let code = DisconnectReasonCode::ReceiveMaximumExceeded; // MQTT-3.3.4-7
            return Err(Violation::new(code, "too many messages under way"));
        }
        let unanswered = Unanswered { packet_id, qos };
        let none_kept = receiving.is_none_or(|receiving| receiving.unanswered.is_empty());
        if none_kept && self.unanswered_id.is_none() {
            self.set_alone_unanswered(Some(unanswered));
        } else {
            self.keep_unanswered(unanswered, None);
        }
        Ok(())
    }

    fn keep_unanswered(&mut self, unanswered: Unanswered, answer: Option<PublishAckReason>) {
        let first = self.alone_unanswered();
        self.set_alone_unanswered(None);
        let receiving = &mut self.busy().receiving;
        receiving
            .unanswered
            .extend(first.map(|first| (first, None)));
        receiving.unanswered.push_back((unanswered, answer));
    }

    /// Answers a message, or notes the answer until those before it have theirs.
    /// Unknown identifiers are ignored.
    pub(super) fn answer(
        &mut self,
        packet_id: Option<NonZeroU16>,
        code: PublishAckReason,
        out: &mut BytesMut,
    ) {
        let (Some(packet_id), State::Connected(version)) = (packet_id, self.state) else {
            return;
        };
        if let Some(unanswered) = self.alone_unanswered() {
            if unanswered.packet_id == packet_id {
                self.set_alone_unanswered(None);
                self.write_answer(unanswered, version, code, out);
            }
            return;
        }
        let Some(busy) = &mut self.busy else {
            return;
        };
        let mut kept = busy.receiving.unanswered.iter_mut();
        if let Some((_, answer)) = kept.find(|(u, a)| u.packet_id == packet_id && a.is_none()) {
            *answer = Some(code);
        }
        while let Some((unanswered, code)) = self.busy().receiving.next_answered() {
            self.write_answer(unanswered, version, code, out);
        }
        self.rest();
    }

    fn write_answer(
        &mut self,
        unanswered: Unanswered,
        version: Version,
        code: PublishAckReason,
        out: &mut BytesMut,
    ) {
        let Unanswered { packet_id, qos } = unanswered;
        let is_received = qos == QoS::ExactlyOnce;
        // MQTT-4.3.3-9. MQTT 3 is not told of the error and goes on.
        if is_received && (version != Version::V5 || !is_error(code)) {
            self.busy().receiving.receive(packet_id);
        }
        if version != Version::V5 {
            Self::reply_v3(
                if is_received {
                    v3::Packet::PublishReceived { packet_id }
                } else {
                    v3::Packet::PublishAck { packet_id }
                },
                out,
            );
            return;
        }
        self.reply_v5(ack_text(code), out, |reason_string| {
            let ack = v5::PublishAck {
                packet_id,
                reason_code: code,
                properties: Vec::new(),
                reason_string,
            };
            if is_received {
                v5::Packet::PublishReceived(ack)
            } else {
                v5::Packet::PublishAck(ack)
            }
        });
    }

    /// PUBREL: the client will not repeat the message (MQTT-4.3.3-11).
    pub(in crate::session) fn handle_publish_release(
        &mut self,
        packet_id: NonZeroU16,
        turn: &mut Turn<'_>,
    ) -> Action {
        let is_stored = self.is_stored();
        let receiving = self.busy.as_mut().map(|busy| &mut busy.receiving);
        let received = receiving.and_then(|receiving| receiving.received.get_mut(&packet_id));
        match received {
            None => {
                let code = PublishAck2Reason::PacketIdNotFound;
                self.write_complete(packet_id, turn.version, code, turn.out);
                Action::Continue
            }
            Some(found) if is_stored => {
                if std::mem::replace(&mut found.is_releasing, true) {
                    return Action::Continue;
                }
                Action::Release(packet_id)
            }
            Some(_) => {
                self.forget_received(packet_id, turn.version, turn.out);
                Action::Continue
            }
        }
    }

    /// Answers [`Action::Release`]: the identifier is forgotten, PUBCOMP goes out. To be
    /// called in the order of the actions.
    pub fn released(&mut self, packet_id: NonZeroU16, out: &mut BytesMut) {
        if let State::Connected(version) = self.state {
            self.forget_received(packet_id, version, out);
        }
    }

    fn forget_received(&mut self, packet_id: NonZeroU16, version: Version, out: &mut BytesMut) {
        let receiving = self.busy.as_mut().map(|busy| &mut busy.receiving);
        if receiving.is_some_and(|receiving| receiving.remove(packet_id)) {
            self.write_complete(packet_id, version, PublishAck2Reason::Success, out);
            self.rest();
        }
    }

    fn write_complete(
        &self,
        packet_id: NonZeroU16,
        version: Version,
        reason_code: PublishAck2Reason,
        out: &mut BytesMut,
    ) {
        if version != Version::V5 {
            Self::reply_v3(v3::Packet::PublishComplete { packet_id }, out);
            return;
        }
        let is_unknown = reason_code == PublishAck2Reason::PacketIdNotFound;
        let text = is_unknown.then_some("no message with this packet identifier");
        self.reply_v5(text, out, |reason_string| {
            v5::Packet::PublishComplete(v5::PublishAck2 {
                packet_id,
                reason_code,
                properties: Vec::new(),
                reason_string,
            })
        });
    }
}

fn ack_text(code: PublishAckReason) -> Option<&'static str> {
    match code {
        PublishAckReason::NotAuthorized => Some("not authorized to publish to this topic"),
        PublishAckReason::QuotaExceeded => Some("too many messages"),
        PublishAckReason::PayloadFormatInvalid => Some("payload is not UTF-8"),
        PublishAckReason::ImplementationSpecificError => Some("message could not be stored"),
        _ => None,
    }
}
