//! What a fact means for the user: came online, went offline, logged out.
//!
//! An event is a fact with what only the order of all facts can tell: its number among the user's
//! events, and how many sessions the user has after it. The same journal gives the same events,
//! numbers and ids for ever.

use std::fmt;
use std::net::SocketAddr;

use compact_str::CompactString;
use journal::{Ended, Fact, Opened, Os, Position, SessionId};
use presence::{EndReason, Protocol};
use sha2::{Digest, Sha256};

/// A numbered change of a user's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The place of its fact in the journal.
    pub position: Position,
    /// The organisation of the user.
    pub org: CompactString,
    /// The user, without the organisation's suffix.
    pub username: CompactString,
    /// Counts the user's events from 1, without gaps.
    pub seq: u64,
    /// What happened.
    pub kind: Kind,
    /// The session that it happened to: the same in the session's two events.
    pub session: SessionId,
    /// MQTT client identifier.
    pub client_id: CompactString,
    /// The protocol that the session speaks.
    pub protocol: Protocol,
    /// The client's address, if known.
    pub peer: Option<SocketAddr>,
    /// The client's system, if known; never in an ending.
    pub os: Option<Os>,
    /// When it happened, in Unix milliseconds.
    pub at_ms: u64,
    /// When the session opened, in Unix milliseconds; in an opening the same as `at_ms`.
    pub connected_at_ms: u64,
    /// Why the session ended; `None` in an opening.
    pub reason: Option<EndReason>,
    /// How many sessions the user has after the event.
    pub online_sessions: u32,
}

impl Event {
    /// What a fact says; number and count are still 0.
    pub(crate) fn from_fact(position: Position, fact: Fact) -> Self {
        match fact {
            Fact::Opened(opened) => Self::from_opened(position, opened),
            Fact::Ended(ended) => Self::from_ended(position, ended),
        }
    }

    fn from_opened(position: Position, opened: Opened) -> Self {
        Self {
            position,
            org: opened.org,
            username: opened.username,
            seq: 0,
            kind: Kind::Online,
            session: opened.session,
            client_id: opened.client_id,
            protocol: opened.protocol,
            peer: opened.peer,
            os: opened.os,
            at_ms: opened.at_ms,
            connected_at_ms: opened.at_ms,
            reason: None,
            online_sessions: 0,
        }
    }

    fn from_ended(position: Position, ended: Ended) -> Self {
        Self {
            position,
            org: ended.org,
            username: ended.username,
            seq: 0,
            kind: match ended.reason {
                EndReason::LoggedOut => Kind::LoggedOut,
                _ => Kind::Offline,
            },
            session: ended.session,
            client_id: ended.client_id,
            protocol: ended.protocol,
            peer: ended.peer,
            os: None,
            at_ms: ended.at_ms,
            connected_at_ms: ended.connected_at_ms,
            reason: Some(ended.reason),
            online_sessions: 0,
        }
    }

    /// Names the event for ever: made of the session and the kind alone, so that every attempt to
    /// deliver it carries the same, also after the views were folded again.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId::new(self.session, self.kind)
    }
}

/// What happened to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A session opened: `"0"` in the contract.
    Online = 0,
    /// A session ended: `"1"`.
    Offline = 1,
    /// A session ended because the user logged out: `"2"`.
    LoggedOut = 2,
}

/// A UUID of version 8 (RFC 9562 §5.8); `Display` writes it in the usual form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// A hash of both: ids of sessions that differ in one bit stay far apart.
    fn new(session: SessionId, kind: Kind) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"whosthere event");
        hash.update(session.0);
        hash.update([kind as u8]);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        id[6] = id[6] & 0x0f | 0x80;
        id[8] = id[8] & 0x3f | 0x80;
        Self(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_never_changes() {
        let id = EventId::new(SessionId([7; 16]), Kind::Online);
        assert_eq!(id.to_string(), "31b418db-2808-801a-878a-637aa81f02f8");
    }

    #[test]
    fn an_event_id_tells_sessions_and_kinds_apart() {
        let sessions = [[0; 16], [1; 16], [0xff; 16]].map(SessionId);
        let kinds = [Kind::Online, Kind::Offline, Kind::LoggedOut];
        let ids: std::collections::HashSet<_> = sessions
            .iter()
            .flat_map(|session| kinds.map(|kind| EventId::new(*session, kind)))
            .collect();
        assert_eq!(ids.len(), 9);
    }
}
