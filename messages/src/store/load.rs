//! Reading everything at a start, but for the bodies of messages that wait.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use compact_str::CompactString;
use rusqlite::types::Type;
use rusqlite::{Connection, Error, Row};

use crate::id::{Attachment, StoredRef};
use crate::kept::RetainedRow;
use crate::message::Will;
use crate::record::{Subscription, will_from_bytes};
use crate::session::{Entry, Queue, Session, Stage};
use crate::state::{Body, DueWill, State};

/// Reads the state and the position up to which it follows the log.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<(State, u64)> {
    let mut state = State::default();
    let progress = "SELECT position, next_session FROM progress";
    let (position, next_session) =
        connection.query_row(progress, (), |row| Ok((natural(row, 0)?, natural(row, 1)?)))?;
    let mut queues = queues(connection)?;
    bodies(connection, &mut state, &queues)?;
    sessions(connection, &mut state, &mut queues)?;
    subscriptions(connection, &mut state)?;
    received(connection, &mut state)?;
    retained(connection, &state)?;
    wills(connection, &mut state)?;
    state.next_session = state.next_session.max(next_session);
    Ok((state, position))
}

type Queues = HashMap<StoredRef, VecDeque<Entry>>;

fn queues(connection: &Connection) -> rusqlite::Result<Queues> {
    let mut queues = Queues::new();
    let mut statement = connection.prepare(
        "SELECT session, message, packet_id, qos, retain, is_received, bytes, subscription_ids \
         FROM queue ORDER BY session, message",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let entry = Entry {
            message: natural(row, 1)?,
            packet_id: row.get(2)?,
            qos: row.get(3)?,
            retain: row.get(4)?,
            stage: match row.get(5)? {
                true => Stage::Release,
                false => Stage::Publish,
            },
            bytes: row.get(6)?,
            is_on_disk: true,
            subscription_ids: ids(&row.get::<_, Vec<u8>>(7)?),
        };
        let session = StoredRef(natural(row, 0)?);
        queues.entry(session).or_default().push_back(entry);
    }
    Ok(queues)
}

fn bodies(connection: &Connection, state: &mut State, queues: &Queues) -> rusqlite::Result<()> {
    let mut refs: HashMap<u64, u32> = HashMap::new();
    let entries = queues.values().flatten();
    for entry in entries.filter(|entry| entry.stage == Stage::Publish) {
        *refs.entry(entry.message).or_default() += 1;
    }
    let mut statement = connection.prepare("SELECT id, at_ms, expires_at_ms FROM messages")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let number = natural(row, 0)?;
        let body = Body {
            bytes: None,
            at_ms: natural(row, 1)?,
            expires_at_ms: optional_natural(row, 2)?,
            refs: refs.get(&number).copied().unwrap_or(0),
            is_on_disk: true,
        };
        state.bodies.insert(number, body);
    }
    Ok(())
}

fn sessions(
    connection: &Connection,
    state: &mut State,
    queues: &mut Queues,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT id, org, client_id, username, expiry_secs, attachments, is_attached, since_ms, \
         will, sent, last_packet_id FROM sessions",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let number = StoredRef(natural(row, 0)?);
        let kept = state.directory.org(&text(row, 1)?);
        let mut session = Session::new(kept, text(row, 2)?, text(row, 3)?, row.get(4)?);
        session.attachments = row.get(5)?;
        session.is_attached = row.get(6)?;
        session.since_ms = natural(row, 7)?;
        session.will = match row.get::<_, Option<Vec<u8>>>(8)? {
            Some(bytes) => Some(Box::new(will(&bytes, 8)?)),
            None => None,
        };
        let entries = queues.remove(&number).unwrap_or_default();
        session.queue = Queue::restored(entries, natural(row, 9)? as usize, row.get(10)?);
        session.is_on_disk = true;
        state.insert(number, session);
    }
    Ok(())
}

fn subscriptions(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare("SELECT session, filter, options, subscription_id FROM subscriptions")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let number = StoredRef(natural(row, 0)?);
        let subscription = Subscription {
            options: row.get(2)?,
            id: row.get(3)?,
        };
        if let Some(session) = state.sessions.get_mut(&number) {
            let filter = text(row, 1)?;
            session.kept.subscribe(number, &filter, subscription);
            session.subscriptions.insert(filter, subscription);
        }
    }
    Ok(())
}

fn received(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT session, packet_id FROM received")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let number = StoredRef(natural(row, 0)?);
        if let Some(session) = state.sessions.get_mut(&number) {
            session.received.insert(row.get(1)?);
        }
    }
    Ok(())
}

fn retained(connection: &Connection, state: &State) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare("SELECT org, topic, qos, at_ms, expires_at_ms, body FROM retained")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let kept = state.directory.org(&text(row, 0)?);
        kept.retain(RetainedRow {
            topic: text(row, 1)?,
            qos: row.get(2)?,
            at_ms: natural(row, 3)?,
            expires_at_ms: optional_natural(row, 4)?,
            body: Bytes::from(row.get::<_, Vec<u8>>(5)?),
        });
    }
    Ok(())
}

fn wills(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT session, attachment, org, will FROM wills")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let id = Attachment {
            session: StoredRef(natural(row, 0)?),
            number: row.get(1)?,
        };
        let due = DueWill {
            org: text(row, 2)?,
            will: Box::new(will(&row.get::<_, Vec<u8>>(3)?, 3)?),
            is_out: false,
        };
        state.wills.insert(id, due);
    }
    Ok(())
}

fn will(bytes: &[u8], column: usize) -> rusqlite::Result<Will> {
    will_from_bytes(bytes)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error)))
}

fn ids(bytes: &[u8]) -> Box<[u32]> {
    let (chunks, _) = bytes.as_chunks();
    chunks.iter().map(|id| u32::from_le_bytes(*id)).collect()
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<CompactString> {
    let text = row.get_ref(column)?.as_str();
    Ok(text?.into())
}

fn natural(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| Error::IntegralValueOutOfRange(column, number))
}

fn optional_natural(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let number: Option<i64> = row.get(column)?;
    let natural =
        |number| u64::try_from(number).map_err(|_| Error::IntegralValueOutOfRange(column, number));
    number.map(natural).transpose()
}
