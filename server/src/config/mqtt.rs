//! Limits of MQTT connections and sessions. `whosthere.default.toml` says why each default is
//! what it is and what happens at the limit.

use serde::Deserialize;

/// The `[mqtt]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttConfig {
    /// Seconds from accept to a complete CONNECT.
    pub connect_timeout_secs: u64,
    /// Largest CONNECT packet, bytes; at most 268,435,455.
    pub connect_bytes_max: u32,
    /// Longest keep-alive granted, seconds; at most 200.
    pub keep_alive_secs_max: u16,
    /// Largest packet in either direction, bytes; at most 268,435,455.
    pub packet_bytes_max: u32,
    /// Most levels of a topic name or filter.
    pub topic_levels_max: usize,
    /// Unfinished QoS 1 and 2 messages from one client.
    pub receive_max: u16,
    /// Unfinished QoS 1 and 2 messages to one client.
    pub inflight_max: u16,
    /// Messages in one session's queue.
    pub queue_messages_max: usize,
    /// Bytes in one session's queue.
    pub queue_bytes_max: usize,
    /// Unsent bytes of one connection.
    pub outbound_bytes_max: usize,
    /// Topic aliases of one client; 0 is none.
    pub topic_alias_max: u16,
    /// Topic aliases sent to one client; 0 is none.
    pub topic_alias_sent_max: u16,
    /// Filters in one SUBSCRIBE or UNSUBSCRIBE.
    pub filters_per_packet_max: usize,
    /// Subscriptions of one session.
    pub subscriptions_per_session_max: u16,
    /// MQTT connections of the whole server.
    pub connections_max: usize,
    /// MQTT connections beyond them that are told so.
    pub refusals_max: usize,
    /// Messages waiting to cross to one event loop.
    pub mailbox_deliveries_max: usize,
    /// Backlog asked of the system for MQTT listeners.
    pub listen_backlog: u16,
    /// Silence before the first TCP probe, seconds.
    pub tcp_keep_alive_idle_secs: u64,
    /// Time between TCP probes, seconds.
    pub tcp_keep_alive_interval_secs: u64,
    /// Unanswered TCP probes before the connection is lost.
    pub tcp_keep_alive_probes: u32,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            connect_timeout_secs: 10,
            connect_bytes_max: 65_536,
            keep_alive_secs_max: 200,
            packet_bytes_max: 1_048_576,
            topic_levels_max: 128,
            receive_max: 64,
            inflight_max: 64,
            queue_messages_max: 1000,
            queue_bytes_max: 1_048_576,
            outbound_bytes_max: 1_048_576,
            topic_alias_max: 10,
            topic_alias_sent_max: 10,
            filters_per_packet_max: 100,
            subscriptions_per_session_max: 1000,
            connections_max: 1_000_000,
            refusals_max: 256,
            mailbox_deliveries_max: 65_536,
            listen_backlog: 4096,
            tcp_keep_alive_idle_secs: 120,
            tcp_keep_alive_interval_secs: 30,
            tcp_keep_alive_probes: 4,
        }
    }
}
