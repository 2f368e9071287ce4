//! rumqttc's client of MQTT 3.1.1.

use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS, SubscribeFilter,
    SubscribeReasonCode,
};
use serde_json::{Value, json};

use crate::{Events, Heard, Message, Options, PACKET_BYTES_MAX, REQUESTS_MAX, Requests};

pub(crate) fn open(options: &Options) -> (AsyncClient, EventLoop) {
    let mut ours = MqttOptions::new(options.text("clientId"), options.address(), options.port());
    ours.set_transport(options.transport());
    ours.set_clean_session(options.session_expiry_secs().is_none());
    ours.set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
    if let Some((user, password)) = options.login() {
        ours.set_credentials(user, password);
    }
    if let Some(will) = options.will() {
        let qos = qos(will.qos);
        ours.set_last_will(LastWill::new(will.topic, will.payload, qos, will.retain));
    }
    AsyncClient::new(ours, REQUESTS_MAX)
}

impl Requests for AsyncClient {
    async fn subscribe(&self, filters: Vec<String>, level: u8) -> Result<(), String> {
        let filters = filters.into_iter();
        let filters = filters.map(|filter| SubscribeFilter::new(filter, qos(level)));
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
        let done = || Heard::Answer(Ok(Value::Null));
        Ok(match self.poll().await.map_err(|e| e.to_string())? {
            Event::Incoming(Packet::ConnAck(it)) => {
                Heard::Answer(Ok(json!({"sessionPresent": it.session_present})))
            }
            Event::Incoming(Packet::SubAck(it)) => {
                Heard::Answer(if it.return_codes.contains(&SubscribeReasonCode::Failure) {
                    Err(format!("refused: {:?}", it.return_codes))
                } else {
                    Ok(Value::Null)
                })
            }
            Event::Incoming(Packet::Publish(it)) => Message {
                topic: it.topic,
                payload: String::from_utf8_lossy(&it.payload).into_owned(),
                qos: it.qos as u8,
                retain: it.retain,
            }
            .told(),
            Event::Incoming(Packet::UnsubAck(_) | Packet::PubAck(_) | Packet::PubComp(_))
            | Event::Outgoing(Outgoing::Publish(0) | Outgoing::Disconnect) => done(),
            _ => Heard::Nothing,
        })
    }
}

fn qos(level: u8) -> QoS {
    rumqttc::qos(level).expect("0, 1 or 2")
}
