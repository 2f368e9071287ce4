//! Stored sessions and retained messages: their limits. `whosthere.default.toml` says why each
//! default is what it is.

use serde::Deserialize;

/// The `[sessions]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionsConfig {
    /// Longest Session Expiry Interval, seconds; 4294967295 is for ever.
    pub expiry_secs_max: u32,
    /// Stored sessions per organisation.
    pub stored_max: usize,
    /// Messages that wait for one stored session.
    pub queue_messages_max: usize,
    /// Their bytes.
    pub queue_bytes_max: u64,
    /// Messages under way to the client of one stored session.
    pub window: usize,
    /// Requests waiting to be written down.
    pub requests_waiting_max: usize,
    /// Bytes of the messages in them.
    pub requests_bytes_max: usize,
    /// Bytes of messages in memory that are not in SQLite yet.
    pub memory_bytes_max: usize,
    /// A segment of the log of this size is closed and a new one begun, bytes.
    pub segment_bytes: u64,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            expiry_secs_max: 604_800,
            stored_max: 1_000_000,
            queue_messages_max: 1_000,
            queue_bytes_max: 8_388_608,
            window: 64,
            requests_waiting_max: 65_536,
            requests_bytes_max: 67_108_864,
            memory_bytes_max: 268_435_456,
            segment_bytes: 16_777_216,
        }
    }
}

/// The `[retained]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetainedConfig {
    /// Retained messages per organisation.
    pub messages_max: usize,
    /// Bytes of their topics and messages.
    pub bytes_max: usize,
    /// New subscriptions of a session that wait for theirs.
    pub subscriptions_waiting_max: usize,
}

impl Default for RetainedConfig {
    fn default() -> Self {
        Self {
            messages_max: 100_000,
            bytes_max: 67_108_864,
            subscriptions_waiting_max: 1024,
        }
    }
}
