//! What is kept of a message: its topic, its bytes, and until when it is good.
//!
//! The bytes are whatever form the caller stores messages in (`mqtt` has a versioned one); nothing
//! here looks into them.

use bytes::Bytes;
use compact_str::CompactString;

/// A message on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its topic name.
    pub topic: CompactString,
    /// The message in the caller's stored form; empty where only the topic counts.
    pub body: Bytes,
    /// The QoS it was published with: 0, 1 or 2.
    pub qos: u8,
    /// When the server received it, Unix milliseconds: what its Message Expiry Interval counts from.
    pub at_ms: u64,
    /// When its Message Expiry Interval is over, Unix milliseconds (§3.3.2.3.3).
    pub expires_at_ms: Option<u64>,
}

impl Message {
    /// Whether it is no longer to be sent (MQTT-3.3.2-5).
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        is_expired(self.expires_at_ms, now_ms)
    }
}

/// Whether what is good until then is no longer.
pub(crate) fn is_expired(expires_at_ms: Option<u64>, now_ms: u64) -> bool {
    expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
}

/// A Will Message that waits for its moment (§3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Seconds from the end of the connection until it is sent (§3.1.3.2.2).
    pub delay_secs: u32,
    /// Whether it is to be retained.
    pub retain: bool,
    /// The message. Its `expires_at_ms` is `None`: its interval begins when it is published, which
    /// is the caller's business.
    pub message: Message,
}
