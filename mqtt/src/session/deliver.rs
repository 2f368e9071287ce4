//! Messages to the client, and what it answers (§3.3 to §3.7, §4.3, §4.4, §4.9).
//!
//! ```text
//! QoS 1  (waiting) --PUBLISH--> published --PUBACK-->
//! QoS 2  (waiting) --PUBLISH--> published --PUBREC--> (received) --PUBREL--> released --PUBCOMP-->
//! ```
//!
//! QoS 0 is written at once. The others are written while fewer are in flight than
//! the client's Receive Maximum and our own cap allow, else they wait in order; they
//! also wait while the caller has no room, since a socket that takes nothing must not
//! fill memory. A QoS 0 message may thus overtake a waiting one: order is promised per
//! topic and QoS (MQTT-4.6.0-6).
//!
//! Nothing is sent twice on a connection (MQTT-4.4.0-1), so a message in flight is only
//! a packet identifier here. A stored session's messages belong to the caller, who
//! gives them their identifiers, hands them over a window at a time and hears what
//! became of them; `received` is where it makes PUBREC durable before PUBREL.

mod inflight;
mod item;

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::BytesMut;
use rmqtt_codec::types::QoS;

use super::{Action, Session, State, Turn, Version};
use crate::limits::Limits;
use crate::message::Message;
use crate::reason::DropReason;
pub(super) use inflight::Outbound;
use inflight::{Stage, Step};
use item::{Item, Receiver, Waiting};

/// What became of a message for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// Written to `out`.
    Sent,
    /// Over QoS 0: to be written when the client has acknowledged earlier ones, or when
    /// the caller has room again.
    Queued,
    /// Not sent, and never will be. A stored session's message counts as acknowledged
    /// (MQTT-3.1.2-25).
    Dropped(DropReason),
    /// Over QoS 0 and the queue is full: not sent. The caller decides whether the
    /// client loses the message or its connection.
    QueueFull,
}

/// How a message goes to one client.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The QoS granted to the subscription; the message goes at the lower of this and
    /// its own (MQTT-3.8.4-8).
    pub qos: QoS,
    /// The RETAIN flag to send: set for a retained message that answers a SUBSCRIBE,
    /// and for one published so to a subscription with Retain As Published
    /// (MQTT-3.3.1-12, -13).
    pub retain: bool,
    /// Of all subscriptions that it goes out for (MQTT-3.3.4-4). MQTT 3 is not told.
    pub subscription_ids: &'a [NonZeroU32],
}

impl From<QoS> for Outgoing<'_> {
    /// Without RETAIN and subscription identifiers.
    fn from(qos: QoS) -> Self {
        Self {
            qos,
            retain: false,
            subscription_ids: &[],
        }
    }
}

/// What a stored session's client is still to be sent under one packet identifier.
#[derive(Clone, Copy, Debug)]
pub enum StoredDelivery<'a> {
    /// The message, over QoS 0.
    Publish {
        /// What to send.
        message: &'a Arc<Message>,
        /// How.
        options: Outgoing<'a>,
        /// It may have been sent before (MQTT-3.3.1-1): then it does not expire any more
        /// (MQTT-4.3.3-7).
        dup: bool,
    },
    /// PUBREL: the client has answered PUBREC on an earlier connection (MQTT-4.3.3-6).
    Release,
}

/// A message that was queued and will not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// Of a stored session's message, which counts as acknowledged.
    pub packet_id: Option<NonZeroU16>,
    /// Why.
    pub reason: DropReason,
}

