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
    /// QoS 1 and 2 messages a client may have under way to us, those included whose
    /// QoS 2 handshake is not over; 0 counts as 1. Announced as Receive Maximum
    /// (§3.2.2.3.3); an MQTT 5 client that exceeds it is sent away with 0x93
    /// (MQTT-3.3.4-7). MQTT 3 has no way to be told: see
    /// [`crate::Session::unanswered`].
    pub receive_max: u16,
    /// QoS 1 and 2 messages sent to a client and not yet acknowledged by it (QoS 2:
    /// until PUBCOMP); caps the client's own Receive Maximum; 0 counts as 1. Further
    /// messages are queued.
    pub inflight_max: u16,
    /// QoS 1 and 2 messages waiting for a place among those in flight; at the limit
    /// [`crate::Delivery::QueueFull`].
    pub queue_messages_max: u32,
    /// Bytes (of encoded packets) waiting likewise; at the limit
    /// [`crate::Delivery::QueueFull`].
    pub queue_bytes_max: u32,
    /// Topic aliases a client may define; announced as Topic Alias Maximum
    /// (§3.2.2.3.8). A greater alias ends the session (0x94). Each costs a copy of
    /// its topic name.
    pub topic_alias_max: u16,
    /// Topic aliases the server defines towards a client that takes some; caps the
    /// client's own maximum. The first topics get them; 0 is none.
    pub topic_alias_sent_max: u16,
    /// Seconds that Session State may outlive a connection; what a client asks for
    /// beyond it is cut by [`Self::session_expiry_secs`]. 0: every session ends with
    /// its connection.
    pub session_expiry_secs_max: u32,
    /// Whether retained messages are kept; if not, a message or will with RETAIN is
    /// refused (0x9A), and CONNACK says so.
    pub retain_available: bool,
    /// Whether shared subscriptions are served; if not, they are refused in SUBACK
    /// (0x9E), and CONNACK says so.
    pub shared_available: bool,
    /// Whether subscriptions may have identifiers; if not, one ends the session
    /// (0xA1), and CONNACK says so.
    pub subscription_ids_available: bool,
    /// Topic filters in one SUBSCRIBE; those beyond are answered 0x97
    /// (Quota exceeded; MQTT 3: 0x80), the first ones are served.
    pub filters_per_packet_max: u16,
}

impl Limits {
    /// The Session Expiry Interval granted to a client that asks for `requested_secs`
    /// (§3.1.2.11.2, §3.2.2.3.2).
    #[must_use]
    pub fn session_expiry_secs(&self, requested_secs: u32) -> u32 {
        requested_secs.min(self.session_expiry_secs_max)
    }
}
