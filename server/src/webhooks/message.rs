//! What is posted: an event of the views in the words of the contract.

use bytes::Bytes;
use uuid::Uuid;
use views::{Event, Kind};
use webhook::payload::{Os, Shape, Status, StatusEvent};

/// The id and the body of an event.
pub(super) fn of(event: &Event, shape: Shape) -> (Uuid, Bytes) {
    let id = Uuid::from_bytes(event.id().0);
    let message = StatusEvent {
        id,
        status: status(event.kind),
        org: &event.org,
        user_id: &event.username,
        os: event.os.map(os),
        at_ms: event.at_ms,
        generated_at_ms: event.at_ms,
        client_ip: event.peer,
        session_id: Uuid::from_bytes(event.session.0),
        client_id: &event.client_id,
        seq: event.seq,
        reason: event.reason.map(presence::EndReason::as_str),
        online_sessions: event.online_sessions,
        connected_at_ms: event.connected_at_ms,
        protocol: event.protocol.level(),
    };
    (id, message.to_json(shape))
}

pub(super) fn status(kind: Kind) -> Status {
    match kind {
        Kind::Online => Status::Online,
        Kind::Offline => Status::Offline,
        Kind::LoggedOut => Status::LoggedOut,
    }
}

fn os(os: presence::Os) -> Os {
    match os {
        presence::Os::Ios => Os::Ios,
        presence::Os::Android => Os::Android,
        presence::Os::Websocket => Os::Websocket,
    }
}
