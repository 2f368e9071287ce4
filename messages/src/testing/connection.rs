//! Connections that stored sessions are carried by.

use presence::{Address, Opening, Org, Protocol, SessionId};

use super::Carrier;

/// A connection of this number, and the session that `presence` has for it.
pub(crate) fn connection(presence: &Org, number: u32) -> Carrier {
    let address = Address {
        worker: 0,
        connection: number,
    };
    let opened = presence.open(&Opening {
        id: SessionId([0; 16]),
        username: "alice",
        client_id: &format!("c{number}"),
        protocol: Protocol::V5,
        peer: None,
        os: None,
        connected_at_ms: 0,
        address,
    });
    Carrier {
        address,
        ticket: number,
        session: opened.session,
    }
}
