//! The end of a session, by either side (§3.14).
//!
//! An MQTT 3 server has no DISCONNECT: it closes the connection. An MQTT 5
//! server may send one only to a client that it has accepted (MQTT-3.14.0-1).

use bytes::BytesMut;
use rmqtt_codec::v5::{self, DisconnectReasonCode};

use super::facts::Fact;
use super::{Action, Session, State, Version};
use crate::packet;
use crate::reason::{CloseReason, DisconnectReason, Violation};

impl Session {
    /// Ends the session from the server's side; MQTT 5 is told why. Does nothing
    /// to a closed session.
    pub fn disconnect(&mut self, why: DisconnectReason, out: &mut BytesMut) {
        if self.state == State::Connected(Version::V5) {
            self.write_disconnect(why.code(), "", out);
        }
        self.close();
    }

    pub(super) fn handle_disconnect(
        &mut self,
        disconnect: v5::Disconnect,
        out: &mut BytesMut,
    ) -> Action {
        // §3.14.2.2.2: a session that was to end with its connection cannot be
        // prolonged now; such a packet does not count as a DISCONNECT.
        let prolongs = disconnect
            .session_expiry_interval_secs
            .is_some_and(|secs| secs > 0);
        if prolongs && !self.facts.has(Fact::ExpiryRequested) {
            return self.fail(
                Violation::protocol("session expiry set by DISCONNECT only"),
                out,
            );
        }
        self.close();
        Action::Close(CloseReason::ClientDisconnect {
            with_will: disconnect.reason_code != DisconnectReasonCode::NormalDisconnection,
            logout: is_logout(&disconnect),
            session_expiry_secs: disconnect.session_expiry_interval_secs,
        })
    }

    pub(super) fn write_disconnect(
        &self,
        reason_code: DisconnectReasonCode,
        reason: &str,
        out: &mut BytesMut,
    ) {
        packet::reply_v5(self.packet_bytes_max, Some(reason), out, |reason_string| {
            v5::Disconnect {
                reason_string,
                ..v5::Disconnect::new(reason_code)
            }
            .into()
        });
    }
}

/// The client says that its user logs out: user property `logout` = `true`.
fn is_logout(disconnect: &v5::Disconnect) -> bool {
    disconnect
        .user_properties
        .iter()
        .any(|(name, value)| name == "logout" && value == "true")
}
