//! An event as columns of a table, the same in history and in the state of deliveries.
//!
//! Small numbers stand for enums; what they mean is fixed by `Kind`, by the protocol level of the
//! packet, and by the two tables of codes below: never give one a new meaning.

use compact_str::{CompactString, ToCompactString};
use journal::{Os, Position, SessionId};
use presence::{EndReason, Protocol};
use rusqlite::types::Type;
use rusqlite::{Error, Row, Statement};

use crate::{Event, Kind};

/// The columns of an event but for its organisation, in the order of [`bind`] and [`read`].
pub(crate) const COLUMNS: &str = "position, username, seq, kind, session, client_id, protocol, \
     peer, os, at_ms, connected_at_ms, reason, online_sessions";

/// How many columns these are.
pub(crate) const COLUMN_COUNT: usize = 13;

/// The same columns, declared; the position gets what else `position` says.
pub(crate) fn declare(position: &str) -> String {
    format!(
        "position INTEGER {position}, username TEXT NOT NULL, seq INTEGER NOT NULL, \
         kind INTEGER NOT NULL, session BLOB NOT NULL, client_id TEXT NOT NULL, \
         protocol INTEGER NOT NULL, peer TEXT, os INTEGER, at_ms INTEGER NOT NULL, \
         connected_at_ms INTEGER NOT NULL, reason INTEGER, online_sessions INTEGER NOT NULL"
    )
}

/// Binds an event to the first parameters of a statement.
pub(crate) fn bind(statement: &mut Statement<'_>, event: &Event) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(1, integer(event.position.0))?;
    statement.raw_bind_parameter(2, event.username.as_str())?;
    statement.raw_bind_parameter(3, integer(event.seq))?;
    statement.raw_bind_parameter(4, event.kind as u8)?;
    statement.raw_bind_parameter(5, &event.session.0[..])?;
    statement.raw_bind_parameter(6, event.client_id.as_str())?;
    statement.raw_bind_parameter(7, event.protocol.level())?;
    let peer = event.peer.map(|peer| peer.to_compact_string());
    statement.raw_bind_parameter(8, peer.as_deref())?;
    statement.raw_bind_parameter(9, event.os.map(os_code))?;
    statement.raw_bind_parameter(10, integer(event.at_ms))?;
    statement.raw_bind_parameter(11, integer(event.connected_at_ms))?;
    statement.raw_bind_parameter(12, event.reason.map(reason_code))?;
    statement.raw_bind_parameter(13, event.online_sessions)
}

/// Reads an event of `org` from the first columns of a row.
pub(crate) fn read(row: &Row<'_>, org: CompactString) -> rusqlite::Result<Event> {
    Ok(Event {
        position: Position(natural(row, 0)?),
        org,
        username: text(row, 1)?,
        seq: natural(row, 2)?,
        kind: coded(row, 3, kind_of)?,
        session: SessionId(row.get(4)?),
        client_id: text(row, 5)?,
        protocol: coded(row, 6, protocol_of)?,
        peer: peer(row, 7)?,
        os: optional(row, 8, os_of)?,
        at_ms: natural(row, 9)?,
        connected_at_ms: natural(row, 10)?,
        reason: optional(row, 11, reason_of)?,
        online_sessions: row.get(12)?,
    })
}

/// A number as SQLite keeps it. Positions and times stay far below 2^63.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that was written by [`integer`].
pub(crate) fn natural(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| Error::IntegralValueOutOfRange(column, number))
}

/// A text, without an allocation if it is short.
pub(crate) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<CompactString> {
    Ok(row.get_ref(column)?.as_str()?.into())
}

fn peer(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<std::net::SocketAddr>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(str::parse)
        .transpose()
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn coded<T>(row: &Row<'_>, column: usize, decode: fn(i64) -> Option<T>) -> rusqlite::Result<T> {
    let code: i64 = row.get(column)?;
    decode(code).ok_or(Error::IntegralValueOutOfRange(column, code))
}

fn optional<T>(
    row: &Row<'_>,
    column: usize,
    decode: fn(i64) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    let code: Option<i64> = row.get(column)?;
    code.map(|code| decode(code).ok_or(Error::IntegralValueOutOfRange(column, code)))
        .transpose()
}

fn kind_of(code: i64) -> Option<Kind> {
    [Kind::Online, Kind::Offline, Kind::LoggedOut]
        .into_iter()
        .find(|kind| *kind as i64 == code)
}

fn protocol_of(code: i64) -> Option<Protocol> {
    [Protocol::V31, Protocol::V311, Protocol::V5]
        .into_iter()
        .find(|protocol| i64::from(protocol.level()) == code)
}

fn os_code(os: Os) -> u8 {
    match os {
        Os::Ios => 1,
        Os::Android => 2,
        Os::Websocket => 3,
    }
}

fn os_of(code: i64) -> Option<Os> {
    [Os::Ios, Os::Android, Os::Websocket]
        .into_iter()
        .find(|os| i64::from(os_code(*os)) == code)
}

fn reason_code(reason: EndReason) -> u8 {
    match reason {
        EndReason::ClientDisconnect => 1,
        EndReason::ConnectionLost => 2,
        EndReason::KeepAliveTimeout => 3,
        EndReason::TakenOver => 4,
        EndReason::KickedByDevice => 5,
        EndReason::Terminated => 6,
        EndReason::LoggedOut => 7,
        EndReason::CredentialsExpired => 8,
        EndReason::ProtocolError => 9,
        EndReason::ServerStopped => 10,
        EndReason::ServerCrashed => 11,
    }
}

/// Every reason that has a code.
const REASONS: [EndReason; 11] = [
    EndReason::ClientDisconnect,
    EndReason::ConnectionLost,
    EndReason::KeepAliveTimeout,
    EndReason::TakenOver,
    EndReason::KickedByDevice,
    EndReason::Terminated,
    EndReason::LoggedOut,
    EndReason::CredentialsExpired,
    EndReason::ProtocolError,
    EndReason::ServerStopped,
    EndReason::ServerCrashed,
];

fn reason_of(code: i64) -> Option<EndReason> {
    REASONS
        .into_iter()
        .find(|reason| i64::from(reason_code(*reason)) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_as_it_was_written() {
        for code in 1..=11 {
            assert_eq!(reason_of(code).map(reason_code).map(i64::from), Some(code));
        }
        assert_eq!((reason_of(0), reason_of(12)), (None, None));
    }
}