impl Session {
    /// Sends a message to the client. One over QoS 0 is not written but queued if the
    /// caller has no room for it; [`Session::resume`] says when it has. To a stored
    /// session it goes at QoS 0: others come by [`Session::deliver_stored`].
    pub fn deliver(
        &mut self,
        message: &Arc<Message>,
        options: Outgoing<'_>,
        has_room: bool,
        now_ms: u64,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Delivery {
        let State::Connected(version) = self.state else {
            return Delivery::Dropped(DropReason::NotConnected);
        };
        let most = if self.is_stored() {
            QoS::AtMostOnce
        } else {
            options.qos
        };
        let qos = message.qos().less_value(most);
        let is_plain = options.subscription_ids.is_empty() && message.expires_at_ms().is_none();
        if qos == QoS::AtMostOnce && is_plain && self.busy.is_none() {
            return self.copy(message, options.retain, version, out);
        }
        let item = Item {
            message,
            qos,
            retain: options.retain,
            dup: false,
            packet_id: None,
            subscription_ids: options.subscription_ids,
        };
        let to = self.receiver(version);
        if let Err(reason) = to.judge(&item, now_ms) {
            return Delivery::Dropped(reason);
        }
        if item.qos == QoS::AtMostOnce {
            let aliases = self.busy.as_mut().map(|busy| &mut busy.aliases);
            to.write(&item, None, aliases, now_ms, limits, out);
            return Delivery::Sent;
        }
        if self.has_place(has_room, limits) {
            self.send(to, &item, now_ms, limits, out);
            return Delivery::Sent;
        }
        let outbound = &mut self.busy().outbound;
        if outbound.queue_is_full_for(&item, version, limits) {
            return Delivery::QueueFull;
        }
        outbound.enqueue(Waiting::from(&item), version);
        Delivery::Queued
    }

    /// Sends a stored session's client what is left of an exchange of the caller's, under
    /// its packet identifier, which must not be in flight. It is queued as in
    /// [`Session::deliver`], but without a limit: the caller hands over a window at a time.
    pub fn deliver_stored(
        &mut self,
        packet_id: NonZeroU16,
        delivery: StoredDelivery<'_>,
        has_room: bool,
        now_ms: u64,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Delivery {
        let State::Connected(version) = self.state else {
            return Delivery::Dropped(DropReason::NotConnected);
        };
        let waiting = match delivery {
            StoredDelivery::Release => Waiting::Release(packet_id),
            StoredDelivery::Publish {
                message,
                options,
                dup,
            } => {
                let qos = message.qos().less_value(options.qos);
                let item = Item {
                    message,
                    // The identifier was given out for an acknowledged message.
                    qos: if qos == QoS::AtMostOnce {
                        QoS::AtLeastOnce
                    } else {
                        qos
                    },
                    retain: options.retain,
                    dup,
                    packet_id: Some(packet_id),
                    subscription_ids: options.subscription_ids,
                };
                if let Err(reason) = self.receiver(version).judge(&item, now_ms) {
                    return Delivery::Dropped(reason);
                }
                Waiting::from(&item)
            }
        };
        let has_place = self.has_place(has_room, limits);
        self.busy().outbound.enqueue(waiting, version);
        if !has_place {
            return Delivery::Queued;
        }
        self.send_queued(version, usize::MAX, now_ms, limits, out);
        Delivery::Sent
    }

    /// Writes queued messages, as many as may be in flight and until `out` holds at
    /// least `room` bytes. To be called when earlier output has been sent.
    pub fn resume(&mut self, room: usize, now_ms: u64, limits: &Limits, out: &mut BytesMut) {
        if let State::Connected(version) = self.state {
            self.send_queued(version, room, now_ms, limits, out);
        }
    }

    /// Bytes (of encoded packets) waiting for the client's acknowledgements.
    pub fn outbound_bytes(&self) -> usize {
        self.busy
            .as_ref()
            .map_or(0, |busy| busy.outbound.queue_bytes())
    }

    /// Messages that had been queued and turned out not to be sent, since the last call.
    /// To be asked after [`Session::handle_frame`], [`Session::resume`] and
    /// [`Session::deliver_stored`].
    pub fn take_discarded(&mut self) -> Vec<Discarded> {
        let Some(busy) = &mut self.busy else {
            return Vec::new();
        };
        let discarded = busy.outbound.take_discarded();
        self.rest();
        discarded
    }

    /// PUBACK. Any reason code frees the place (§4.9). An identifier that is not in
    /// flight is let pass: the standard names no penalty for it.
    pub(super) fn handle_publish_ack(
        &mut self,
        packet_id: NonZeroU16,
        turn: &mut Turn<'_>,
    ) -> Action {
        self.finish_delivery(packet_id, Stage::Published, turn)
    }

    /// PUBCOMP.
    pub(super) fn handle_publish_complete(
        &mut self,
        packet_id: NonZeroU16,
        turn: &mut Turn<'_>,
    ) -> Action {
        self.finish_delivery(packet_id, Stage::Released, turn)
    }

    /// PUBREC. One with an error ends the exchange (MQTT-4.4.0-2).
    pub(super) fn handle_publish_received(
        &mut self,
        packet_id: NonZeroU16,
        is_error: bool,
        turn: &mut Turn<'_>,
    ) -> Action {
        if is_error {
            return self.finish_delivery(packet_id, Stage::PublishedOnce, turn);
        }
        let is_stored = self.is_stored();
        let outbound = self.busy.as_mut().map(|busy| &mut busy.outbound);
        match outbound.map_or(Step::Unknown, |outbound| {
            outbound.receive(packet_id, is_stored)
        }) {
            Step::Unknown => self.write_release(packet_id, turn.version, false, turn.out),
            Step::Release => self.write_release(packet_id, turn.version, true, turn.out),
            Step::MakeDurable => return Action::Received(packet_id),
            Step::Wait => {}
        }
        Action::Continue
    }

    /// Answers [`Action::Received`]: PUBREL goes out.
    pub fn release(&mut self, packet_id: NonZeroU16, out: &mut BytesMut) {
        let State::Connected(version) = self.state else {
            return;
        };
        let outbound = self.busy.as_mut().map(|busy| &mut busy.outbound);
        if outbound.is_some_and(|outbound| outbound.release(packet_id)) {
            self.write_release(packet_id, version, true, out);
        }
    }

    /// Frees the place of an exchange that is at `stage`, and sends what waits for one.
    fn finish_delivery(
        &mut self,
        packet_id: NonZeroU16,
        stage: Stage,
        turn: &mut Turn<'_>,
    ) -> Action {
        let outbound = self.busy.as_mut().map(|busy| &mut busy.outbound);
        if !outbound.is_some_and(|outbound| outbound.remove(packet_id, stage)) {
            return Action::Continue;
        }
        self.send_queued(turn.version, usize::MAX, turn.now_ms, turn.limits, turn.out);
        if self.is_stored() {
            return Action::Acknowledged(packet_id);
        }
        Action::Continue
    }

    /// The short way for what most messages are: QoS 0, and nothing is the receiver's own but
    /// the RETAIN flag.
    fn copy(
        &self,
        message: &Message,
        retain: bool,
        version: Version,
        out: &mut BytesMut,
    ) -> Delivery {
        let frame = message.frame(version, QoS::AtMostOnce);
        let fits = u32::try_from(frame.len()).is_ok_and(|bytes| bytes <= self.packet_bytes_max);
        if frame.is_empty() || !fits {
            return Delivery::Dropped(DropReason::PacketTooLarge);
        }
        let start = out.len();
        out.extend_from_slice(frame);
        out[start] |= u8::from(retain);
        Delivery::Sent
    }

    fn has_place(&self, has_room: bool, limits: &Limits) -> bool {
        has_room
            && self
                .busy
                .as_ref()
                .is_none_or(|busy| busy.outbound.has_place(self.window(limits)))
    }

    /// Writes a message that has a place in flight.
    fn send(
        &mut self,
        to: Receiver,
        item: &Item<'_>,
        now_ms: u64,
        limits: &Limits,
        out: &mut BytesMut,
    ) {
        let last = self.last_packet_id;
        let busy = self.busy();
        let packet_id = match item.packet_id {
            Some(packet_id) => packet_id,
            None => busy.outbound.free_packet_id(last),
        };
        busy.outbound
            .push(packet_id, Stage::after_publish(item.qos));
        let aliases = Some(&mut busy.aliases);
        to.write(item, Some(packet_id), aliases, now_ms, limits, out);
        self.last_packet_id = packet_id.get();
    }

    fn send_queued(
        &mut self,
        version: Version,
        room: usize,
        now_ms: u64,
        limits: &Limits,
        out: &mut BytesMut,
    ) {
        let window = self.window(limits);
        let to = self.receiver(version);
        while let Some(busy) = &mut self.busy
            && out.len() < room
            && let Some(waiting) = busy.outbound.dequeue(window, version)
        {
            match &waiting {
                Waiting::Release(packet_id) => {
                    busy.outbound.push(*packet_id, Stage::Released);
                    self.write_release(*packet_id, version, true, out);
                }
                Waiting::Message(kept) => match to.judge(&kept.item(), now_ms) {
                    Ok(()) => self.send(to, &kept.item(), now_ms, limits, out),
                    Err(reason) => busy.outbound.discard(kept.packet_id(), reason),
                },
            }
        }
        self.rest();
    }

    fn window(&self, limits: &Limits) -> usize {
        usize::from(self.receive_max.min(limits.inflight_max).max(1))
    }

    fn receiver(&self, version: Version) -> Receiver {
        Receiver {
            version,
            packet_bytes_max: self.packet_bytes_max,
        }
    }
}
