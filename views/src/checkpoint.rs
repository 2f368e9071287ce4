//! Keeping the write-ahead log short.
//!
//! A background thread copies the log into the database without stopping anyone; when it has
//! copied everything, the writer begins the log anew. Under a load without pauses it may never
//! have: then the writer empties the log itself once it is longer than 64 MiB, which is
//! quick, because most was copied before. A reader that stays in one transaction for long can delay
//! both; readers here do not.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::{FlushError, schema};

/// The writer of the views empties a log that is longer.
pub(crate) const LOG_BYTES_MAX: u64 = 64 << 20;

/// Copies the write-ahead log into the database, beside the writer.
#[derive(Debug)]
pub struct Checkpointer {
    connection: Connection,
}

impl Checkpointer {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        schema::configure(&connection)?;
        Ok(Self { connection })
    }

    /// Copies what can be copied without waiting for anyone. Meant to be called every second.
    ///
    /// # Errors
    /// Less was copied; the next call goes on.
    pub fn checkpoint(&mut self) -> Result<(), FlushError> {
        Ok(run(&self.connection, "PASSIVE")?)
    }
}

/// Empties the log.
pub(crate) fn truncate(connection: &Connection) -> rusqlite::Result<()> {
    run(connection, "TRUNCATE")
}

/// Empties the log of the database at `path` if it is longer than `bytes_max`. What was written stands whether
/// this works or not, so a failure is told and tried again with the next flush.
pub(crate) fn bound(connection: &Connection, path: &Path, bytes_max: u64) {
    if log_len(path) <= bytes_max {
        return;
    }
    if let Err(error) = truncate(connection) {
        tracing::warn!(%error, "cannot empty the write-ahead log");
    }
}

/// The length of the log in bytes.
pub(crate) fn log_len(path: &Path) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    std::fs::metadata(PathBuf::from(name)).map_or(0, |log| log.len())
}

fn run(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |_| Ok(()))
}
