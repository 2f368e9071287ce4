//! SUBSCRIBE and UNSUBSCRIBE (§3.8 to §3.11).
//!
//! The session judges each filter by the rules of the protocol and by its
//! limits; the caller applies those that passed, may still turn one down, and
//! hands the request back for the answer. So the order of the entries, which
//! the answer must keep (MQTT-3.8.4-6), is never rebuilt.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::BytesMut;
use bytestring::ByteString;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, DisconnectReasonCode, SubscribeAckReason, UnsubscribeAckReason};
use topics::TopicFilter;

use super::{Action, Session, State, Version};
use crate::limits::Limits;
use crate::reason::{SubscribeFailure, Violation};

/// A SUBSCRIBE; answer it with [`Session::subscribed`].
#[derive(Debug)]
pub struct SubscribeRequest {
    /// The client's packet identifier.
    pub packet_id: NonZeroU16,
    /// The Subscription Identifier of all its subscriptions (§3.8.2.1.2), 1 to
    /// 268,435,455.
    pub subscription_id: Option<NonZeroU32>,
    /// The filters in the client's order; at least one.
    pub entries: Vec<SubscribeEntry>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug)]
pub struct SubscribeEntry {
    /// As the client wrote it, `$share/…` included (§4.8.2); a valid filter if the
    /// verdict is `Ok`. It is part of the packet's buffer: copy it to keep it.
    pub filter: ByteString,
    /// What is granted, or why nothing is. The caller applies the `Ok` ones and
    /// may replace one by a failure.
    pub verdict: Result<SubscriptionOptions, SubscribeFailure>,
}

/// The options of a subscription (§3.8.3.1), after granting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// Granted QoS.
    pub qos: QoS,
    /// Not to be sent the client's own messages.
    pub no_local: bool,
    /// Messages keep their RETAIN flag.
    pub retain_as_published: bool,
    /// When to send retained messages: 0, 1 or 2.
    pub retain_handling: u8,
}

impl SubscriptionOptions {
    /// One byte, laid out as in SUBSCRIBE (§3.8.3.1).
    pub fn to_bits(self) -> u8 {
        self.qos.value()
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | (self.retain_handling & 0b11) << 4
    }

    /// The inverse of [`Self::to_bits`]; a QoS of 3 counts as 2, and the upper two bits
    /// do not count.
    pub fn from_bits(bits: u8) -> Self {
        Self {
            qos: match bits & 0b11 {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            },
            no_local: bits & 1 << 2 != 0,
            retain_as_published: bits & 1 << 3 != 0,
            retain_handling: bits >> 4 & 0b11,
        }
    }
}

/// An UNSUBSCRIBE; answer it with [`Session::unsubscribed`].
#[derive(Debug)]
pub struct UnsubscribeRequest {
    /// The client's packet identifier.
    pub packet_id: NonZeroU16,
    /// The filters in the client's order, not judged; at least one.
    pub filters: Vec<ByteString>,
}

/// What became of one filter of an UNSUBSCRIBE (§3.11.3). MQTT 3 is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsubscribeResult {
    /// 0x00.
    Success,
    /// 0x11.
    NoSubscriptionExisted,
    /// 0x83: it is one too many, and nothing was done about it. For MQTT 5 only, since the other
    /// versions could not be told.
    NotAccepted,
    /// 0x8F.
    TopicFilterInvalid,
}

