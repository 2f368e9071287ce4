//! Facts made short for tests.

use compact_str::format_compact;
use journal::{Ended, Fact, Opened, Os, SessionId};
use presence::{EndReason, Protocol};

/// A Friday in 2026, at midnight UTC, in Unix milliseconds.
pub(crate) const MIDNIGHT_MS: u64 = 1_774_569_600_000;

pub(crate) fn session(number: u64) -> SessionId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    SessionId(id)
}

pub(crate) fn opened(org: &str, username: &str, number: u64, at_ms: u64) -> Fact {
    Fact::Opened(Opened {
        org: org.into(),
        session: session(number),
        username: username.into(),
        client_id: format_compact!("client {number}"),
        protocol: if number.is_multiple_of(2) {
            Protocol::V5
        } else {
            Protocol::V311
        },
        peer: number
            .is_multiple_of(3)
            .then(|| "[2001:db8::1]:443".parse().unwrap()),
        os: number.is_multiple_of(5).then_some(Os::Android),
        at_ms,
        node: 0,
    })
}

pub(crate) fn ended(org: &str, username: &str, number: u64, at_ms: u64, reason: EndReason) -> Fact {
    Fact::Ended(Ended {
        org: org.into(),
        session: session(number),
        username: username.into(),
        client_id: format_compact!("client {number}"),
        protocol: Protocol::V5,
        peer: Some(([203, 0, 113, 7], 1883).into()),
        connected_at_ms: at_ms - 1,
        at_ms,
        reason,
    })
}

/// `count` facts of one user who comes and goes, a second apart.
pub(crate) fn comings_and_goings(username: &str, count: u64, from_ms: u64) -> Vec<Fact> {
    let facts = (0..count).map(|i| {
        let at_ms = from_ms + i * 1_000;
        match i % 2 {
            0 => opened("acme", username, i / 2, at_ms),
            _ => ended("acme", username, i / 2, at_ms, EndReason::ConnectionLost),
        }
    });
    facts.collect()
}
