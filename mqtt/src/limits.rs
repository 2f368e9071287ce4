//! What one session may use.
//!
//! One value is shared by all sessions of a server and handed to each call, so
//! a session carries no copy of it. Each field says what happens at the limit.

/// The limits of a server's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole packet from a client, fixed header included; at least 1.
    /// A longer one closes the connection (MQTT 5: DISCONNECT 0x95). Announced
    /// as Maximum Packet Size (§3.2.2.3.6).
    pub packet_bytes_max: u32,
    /// Seconds of keep alive an MQTT 5 client may ask for; one that asks for more,
    /// or for none, is told this value as Server Keep Alive (§3.2.2.3.14).
    /// 0 leaves the choice to the client. MQTT 3 has no way to be told.
    pub keep_alive_secs_max: u16,
    /// Levels of a topic filter; a deeper one is refused in SUBACK (0x8F, MQTT 3: 0x80).
    pub topic_levels_max: u16,
    /// QoS 1 messages a client may have unacknowledged by us; 0 counts as 1.
    /// Announced as Receive Maximum (§3.2.2.3.3). It cannot be exceeded while
    /// every QoS 1 message is answered before the next packet is handled.
    pub receive_max: u16,
    /// QoS 1 messages sent to a client and not yet acknowledged by it; caps the
    /// client's own Receive Maximum; 0 counts as 1. Further messages are queued.
    pub inflight_max: u16,
    /// QoS 1 messages waiting for a place among those in flight; at the limit
    /// [`crate::Delivery::QueueFull`].
    pub queue_messages_max: u32,
    /// Bytes (of encoded packets) waiting likewise; at the limit
    /// [`crate::Delivery::QueueFull`].
    pub queue_bytes_max: u32,
    /// Topic filters in one SUBSCRIBE; those beyond are answered 0x97
    /// (Quota exceeded; MQTT 3: 0x80), the first ones are served.
    pub filters_per_packet_max: u16,
}
