//! Keep alive and ping (§3.1.2.10, §3.12).
//!
//! The session only knows how long a silence it may bear; the caller has the
//! clock, counts from the last packet received, and ends the session with
//! [`crate::DisconnectReason::KeepAliveTimeout`].

use bytes::BytesMut;
use rmqtt_codec::{v3, v5};

use super::{Action, Session, Version};
use crate::limits::Limits;

impl Session {
    /// Seconds of keep alive in force: the client's choice, for MQTT 5 within the
    /// server's cap; 0 is none. Meaningful once accepted.
    pub fn keep_alive_secs(&self) -> u16 {
        self.keep_alive_secs
    }

    /// Seconds of silence after which the client counts as gone: one and a half
    /// times the keep alive, rounded up (MQTT-3.1.2-22); `None` for no limit.
    pub fn silent_secs_max(&self) -> Option<u32> {
        let secs = u32::from(self.keep_alive_secs);
        (secs > 0).then_some((secs * 3).div_ceil(2))
    }

    pub(super) fn handle_ping(&mut self, version: Version, out: &mut BytesMut) -> Action {
        match version {
            Version::V5 => self.reply_v5(None, out, |_| v5::Packet::PingResponse),
            Version::V31 | Version::V311 => Self::reply_v3(v3::Packet::PingResponse, out),
        }
        Action::Continue
    }

    /// Brings what an MQTT 5 client asked for under the cap; returns the value
    /// to announce if it changed.
    pub(super) fn cap_keep_alive(&mut self, limits: &Limits) -> Option<u16> {
        let cap = limits.keep_alive_secs_max;
        let within = (1..=cap).contains(&self.keep_alive_secs);
        if cap == 0 || within {
            return None;
        }
        self.keep_alive_secs = cap;
        Some(cap)
    }
}
