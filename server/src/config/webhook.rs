//! Delivery to webhooks: limits that all endpoints share. `whosthere.default.toml` says why each
//! default is what it is and what happens at the limit.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use webhook::address::AddressPolicy;
use webhook::deliver::ClientSettings;
use webhook::schedule::Schedule;

use crate::small_file;

/// All public authorities together have a fifth of this.
const AUTHORITIES_BYTES_MAX: usize = 1 << 20;

/// The `[webhook]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where events may be sent besides public addresses.
    #[serde(deserialize_with = "prefixes")]
    pub allow_addresses: Vec<IpNet>,
    /// A file of further TLS authorities; empty for none.
    pub authorities_file: PathBuf,
    /// Time of one attempt, seconds.
    pub deadline_secs: u64,
    /// How much of an answer is read, bytes.
    pub answer_bytes_max: usize,
    /// Attempts under way per endpoint.
    pub concurrency: usize,
    /// Events held in memory per endpoint.
    pub waiting_max: usize,
    /// Offline events held back per endpoint.
    pub held_max: usize,
    /// Shortest pause of an endpoint that is down, seconds.
    pub pause_secs_min: u64,
    /// Longest pause of our own choice, seconds.
    pub pause_secs_max: u64,
    /// Longest pause that a receiver can ask for, seconds.
    pub retry_after_secs_max: u64,
    /// When a refused event is tried, counted from its first try, seconds.
    pub refused_secs: Vec<u64>,
    /// Age at which an event is given up, hours.
    pub expiry_hours: u64,
    /// Time for deliveries once the server stops, seconds.
    pub drain_secs: u64,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            allow_addresses: Vec::new(),
            authorities_file: PathBuf::new(),
            deadline_secs: 15,
            answer_bytes_max: 4096,
            concurrency: 16,
            waiting_max: 10_000,
            held_max: 100_000,
            pause_secs_min: 1,
            pause_secs_max: 60,
            retry_after_secs_max: 3600,
            refused_secs: vec![0, 5, 60, 300],
            expiry_hours: 75,
            drain_secs: 10,
        }
    }
}

impl WebhookConfig {
    /// When something is tried again.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        let ms = |secs: u64| secs.saturating_mul(1000);
        Schedule {
            pause_ms_min: ms(self.pause_secs_min),
            pause_ms_max: ms(self.pause_secs_max),
            retry_after_ms_max: ms(self.retry_after_secs_max),
            refused_at_ms: self.refused_secs.iter().map(|secs| ms(*secs)).collect(),
            expiry_ms: ms(self.expiry_hours.saturating_mul(3600)),
        }
    }

    /// The limits of attempts.
    #[must_use]
    pub fn client_settings(&self) -> ClientSettings {
        ClientSettings {
            deadline: Duration::from_secs(self.deadline_secs),
            answer_bytes_max: self.answer_bytes_max,
            idle_max: self.concurrency,
            ..ClientSettings::default()
        }
    }

    /// Where events may be sent.
    #[must_use]
    pub fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::allowing(self.allow_addresses.clone())
    }

    /// The further TLS authorities as PEM; empty without a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn authorities_pem(&self) -> std::io::Result<Vec<u8>> {
        if self.authorities_file.as_os_str().is_empty() {
            return Ok(Vec::new());
        }
        small_file::read(&self.authorities_file, AUTHORITIES_BYTES_MAX)
    }
}

/// Reads address prefixes; a bare address is a prefix of its own.
pub(super) fn prefixes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let prefix = |text: &String| {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| address())
    };
    let read: Result<_, std::net::AddrParseError> = texts.iter().map(prefix).collect();
    read.map_err(|_| {
        serde::de::Error::custom(
            "expected address prefixes such as \"127.0.0.0/8\" or \"fd00::/8\"",
        )
    })
}
