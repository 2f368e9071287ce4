//! What a receiver of QoS 1 and 2 has outstanding.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;

use bytes::BytesMut;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, PublishAck2Reason};

use super::super::{Session, Version};
use super::Discarded;
use super::item::{Item, Waiting};
use crate::limits::Limits;
use crate::reason::DropReason;

#[derive(Debug, Default)]
pub(in crate::session) struct Outbound {
    /// Sent and not acknowledged. There may be thousands: each message looks for a free
    /// identifier, and a client may acknowledge in any order.
    inflight: BTreeMap<NonZeroU16, Stage>,
    queue: VecDeque<Waiting>,
    queue_bytes: usize,
    discarded: Vec<Discarded>,
}

/// How far an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// QoS 1: awaits PUBACK.
    Published,
    /// QoS 2: awaits PUBREC.
    PublishedOnce,
    /// QoS 2: awaits the caller, who makes PUBREC durable.
    Received,
    /// QoS 2: awaits PUBCOMP.
    Released,
}

impl Stage {
    pub(super) fn after_publish(qos: QoS) -> Self {
        match qos {
            QoS::ExactlyOnce => Self::PublishedOnce,
            QoS::AtMostOnce | QoS::AtLeastOnce => Self::Published,
        }
    }
}

/// What follows from a PUBREC.
pub(super) enum Step {
    /// PUBREL.
    Release,
    /// The caller makes it durable first.
    MakeDurable,
    /// Nothing: the caller is at it.
    Wait,
    /// There is no such exchange.
    Unknown,
}

impl Outbound {
    pub(in crate::session) fn is_empty(&self) -> bool {
        self.inflight.is_empty() && self.queue.is_empty() && self.discarded.is_empty()
    }

    pub(super) fn queue_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// Whether a message may be written ahead of nobody.
    pub(super) fn has_place(&self, window: usize) -> bool {
        self.queue.is_empty() && self.inflight.len() < window
    }

    pub(super) fn queue_is_full_for(
        &self,
        item: &Item<'_>,
        version: Version,
        limits: &Limits,
    ) -> bool {
        exceeds(self.queue.len() + 1, limits.queue_messages_max)
            || exceeds(
                self.queue_bytes + item.bytes(version),
                limits.queue_bytes_max,
            )
    }

    pub(super) fn enqueue(&mut self, waiting: Waiting, version: Version) {
        self.queue_bytes += waiting.bytes(version);
        self.queue.push_back(waiting);
    }

    /// The first in the queue, if it has a place in flight.
    pub(super) fn dequeue(&mut self, window: usize, version: Version) -> Option<Waiting> {
        if self.inflight.len() >= window {
            return None;
        }
        let waiting = self.queue.pop_front()?;
        self.queue_bytes -= waiting.bytes(version);
        Some(waiting)
    }

    pub(super) fn push(&mut self, packet_id: NonZeroU16, stage: Stage) {
        self.inflight.insert(packet_id, stage);
    }

    /// The next identifier that is not in flight (MQTT-2.2.1-4). There is one:
    /// the window is at most 65,535 and not full when a message is written.
    pub(super) fn free_packet_id(&self, last: u16) -> NonZeroU16 {
        let mut id = last;
        loop {
            id = id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(id).filter(|id| !self.inflight.contains_key(id)) {
                return id;
            }
        }
    }

    /// Whether the exchange was at `stage`, and so is over.
    pub(super) fn remove(&mut self, packet_id: NonZeroU16, stage: Stage) -> bool {
        let is_it = self.inflight.get(&packet_id) == Some(&stage);
        if is_it {
            self.inflight.remove(&packet_id);
        }
        is_it
    }

    /// Takes in a PUBREC.
    pub(super) fn receive(&mut self, packet_id: NonZeroU16, is_stored: bool) -> Step {
        match self.inflight.get_mut(&packet_id) {
            Some(stage @ Stage::PublishedOnce) if is_stored => {
                *stage = Stage::Received;
                Step::MakeDurable
            }
            Some(stage @ Stage::PublishedOnce) => {
                *stage = Stage::Released;
                Step::Release
            }
            Some(Stage::Received) => Step::Wait,
            Some(Stage::Released) => Step::Release,
            Some(Stage::Published) | None => Step::Unknown,
        }
    }

    /// Whether PUBREL may go out now.
    pub(super) fn release(&mut self, packet_id: NonZeroU16) -> bool {
        match self.inflight.get_mut(&packet_id) {
            Some(stage @ Stage::Received) => {
                *stage = Stage::Released;
                true
            }
            _ => false,
        }
    }

    pub(super) fn discard(&mut self, packet_id: Option<NonZeroU16>, reason: DropReason) {
        self.discarded.push(Discarded { packet_id, reason });
    }

    pub(super) fn take_discarded(&mut self) -> Vec<Discarded> {
        std::mem::take(&mut self.discarded)
    }
}

impl Session {
    /// PUBREL; MQTT 5 is told if there is no such exchange (0x92).
    pub(super) fn write_release(
        &self,
        packet_id: NonZeroU16,
        version: Version,
        is_known: bool,
        out: &mut BytesMut,
    ) {
        if version != Version::V5 {
            Self::reply_v3(v3::Packet::PublishRelease { packet_id }, out);
            return;
        }
        let (reason_code, text) = if is_known {
            (PublishAck2Reason::Success, None)
        } else {
            let text = "no message with this packet identifier";
            (PublishAck2Reason::PacketIdNotFound, Some(text))
        };
        self.reply_v5(text, out, |reason_string| {
            v5::Packet::PublishRelease(v5::PublishAck2 {
                packet_id,
                reason_code,
                properties: Vec::new(),
                reason_string,
            })
        });
    }
}

fn exceeds(count: usize, max: u32) -> bool {
    u32::try_from(count).map_or(true, |count| count > max)
}
