//! The tables of SQLite: what the log has said, up to a position that stands in the same
//! transaction.
//!
//! They follow the log and are never asked for the truth, except for what is in no memory any more:
//! bodies of messages that wait. A start reads them and folds what the log has after them.

mod batch;
mod flush;
mod load;
mod writer;

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use views::schema::Schema;

use crate::book::BodySource;
use crate::state::State;

pub(crate) use batch::Batch;
pub use writer::{Done, Task, Writer};
pub(crate) use writer::{Outcome, What};

const TABLES: &str = "\
    CREATE TABLE progress (position INTEGER NOT NULL, next_session INTEGER NOT NULL) STRICT;
    INSERT INTO progress (position, next_session) VALUES (0, 1);
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY, org TEXT NOT NULL, client_id TEXT NOT NULL,
        username TEXT NOT NULL, expiry_secs INTEGER NOT NULL, attachments INTEGER NOT NULL,
        is_attached INTEGER NOT NULL, since_ms INTEGER NOT NULL, will BLOB,
        sent INTEGER NOT NULL, last_packet_id INTEGER NOT NULL) STRICT;
    CREATE TABLE subscriptions (
        session INTEGER NOT NULL, filter TEXT NOT NULL, options INTEGER NOT NULL,
        subscription_id INTEGER, PRIMARY KEY (session, filter)) STRICT, WITHOUT ROWID;
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, expires_at_ms INTEGER,
        body BLOB NOT NULL) STRICT;
    CREATE TABLE queue (
        session INTEGER NOT NULL, message INTEGER NOT NULL, packet_id INTEGER NOT NULL,
        qos INTEGER NOT NULL, retain INTEGER NOT NULL, is_received INTEGER NOT NULL,
        bytes INTEGER NOT NULL, subscription_ids BLOB NOT NULL,
        PRIMARY KEY (session, message)) STRICT, WITHOUT ROWID;
    CREATE TABLE received (
        session INTEGER NOT NULL, packet_id INTEGER NOT NULL,
        PRIMARY KEY (session, packet_id)) STRICT, WITHOUT ROWID;
    CREATE TABLE retained (
        org TEXT NOT NULL, topic TEXT NOT NULL, qos INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER, body BLOB NOT NULL, PRIMARY KEY (org, topic)) STRICT;
    CREATE TABLE wills (
        session INTEGER NOT NULL, attachment INTEGER NOT NULL, org TEXT NOT NULL,
        will BLOB NOT NULL, PRIMARY KEY (session, attachment)) STRICT, WITHOUT ROWID;";

/// What is read from the file.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the file, or creates it, and reads what it says and how far it has followed the log.
    pub(crate) fn open(path: &Path) -> Result<(Self, Writer, State, u64), views::OpenError> {
        let writer = Writer::open(path)?;
        let explain = |source| schema().explain(path, source);
        let (state, position) = load::load(writer.connection()).map_err(explain)?;
        let connection = views::schema::open_read_only(path).map_err(explain)?;
        Ok((Self { connection }, writer, state, position))
    }
}

impl BodySource for Store {
    fn read(&mut self, message: u64) -> Result<Bytes, String> {
        let body = self
            .connection
            .prepare_cached("SELECT body FROM messages WHERE id = ?1")
            .and_then(|mut statement| {
                let body = statement.query_row([integer(message)], |row| row.get::<_, Vec<u8>>(0));
                body.optional()
            });
        match body {
            Ok(Some(body)) => Ok(body.into()),
            Ok(None) => Err(format!("message {message} is missing")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn schema() -> Schema {
    Schema {
        application: 0x7768_6d73,
        version: 1,
        tables: TABLES.to_owned(),
        remedy: "restore the data directory from a backup, or move the directory `messages` away \
                 to start without stored sessions and retained messages",
    }
}

/// A number as SQLite keeps it. Positions and times stay far below 2^63.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
