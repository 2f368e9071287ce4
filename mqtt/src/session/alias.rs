//! Topic aliases, both ways (§3.3.2.3.4). They last as long as the connection.

use std::collections::HashMap;
use std::num::NonZeroU16;

use bytes::Bytes;
use bytestring::ByteString;
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::DisconnectReasonCode;
use topics::TopicName;

use crate::limits::Limits;
use crate::message::Alias;
use crate::reason::Violation;

/// Bytes of topic names that are worth an alias of ours: one costs three bytes each
/// time, and its name is kept for as long as the connection lasts.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 4..=1024;

/// What aliases stand for on one connection.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// The client's, by number.
    received: HashMap<NonZeroU16, ByteString>,
    /// Ours, by name.
    sent: HashMap<Box<str>, NonZeroU16>,
    /// How many of ours the client takes (its Topic Alias Maximum, §3.1.2.11.5).
    sent_max: u16,
}

impl Aliases {
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_empty() && self.sent_max == 0
    }

    /// Whether the client takes any of ours.
    pub(super) fn are_sent(&self) -> bool {
        self.sent_max > 0
    }

    /// Takes in how many of ours the client takes.
    pub(super) fn allow(&mut self, sent_max: u16) {
        self.sent_max = sent_max;
    }

    /// Puts the name in the place of its alias, or notes what the alias stands for
    /// from now on (MQTT-3.3.2-12).
    pub(super) fn resolve(
        &mut self,
        publish: &mut Publish,
        alias: NonZeroU16,
        limits: &Limits,
    ) -> Result<(), Violation> {
        if alias.get() > limits.topic_alias_max {
            let code = DisconnectReasonCode::TopicAliasInvalid;
            return Err(Violation::new(code, "topic alias is over the maximum"));
        }
        if publish.topic.is_empty() {
            let name = self.received.get(&alias);
            let name = name.ok_or(Violation::protocol("topic alias stands for nothing"))?;
            publish.topic = name.clone();
        } else if TopicName::parse(&publish.topic).is_ok() {
            // A copy, so that the packet is not kept alive for its name.
            let name = Bytes::copy_from_slice(publish.topic.as_bytes());
            let name = ByteString::try_from(name).unwrap_or_default();
            self.received.insert(alias, name);
        }
        Ok(())
    }

    /// The alias for a name to be sent: its own, or a new one while there are some.
    /// `has_room` says whether the packet may grow by the three bytes of a new one.
    pub(super) fn of(&mut self, name: &str, has_room: bool, limits: &Limits) -> Option<Alias> {
        if let Some(number) = self.sent.get(name) {
            let number = *number;
            return Some(Alias {
                number,
                is_known: true,
            });
        }
        let max = self.sent_max.min(limits.topic_alias_sent_max);
        let count = u16::try_from(self.sent.len()).unwrap_or(u16::MAX);
        if count >= max || !has_room || !NAME_BYTES.contains(&name.len()) {
            return None;
        }
        let number = NonZeroU16::new(count + 1)?;
        self.sent.insert(name.into(), number);
        Some(Alias {
            number,
            is_known: false,
        })
    }
}
