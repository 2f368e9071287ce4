//! One message for one client, to be written now or kept until there is a place.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::BytesMut;
use rmqtt_codec::types::QoS;

use super::super::Version;
use super::super::alias::Aliases;
use crate::limits::Limits;
use crate::message::{Envelope, Message};
use crate::reason::DropReason;

/// Bytes that a new topic alias adds to a packet.
const ALIAS_BYTES: u32 = 3;

#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) message: &'a Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) dup: bool,
    /// Given by the caller for a stored session, else to be chosen.
    pub(super) packet_id: Option<NonZeroU16>,
    pub(super) subscription_ids: &'a [NonZeroU32],
}

/// What waits in a session's queue.
#[derive(Debug)]
pub(super) enum Waiting {
    Message(Kept),
    Release(NonZeroU16),
}

/// An [`Item`] that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    message: Arc<Message>,
    subscription_ids: Box<[NonZeroU32]>,
    packet_id: Option<NonZeroU16>,
    qos: QoS,
    retain: bool,
    dup: bool,
}

impl From<&Item<'_>> for Waiting {
    fn from(item: &Item<'_>) -> Self {
        Self::Message(Kept {
            message: Arc::clone(item.message),
            subscription_ids: item.subscription_ids.into(),
            packet_id: item.packet_id,
            qos: item.qos,
            retain: item.retain,
            dup: item.dup,
        })
    }
}

impl Waiting {
    /// As it counts against the limits of a queue.
    pub(super) fn bytes(&self, version: Version) -> usize {
        match self {
            Self::Message(kept) => kept.item().bytes(version),
            Self::Release(_) => 0,
        }
    }
}

impl Kept {
    pub(super) fn item(&self) -> Item<'_> {
        Item {
            message: &self.message,
            qos: self.qos,
            retain: self.retain,
            dup: self.dup,
            packet_id: self.packet_id,
            subscription_ids: &self.subscription_ids,
        }
    }

    pub(super) fn packet_id(&self) -> Option<NonZeroU16> {
        self.packet_id
    }
}

impl<'a> Item<'a> {
    pub(super) fn bytes(&self, version: Version) -> usize {
        self.message.frame(version, self.qos).len()
    }

    fn envelope(&self, version: Version, now_ms: u64) -> Envelope<'a> {
        let is_v5 = version == Version::V5;
        Envelope {
            version,
            qos: self.qos,
            dup: self.dup,
            retain: self.retain,
            packet_id: self.packet_id,
            subscription_ids: if is_v5 { self.subscription_ids } else { &[] },
            alias: None,
            remaining_secs: if is_v5 {
                self.message.remaining_secs(now_ms)
            } else {
                None
            },
        }
    }
}

/// Who a message is written for.
#[derive(Clone, Copy)]
pub(super) struct Receiver {
    pub(super) version: Version,
    /// The client's Maximum Packet Size.
    pub(super) packet_bytes_max: u32,
}

impl Receiver {
    /// Whether the message may be sent, and can be.
    pub(super) fn judge(self, item: &Item<'_>, now_ms: u64) -> Result<(), DropReason> {
        if !item.dup && item.message.is_expired(now_ms) {
            return Err(DropReason::Expired);
        }
        let envelope = item.envelope(self.version, now_ms);
        match item.message.packet_bytes(&envelope) {
            Some(bytes) if bytes <= self.packet_bytes_max => Ok(()),
            _ => Err(DropReason::PacketTooLarge),
        }
    }

    /// Writes a message that has been judged.
    pub(super) fn write(
        self,
        item: &Item<'_>,
        packet_id: Option<NonZeroU16>,
        aliases: Option<&mut Aliases>,
        now_ms: u64,
        limits: &Limits,
        out: &mut BytesMut,
    ) {
        let mut envelope = Envelope {
            packet_id,
            ..item.envelope(self.version, now_ms)
        };
        if let Some(aliases) = aliases.filter(|aliases| aliases.are_sent()) {
            let bytes = item.message.packet_bytes(&envelope).unwrap_or(u32::MAX);
            let has_room = bytes.saturating_add(ALIAS_BYTES + 1) < self.packet_bytes_max;
            envelope.alias = aliases.of(item.message.topic(), has_room, limits);
        }
        item.message.write(&envelope, out);
    }
}
