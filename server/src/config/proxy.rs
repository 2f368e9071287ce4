//! The PROXY protocol: at which doors a load balancer says whom it forwards, and who may say so.

use ipnet::IpNet;
use serde::Deserialize;

use super::webhook::prefixes;

/// The `[proxy_protocol]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// The doors, by their keys in `[listen]`.
    pub doors: Vec<String>,
    /// The balancers' addresses.
    #[serde(deserialize_with = "prefixes")]
    pub trusted: Vec<IpNet>,
}

impl ProxyConfig {
    /// The doors at which it can be spoken.
    pub const DOORS: [&str; 6] = ["mqtt", "mqtts", "ws", "wss", "http", "https"];

    /// Whether it is spoken at a door.
    #[must_use]
    pub fn is_spoken_at(&self, door: &str) -> bool {
        self.doors.iter().any(|spoken| spoken == door)
    }
}
