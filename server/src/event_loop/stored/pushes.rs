//! Messages that a stored session is sent under the keeper's identifiers, and what its client says
//! about them (§4.3, §4.4).

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;
use messages::{Push, Pushed, Request};
use mqtt::{Discarded, Message, Outgoing, QoS, StoredDelivery};
use topics::TopicFilter;

use crate::event_loop::connection::Connection;
use crate::event_loop::worker::Worker;

impl Worker {
    // === what the client acknowledges ===

    pub(in crate::event_loop) fn acknowledged(&self, key: usize, packet_id: NonZeroU16) {
        if let Some(attachment) = self.attachment(key) {
            self.tell_keeper(Request::Acknowledged(attachment, packet_id.get()));
        }
    }

    pub(in crate::event_loop) fn received(&self, key: usize, packet_id: NonZeroU16) {
        if let Some(attachment) = self.attachment(key) {
            self.tell_keeper(Request::Received(attachment, packet_id.get()));
        }
    }

    /// PUBREL. Answers whether the keeper was asked.
    pub(in crate::event_loop) fn release(&self, key: usize, packet_id: NonZeroU16) -> bool {
        let request = |attachment| Request::Release(attachment, packet_id.get());
        let attachment = self.attachment(key);
        attachment.is_some_and(|attachment| {
            let asked = self.house.shared.keeper.ask(request(attachment));
            asked.is_ok()
        })
    }

    /// Messages that were queued and will not be sent count as acknowledged.
    pub(in crate::event_loop) fn discard(&self, key: usize, discarded: Vec<Discarded>) {
        for each in discarded {
            let reason = each.reason.as_str();
            self.house.shared.metrics.drop_messages(reason, 1);
            if let Some(packet_id) = each.packet_id {
                self.acknowledged(key, packet_id);
            }
        }
    }

    // === what the keeper hands over ===

    pub(super) fn with_packet_id(
        &mut self,
        key: usize,
        packet_id: u16,
        call: impl FnOnce(&mut mqtt::Session, NonZeroU16, &mut bytes::BytesMut),
    ) {
        if let Some(packet_id) = NonZeroU16::new(packet_id) {
            self.with_output(key, |session, out| call(session, packet_id, out));
        }
    }

    /// Sends messages under the identifiers that the keeper gave them.
    pub(super) fn push(&mut self, key: usize, messages: &[Push]) {
        for push in messages {
            let Some(packet_id) = NonZeroU16::new(push.packet_id) else {
                continue;
            };
            if let Some(mqtt::Delivery::Dropped(why)) = self.push_one(key, packet_id, &push.what) {
                let metrics = &self.house.shared.metrics;
                metrics.drop_messages(why.as_str(), 1);
                self.acknowledged(key, packet_id);
            }
        }
        let discarded = self
            .connections
            .get_mut(key)
            .map(|found| found.session.take_discarded());
        self.discard(key, discarded.unwrap_or_default());
    }

    fn push_one(
        &mut self,
        key: usize,
        packet_id: NonZeroU16,
        what: &Pushed,
    ) -> Option<mqtt::Delivery> {
        let message;
        let ids;
        let delivery = match what {
            Pushed::Release => StoredDelivery::Release,
            Pushed::Publish {
                body,
                qos,
                dup,
                retain,
                subscription_ids,
            } => {
                message = self.read_stored(body)?;
                // At QoS 2 a delivery is completed once begun, or the identifier would have to stay
                // taken: the client may know it. At QoS 1 nobody but us does.
                let is_bound = *dup && *qos == 2;
                if !is_bound && !self.may_still_get(key, message.topic()) {
                    self.house.shared.metrics.drop_messages("withdrawn", 1);
                    self.acknowledged(key, packet_id);
                    return None;
                }
                ids = nonzero(subscription_ids);
                StoredDelivery::Publish {
                    message: &message,
                    options: Outgoing {
                        qos: qos_of(*qos),
                        retain: *retain,
                        subscription_ids: &ids,
                    },
                    dup: *dup,
                }
            }
        };
        let house = Arc::clone(&self.house);
        let unsent = self.connections.get(key).map_or(0, Connection::unsent);
        let has_room = unsent < house.shared.settings.outbound_bytes_max;
        let now_ms = self.now_ms;
        let outcome = self.with_output(key, |session, out| {
            let limits = &house.shared.limits;
            session.deliver_stored(packet_id, delivery, has_room, now_ms, limits, out)
        });
        if matches!(what, Pushed::Publish { dup: false, .. }) {
            self.tally.delivered += 1;
        }
        outcome
    }

    /// Whether a client may get a message on this topic. Only what was queued before this connection
    /// can be forbidden: what a subscription of now brings is allowed with it.
    fn may_still_get(&self, key: usize, topic: &str) -> bool {
        let stored = self.stored.get(&(key as u32));
        let may_have_changed = stored.is_some_and(|stored| stored.is_resumed);
        !may_have_changed
            || TopicFilter::parse(topic).is_ok_and(|topic| self.may_subscribe(key, topic))
    }

    pub(in crate::event_loop) fn read_stored(&mut self, body: &Bytes) -> Option<Arc<Message>> {
        let message = self.decoded.read(body);
        if let Err(error) = &message {
            tracing::error!(%error, "a stored message cannot be read");
        }
        message.ok()
    }
}

pub(in crate::event_loop) fn qos_of(number: u8) -> QoS {
    match number {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn nonzero(ids: &[u32]) -> Vec<NonZeroU32> {
    ids.iter().copied().filter_map(NonZeroU32::new).collect()
}
