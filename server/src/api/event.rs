//! An event as JSON: the same fields wherever events are listed.
//!
//! Called as the presence answers call them, with the values that webhooks carry: `status`, `id`
//! and `session_id` are theirs, and times are Unix milliseconds as there.

use std::net::IpAddr;

use presence::{EndReason, Os};
use serde::Serialize;
use uuid::Uuid;
use views::{Event, Kind};

use super::view::{host, protocol};

/// One event.
#[derive(Serialize)]
pub(super) struct EventRow<'a> {
    id: String,
    status: &'static str,
    time: u64,
    session_id: String,
    client_id: &'a str,
    os: Option<&'static str>,
    /// Of endings.
    reason: Option<&'static str>,
    online_sessions: u32,
    seq: u64,
    peer_host: Option<IpAddr>,
    peer_port: Option<u16>,
    protocol: &'static str,
    connected_at: u64,
}

impl<'a> EventRow<'a> {
    pub(super) fn new(event: &'a Event) -> Self {
        let session = Uuid::from_bytes(event.session.0);
        Self {
            id: event.id().to_string(),
            status: status(event.kind),
            time: event.at_ms,
            session_id: format!("sess_{}", session.simple()),
            client_id: &event.client_id,
            os: event.os.map(os),
            reason: event.reason.map(EndReason::as_str),
            online_sessions: event.online_sessions,
            seq: event.seq,
            peer_host: event.peer.map(host),
            peer_port: event.peer.map(|peer| peer.port()),
            protocol: protocol(event.protocol),
            connected_at: event.connected_at_ms,
        }
    }
}

fn status(kind: Kind) -> &'static str {
    match kind {
        Kind::Online => "0",
        Kind::Offline => "1",
        Kind::LoggedOut => "2",
    }
}

fn os(os: Os) -> &'static str {
    match os {
        Os::Ios => "iOS",
        Os::Android => "Android",
        Os::Websocket => "Websocket",
    }
}
