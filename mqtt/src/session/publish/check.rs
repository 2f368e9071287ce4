//! The rules of PUBLISH that the codec leaves out (§3.3.1, §3.3.2).

use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{DisconnectReasonCode, PublishProperties};
use topics::TopicName;

use crate::limits::Limits;
use crate::packet::{check_text, check_user_properties};
use crate::reason::Violation;

/// Every rule but [`check_payload`]'s. An alias is resolved already.
pub(super) fn check_publish(publish: &Publish, limits: &Limits) -> Result<(), Violation> {
    if publish.dup && publish.qos == QoS::AtMostOnce {
        return Err(Violation::malformed("DUP at QoS 0")); // MQTT-3.3.1-2
    }
    if publish.retain && !limits.retain_available {
        let code = DisconnectReasonCode::RetainNotSupported;
        return Err(Violation::new(code, "retained messages"));
    }
    if let Some(properties) = &publish.properties {
        if publish.topic.is_empty() {
            return Err(Violation::protocol("no topic name and no alias")); // §3.3.2.1
        }
        check_properties(properties)?;
    }
    if TopicName::parse(&publish.topic).is_err() {
        let code = DisconnectReasonCode::TopicNameInvalid; // MQTT-3.3.2-2
        return Err(Violation::new(code, "topic name is not valid"));
    }
    Ok(())
}

fn check_properties(properties: &PublishProperties) -> Result<(), Violation> {
    if !properties.subscription_ids.is_empty() {
        return Err(Violation::protocol("subscription identifier from a client")); // MQTT-3.3.4-6
    }
    if properties
        .response_topic
        .as_ref()
        .is_some_and(|topic| TopicName::parse(topic).is_err())
    {
        return Err(Violation::protocol("response topic is not valid")); // MQTT-3.3.2-14
    }
    properties
        .content_type
        .as_ref()
        .map_or(Ok(()), |text| check_text(text))?;
    check_user_properties(&properties.user_properties)
}

/// §3.3.2.3.2: a payload said to be text must be UTF-8.
pub(super) fn check_payload(publish: &Publish) -> Result<(), Violation> {
    let properties = publish.properties.as_ref();
    let is_text = properties.is_some_and(|properties| properties.is_utf8_payload);
    if is_text && std::str::from_utf8(&publish.payload).is_err() {
        let code = DisconnectReasonCode::PayloadFormatInvalid;
        return Err(Violation::new(code, "payload is not UTF-8"));
    }
    Ok(())
}
