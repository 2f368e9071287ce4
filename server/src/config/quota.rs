//! Quotas of organisations. `whosthere.default.toml` says what happens at each.

use serde::Deserialize;

/// The `[quota]` table: what each organisation gets that says nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaConfig {
    /// Connections that are logged in; 0 for no limit.
    pub org_connections_max: u32,
    /// Logins a second; 0 for no limit.
    pub org_connects_per_sec: u32,
    /// Messages a second that clients publish; 0 for no limit.
    pub org_messages_per_sec: u32,
}

/// `[org.quota]`: what one organisation gets instead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrgQuotaConfig {
    /// Instead of `quota.org_connections_max`.
    pub connections_max: Option<u32>,
    /// Instead of `quota.org_connects_per_sec`.
    pub connects_per_sec: Option<u32>,
    /// Instead of `quota.org_messages_per_sec`.
    pub messages_per_sec: Option<u32>,
    /// Instead of `retained.messages_max`; not more than that.
    pub retained_messages_max: Option<usize>,
    /// Instead of `retained.bytes_max`; not more than that.
    pub retained_bytes_max: Option<usize>,
    /// Instead of `mqtt.subscriptions_per_session_max`; not more than that.
    pub subscriptions_per_session_max: Option<u16>,
    /// Instead of `mqtt.queue_messages_max`, and of `sessions.queue_messages_max` if that is more;
    /// not more than the former.
    pub queue_messages_max: Option<u32>,
    /// Instead of `mqtt.queue_bytes_max`, and of `sessions.queue_bytes_max` if that is more; not
    /// more than the former.
    pub queue_bytes_max: Option<u32>,
    /// Instead of `mqtt.packet_bytes_max`; not more than that.
    pub packet_bytes_max: Option<u32>,
}
