//! Limits of the HTTP API. `whosthere.default.toml` says why each default is what it is and what
//! happens at the limit.

use serde::Deserialize;

/// The `[http]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Connections at the same time.
    pub connections_max: usize,
    /// Largest request head, bytes.
    pub header_bytes_max: usize,
    /// Time for a request head, and between requests, seconds.
    pub header_timeout_secs: u64,
    /// How long a question about events waits until the latest are known, seconds.
    pub events_wait_secs: u64,
    /// Largest request body, bytes.
    pub body_bytes_max: u64,
    /// Time without progress in a body or an answer, seconds.
    pub stall_timeout_secs: u64,
    /// Time for running requests once the server stops, seconds.
    pub drain_timeout_secs: u64,
    /// Long listings at the same time.
    pub listings_max: usize,
    /// Largest `limit=`, rows.
    pub page_rows_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            header_bytes_max: 65_536,
            header_timeout_secs: 10,
            events_wait_secs: 10,
            body_bytes_max: 65_536,
            stall_timeout_secs: 30,
            drain_timeout_secs: 10,
            listings_max: 16,
            page_rows_max: 10_000,
        }
    }
}
