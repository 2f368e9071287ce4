//! The will in CONNECT (§3.1.2.5, §3.1.3.2 to §3.1.3.4).

use std::fmt;

use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::{self, DisconnectReasonCode, PublishProperties};
use topics::TopicName;

use crate::message::Message;
use crate::packet::{check_text, check_user_properties};
use crate::reason::Violation;

/// A message to be published when the client goes without having taken it back.
pub struct Will {
    /// What to publish, RETAIN flag and QoS included. It is part of the CONNECT's buffer:
    /// keep [`Message::encode_stored`] of it.
    pub message: Message,
    /// Will Delay Interval (§3.1.3.2.2): seconds from the end of the connection, cut
    /// short by the end of the session.
    pub delay_secs: u32,
}

impl Will {
    /// The message to publish now: its Message Expiry Interval begins (§3.1.3.2.4).
    #[must_use]
    pub fn into_message(mut self, now_ms: u64) -> Message {
        self.message.restart_expiry(now_ms);
        self.message
    }

    /// Whether its topic is the server's own, where nobody else publishes (§4.7.2).
    pub(super) fn is_to_server(&self) -> bool {
        TopicName::parse(self.message.topic()).is_ok_and(|name| name.is_dollar())
    }
}

impl fmt::Debug for Will {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("message", &self.message)
            .field("delay_secs", &self.delay_secs)
            .finish()
    }
}

/// Checks a will as a PUBLISH is checked. `expires_at_once` as in
/// [`Message::from_publish`].
pub(super) fn from_connect(
    will: v5::LastWill,
    expires_at_once: bool,
    now_ms: u64,
) -> Result<Will, Violation> {
    let name = TopicName::parse(&will.topic);
    if name.is_err() {
        let code = DisconnectReasonCode::TopicNameInvalid;
        return Err(Violation::new(code, "will topic is not valid"));
    }
    let response_topic = will.response_topic.as_ref();
    if response_topic.is_some_and(|topic| TopicName::parse(topic).is_err()) {
        return Err(Violation::protocol("response topic is not valid"));
    }
    will.content_type
        .as_ref()
        .map_or(Ok(()), |text| check_text(text))?;
    check_user_properties(&will.user_properties)?;
    let is_text = will.is_utf8_payload.unwrap_or(false);
    if is_text && std::str::from_utf8(&will.message).is_err() {
        let code = DisconnectReasonCode::PayloadFormatInvalid;
        return Err(Violation::new(code, "will payload is not UTF-8"));
    }
    let properties = PublishProperties {
        correlation_data: will.correlation_data,
        message_expiry_interval: will.message_expiry_interval,
        content_type: will.content_type,
        user_properties: will.user_properties,
        is_utf8_payload: is_text,
        response_topic: will.response_topic,
        ..PublishProperties::default()
    };
    let publish = Publish {
        dup: false,
        retain: will.retain,
        qos: will.qos,
        topic: will.topic,
        packet_id: None,
        payload: will.message,
        properties: Some(properties),
    };
    Ok(Will {
        message: Message::from_publish(publish, expires_at_once, now_ms),
        delay_secs: will.will_delay_interval_sec.unwrap_or(0),
    })
}
