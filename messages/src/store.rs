//! The tables of SQLite: what the log has said, up to a position that stands in the same
//! transaction.
//!
//! They follow the log and are never asked for the truth, except for what is in no memory any more:
//! bodies of messages that wait. A start reads them and folds what the log has after them.

mod flush;
mod load;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use views::schema::Schema;

use crate::book::BodySource;
use crate::state::State;

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

/// The file and its only writer.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    connection: Connection,
}

impl Store {
    /// Opens the file, or creates it, and reads what it says and how far it has followed the log.
    pub(crate) fn open(path: &Path) -> Result<(Self, State, u64), views::OpenError> {
        let connection = schema().open(path)?;
        let (state, position) =
            load::load(&connection).map_err(|source| schema().explain(path, source))?;
        let path = path.to_owned();
        Ok((Self { path, connection }, state, position))
    }

    /// Writes what has changed, in one transaction with the position up to which that is; drops
    /// the bodies that are on the disk from then on.
    ///
    /// Nothing is changed when it fails.
    pub(crate) fn flush(&mut self, state: &mut State, position: u64) -> rusqlite::Result<()> {
        flush::flush(&self.connection, state, position)
    }

    /// Copies the write-ahead log into the file and syncs both: from now on a loss of power takes
    /// nothing of what was flushed.
    pub(crate) fn settle(&self) -> rusqlite::Result<()> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
    }

    /// The length of the write-ahead log, bytes.
    pub(crate) fn log_bytes(&self) -> u64 {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-wal");
        std::fs::metadata(PathBuf::from(name)).map_or(0, |log| log.len())
    }

    /// For tests that need the disk to be full.
    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
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
