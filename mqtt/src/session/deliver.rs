//! Messages to the client, and the PUBACKs it answers with (§4.3, §4.4, §4.9).
//!
//! QoS 0 is written at once. QoS 1 is written while fewer messages are
//! unacknowledged than the client's Receive Maximum and our own cap allow, else
//! it waits in order; it also waits while the caller has no room for it, since a
//! socket that takes nothing must not fill memory. A QoS 0 message may thus overtake a waiting one of QoS 1:
//! order is promised per topic and QoS (MQTT-4.6.0-6). Nothing is sent twice:
//! sessions end with their connection so far, so an unacknowledged message is
//! only a packet identifier here.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::BytesMut;
use rmqtt_codec::types::QoS;

use super::{Action, Session, State, Version};
use crate::limits::Limits;
use crate::message::Message;
use crate::reason::DropReason;

/// What became of a message for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// Written to `out`.
    Sent,
    /// QoS 1: to be written when the client has acknowledged earlier ones, or when
    /// the caller has room again.
    Queued,
    /// Not sent, and never will be.
    Dropped(DropReason),
    /// QoS 1 and the queue is full: not sent. The caller decides whether the
    /// client loses the message or its connection.
    QueueFull,
}

/// What a QoS 1 receiver has outstanding. Exists only while there is something.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// Sent and not acknowledged; clients mostly answer in order, so the one
    /// looked for is near the front.
    inflight: VecDeque<NonZeroU16>,
    queue: VecDeque<Arc<Message>>,
    queue_bytes: usize,
}

impl Session {
    /// Sends a message to the client at the lower of its own QoS and `qos`, the
    /// one granted to the subscription (§3.8.4). A QoS 1 message is not written but
    /// queued if the caller has no room for it; [`Session::resume`] says when it has.
    pub fn deliver(
        &mut self,
        message: &Arc<Message>,
        qos: QoS,
        has_room: bool,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Delivery {
        let State::Connected(version) = self.state else {
            return Delivery::Dropped(DropReason::NotConnected);
        };
        let qos = message.qos().less_value(qos);
        let frame = message.frame(version, qos);
        let fits = u32::try_from(frame.len()).is_ok_and(|bytes| bytes <= self.packet_bytes_max);
        if frame.is_empty() || !fits {
            return Delivery::Dropped(DropReason::PacketTooLarge);
        }
        if qos == QoS::AtMostOnce {
            out.extend_from_slice(frame);
            return Delivery::Sent;
        }
        self.deliver_at_least_once(message, version, has_room, limits, out)
    }

    /// Writes queued messages, as many as may be in flight and until `out` holds at
    /// least `room` bytes. To be called when earlier output has been sent.
    pub fn resume(&mut self, room: usize, limits: &Limits, out: &mut BytesMut) {
        if let State::Connected(version) = self.state {
            self.send_queued(version, room, limits, out);
        }
    }

    /// Bytes (of encoded packets) waiting for the client's acknowledgements.
    pub fn outbound_bytes(&self) -> usize {
        self.outbound
            .as_ref()
            .map_or(0, |outbound| outbound.queue_bytes)
    }

    /// Any reason code frees the place (§4.9). An identifier that is not in
    /// flight is let pass: the standard names no penalty for it.
    pub(super) fn handle_publish_ack(
        &mut self,
        packet_id: NonZeroU16,
        version: Version,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Action {
        if let Some(outbound) = &mut self.outbound {
            outbound.inflight_remove(packet_id);
            self.send_queued(version, usize::MAX, limits, out);
        }
        Action::Continue
    }

    fn deliver_at_least_once(
        &mut self,
        message: &Arc<Message>,
        version: Version,
        has_room: bool,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Delivery {
        let window = self.window(limits);
        let outbound = self.outbound.get_or_insert_default();
        if has_room && outbound.queue.is_empty() && outbound.inflight.len() < window {
            self.last_packet_id = outbound.write(message, version, self.last_packet_id, out);
            return Delivery::Sent;
        }
        outbound.enqueue(message, version, limits)
    }

    fn send_queued(&mut self, version: Version, room: usize, limits: &Limits, out: &mut BytesMut) {
        let window = self.window(limits);
        let Some(outbound) = &mut self.outbound else {
            return;
        };
        while outbound.inflight.len() < window && out.len() < room {
            let Some(message) = outbound.dequeue(version) else {
                break;
            };
            self.last_packet_id = outbound.write(&message, version, self.last_packet_id, out);
        }
        if outbound.inflight.is_empty() && outbound.queue.is_empty() {
            self.outbound = None;
        }
    }

    fn window(&self, limits: &Limits) -> usize {
        usize::from(self.receive_max.min(limits.inflight_max).max(1))
    }
}

impl Outbound {
    /// Writes the message with a free identifier and returns that.
    fn write(
        &mut self,
        message: &Message,
        version: Version,
        last_packet_id: u16,
        out: &mut BytesMut,
    ) -> u16 {
        let packet_id = self.free_packet_id(last_packet_id);
        self.inflight.push_back(packet_id);
        let frame = message.frame(version, QoS::AtLeastOnce);
        let at = out.len() + message.packet_id_offset(frame);
        out.extend_from_slice(frame);
        out[at..at + 2].copy_from_slice(&packet_id.get().to_be_bytes());
        packet_id.get()
    }

    /// The next identifier that is not in flight (MQTT-2.2.1-3). There is one:
    /// the window is at most 65,535 and not full when a message is written.
    fn free_packet_id(&self, last: u16) -> NonZeroU16 {
        let mut id = last;
        loop {
            id = id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(id).filter(|id| !self.inflight.contains(id)) {
                return id;
            }
        }
    }

    fn inflight_remove(&mut self, packet_id: NonZeroU16) {
        if let Some(index) = self.inflight.iter().position(|id| *id == packet_id) {
            self.inflight.remove(index);
        }
    }

    fn enqueue(&mut self, message: &Arc<Message>, version: Version, limits: &Limits) -> Delivery {
        let bytes = self.queue_bytes + message.frame(version, QoS::AtLeastOnce).len();
        if exceeds(self.queue.len() + 1, limits.queue_messages_max)
            || exceeds(bytes, limits.queue_bytes_max)
        {
            return Delivery::QueueFull;
        }
        self.queue.push_back(Arc::clone(message));
        self.queue_bytes = bytes;
        Delivery::Queued
    }

    fn dequeue(&mut self, version: Version) -> Option<Arc<Message>> {
        let message = self.queue.pop_front()?;
        self.queue_bytes -= message.frame(version, QoS::AtLeastOnce).len();
        Some(message)
    }
}

fn exceeds(count: usize, max: u32) -> bool {
    u32::try_from(count).map_or(true, |count| count > max)
}
