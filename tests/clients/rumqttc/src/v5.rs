//! rumqttc's client of MQTT 5.

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{
    Filter, LastWill, Packet, PubAckReason, PubRecReason, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{QoS, qos as parse_qos};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use serde_json::{Value, json};

use crate::{Events, Heard, Message, Options, PACKET_BYTES_MAX, REQUESTS_MAX, Requests};

pub(crate) fn open(options: &Options) -> (AsyncClient, EventLoop) {
    let mut ours = MqttOptions::new(options.text("clientId"), options.address(), options.port());
    ours.set_transport(options.transport());
    ours.set_clean_start(options.session_expiry_secs().is_none());
    ours.set_session_expiry_interval(options.session_expiry_secs());
    ours.set_max_packet_size(Some(PACKET_BYTES_MAX));
    if let Some((user, password)) = options.login() {
        ours.set_credentials(user, password);
    }
    if let Some(will) = options.will() {
        let (qos, retain) = (qos(will.qos), will.retain);
        ours.set_last_will(LastWill::new(will.topic, will.payload, qos, retain, None));
    }
    AsyncClient::new(ours, REQUESTS_MAX)
}

impl Requests for AsyncClient {
    async fn subscribe(&self, filters: Vec<String>, level: u8) -> Result<(), String> {
        let filters = filters.into_iter();
        let filters = filters.map(|filter| Filter::new(filter, qos(level)));
        let asked = self.subscribe_many(filters).await;
        asked.map_err(|e| e.to_string())
    }

    async fn unsubscribe(&self, filter: String) -> Result<(), String> {
        let asked = self.unsubscribe(filter).await;
        asked.map_err(|e| e.to_string())
    }

    async fn publish(&self, it: Message) -> Result<(), String> {
        let asked = self.publish(it.topic, qos(it.qos), it.retain, it.payload);
        asked.await.map_err(|e| e.to_string())
    }

    async fn disconnect(&self) -> Result<(), String> {
        self.disconnect().await.map_err(|e| e.to_string())
    }
}

impl Events for EventLoop {
    async fn next(&mut self) -> Result<Heard, String> {
        Ok(match self.poll().await.map_err(|e| e.to_string())? {
            Event::Incoming(packet) => heard(packet),
            Event::Outgoing(Outgoing::Publish(0) | Outgoing::Disconnect) => {
                Heard::Answer(Ok(Value::Null))
            }
            Event::Outgoing(_) => Heard::Nothing,
        })
    }
}

fn heard(packet: Packet) -> Heard {
    let answer = match packet {
        Packet::ConnAck(it) => Ok(json!({"sessionPresent": it.session_present})),
        Packet::SubAck(it) => {
            let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
            all_well(it.return_codes.iter().all(granted), it.return_codes)
        }
        Packet::PubAck(it) => {
            use PubAckReason::{NoMatchingSubscribers, Success};
            all_well(
                matches!(it.reason, Success | NoMatchingSubscribers),
                it.reason,
            )
        }
        Packet::PubRec(it) => {
            use PubRecReason::{NoMatchingSubscribers, Success};
            if matches!(it.reason, Success | NoMatchingSubscribers) {
                // PUBCOMP is the answer.
                return Heard::Nothing;
            }
            all_well(false, it.reason)
        }
        Packet::UnsubAck(_) | Packet::PubComp(_) => Ok(Value::Null),
        Packet::Publish(it) => {
            let message = Message {
                topic: String::from_utf8_lossy(&it.topic).into_owned(),
                payload: String::from_utf8_lossy(&it.payload).into_owned(),
                qos: it.qos as u8,
                retain: it.retain,
            };
            return message.told();
        }
        _ => return Heard::Nothing,
    };
    Heard::Answer(answer)
}

fn all_well(is_well: bool, reason: impl std::fmt::Debug) -> Result<Value, String> {
    if is_well {
        Ok(Value::Null)
    } else {
        Err(format!("refused: {reason:?}"))
    }
}

fn qos(level: u8) -> QoS {
    parse_qos(level).expect("0, 1 or 2")
}