impl Session {
    pub(super) fn handle_subscribe(
        &mut self,
        subscribe: v5::Subscribe,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Action {
        if let Err(violation) = check_subscribe(&subscribe, limits) {
            return self.fail(violation, out);
        }
        let entries = subscribe
            .topic_filters
            .into_iter()
            .enumerate()
            .map(|(index, entry)| {
                let (filter, options) = entry;
                let in_quota = index < usize::from(limits.filters_per_packet_max);
                let verdict = match judge_filter(&filter, limits) {
                    Ok(()) if !in_quota => Err(SubscribeFailure::QuotaExceeded),
                    judged => judged.map(|()| grant(options)),
                };
                SubscribeEntry { filter, verdict }
            });
        let entries = entries.collect();
        Action::Subscribe(SubscribeRequest {
            packet_id: subscribe.packet_id,
            subscription_id: subscribe.id,
            entries,
        })
    }

    /// Answers a SUBSCRIBE with SUBACK, from the entries' verdicts.
    pub fn subscribed(&mut self, request: &SubscribeRequest, out: &mut BytesMut) {
        match self.state {
            State::Connected(Version::V5) => self.write_suback_v5(request, out),
            State::Connected(_) => write_suback_v3(request, out),
            _ => {}
        }
    }

    /// Answers an UNSUBSCRIBE with UNSUBACK; `results` in the order of its filters.
    pub fn unsubscribed(
        &mut self,
        packet_id: NonZeroU16,
        results: &[UnsubscribeResult],
        out: &mut BytesMut,
    ) {
        match self.state {
            State::Connected(Version::V5) => self.reply_v5(None, out, |reason_string| {
                let status = results
                    .iter()
                    .map(|result| unsubscribe_code(*result))
                    .collect();
                let properties = Vec::new();
                let ack = v5::UnsubscribeAck {
                    packet_id,
                    properties,
                    reason_string,
                    status,
                };
                v5::Packet::UnsubscribeAck(ack)
            }),
            State::Connected(_) => Self::reply_v3(v3::Packet::UnsubscribeAck { packet_id }, out),
            _ => {}
        }
    }

    fn write_suback_v5(&self, request: &SubscribeRequest, out: &mut BytesMut) {
        let first_failure = request.entries.iter().find_map(|entry| entry.verdict.err());
        self.reply_v5(
            first_failure.map(SubscribeFailure::text),
            out,
            |reason_string| {
                v5::Packet::SubscribeAck(v5::SubscribeAck {
                    packet_id: request.packet_id,
                    properties: Vec::new(),
                    reason_string,
                    status: request
                        .entries
                        .iter()
                        .map(|entry| subscribe_code(entry.verdict))
                        .collect(),
                })
            },
        );
    }
}

/// MQTT 3.1 knows no failure in SUBACK; like other servers we send it 0x80 too,
/// the alternative being to close the connection.
fn write_suback_v3(request: &SubscribeRequest, out: &mut BytesMut) {
    let status = request.entries.iter().map(|entry| match entry.verdict {
        Ok(options) => v3::SubscribeReturnCode::Success(options.qos),
        Err(_) => v3::SubscribeReturnCode::Failure,
    });
    let status = status.collect();
    Session::reply_v3(
        v3::Packet::SubscribeAck {
            packet_id: request.packet_id,
            status,
        },
        out,
    );
}

/// What ends the session rather than being refused filter by filter.
fn check_subscribe(subscribe: &v5::Subscribe, limits: &Limits) -> Result<(), Violation> {
    if subscribe.id.is_some() && !limits.subscription_ids_available {
        // §3.2.2.3.12: we have said that they are not available.
        let code = DisconnectReasonCode::SubscriptionIdentifiersNotSupported;
        return Err(Violation::new(code, "subscription identifiers"));
    }
    let is_shared = |filter: &str| {
        TopicFilter::parse(filter).is_ok_and(|parsed| parsed.share_group().is_some())
    };
    let mut entries = subscribe.topic_filters.iter();
    if entries.any(|(filter, options)| options.no_local && is_shared(filter)) {
        let text = "No Local on a shared subscription"; // MQTT-3.8.3-4
        return Err(Violation::protocol(text));
    }
    Ok(())
}

fn judge_filter(filter: &str, limits: &Limits) -> Result<(), SubscribeFailure> {
    let Ok(parsed) = TopicFilter::parse(filter) else {
        return Err(SubscribeFailure::TopicFilterInvalid);
    };
    if parsed.share_group().is_some() && !limits.shared_available {
        return Err(SubscribeFailure::SharedNotSupported);
    }
    if parsed.level_count() > usize::from(limits.topic_levels_max) {
        return Err(SubscribeFailure::TopicFilterInvalid);
    }
    Ok(())
}

/// Every QoS asked for is granted.
fn grant(options: v5::SubscriptionOptions) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: options.qos,
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        retain_handling: options.retain_handling.into(),
    }
}

fn subscribe_code(verdict: Result<SubscriptionOptions, SubscribeFailure>) -> SubscribeAckReason {
    match verdict.map(|options| options.qos) {
        Ok(QoS::AtMostOnce) => SubscribeAckReason::GrantedQos0,
        Ok(QoS::AtLeastOnce) => SubscribeAckReason::GrantedQos1,
        Ok(QoS::ExactlyOnce) => SubscribeAckReason::GrantedQos2,
        Err(failure) => failure.code(),
    }
}

fn unsubscribe_code(result: UnsubscribeResult) -> UnsubscribeAckReason {
    match result {
        UnsubscribeResult::Success => UnsubscribeAckReason::Success,
        UnsubscribeResult::NoSubscriptionExisted => UnsubscribeAckReason::NoSubscriptionExisted,
        UnsubscribeResult::NotAccepted => UnsubscribeAckReason::ImplementationSpecificError,
        UnsubscribeResult::TopicFilterInvalid => UnsubscribeAckReason::TopicFilterInvalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_their_byte() {
        for bits in 0..=0b10_1111_u8 {
            if bits & 0b11 != 0b11 {
                assert_eq!(SubscriptionOptions::from_bits(bits).to_bits(), bits);
            }
        }
    }
}
