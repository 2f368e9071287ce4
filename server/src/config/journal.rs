//! The journal: its limits and how long it is kept. `whosthere.default.toml` says why each default
//! is what it is.

use serde::Deserialize;

/// The `[journal]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// Writes nothing down. For measuring what the journal costs, and for nothing else.
    pub dangerous_off: bool,
    /// Sessions waiting to be opened.
    pub opens_waiting_max: usize,
    /// How long a commit waits for more in a rush, microseconds; 0 for never.
    pub rush_wait_micros: u64,
    /// A segment of this size is closed and a new one begun, bytes.
    pub segment_bytes: u64,
    /// Age at which events may be forgotten, days; 0 keeps them for ever.
    pub retention_days: u64,
    /// Size of the journal at which the oldest events are forgotten, bytes; 0 for no limit.
    pub retention_bytes: u64,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            dangerous_off: false,
            opens_waiting_max: 16_384,
            rush_wait_micros: 500,
            segment_bytes: 67_108_864,
            retention_days: 30,
            retention_bytes: 10_737_418_240,
        }
    }
}
