//! How far the fold is, in the same transaction as its rows.

use journal::Position;
use rusqlite::Connection;

use crate::row::{integer, natural};

/// The table: one row.
pub(crate) const TABLE: &str = "\
    CREATE TABLE progress (position INTEGER NOT NULL, merged INTEGER NOT NULL) STRICT;
    INSERT INTO progress (position, merged) VALUES (0, 0);";

/// How far the fold is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// History has everything before.
    pub(crate) position: Position,
    /// The rows of users have everything before, and maybe more.
    pub(crate) merged: Position,
}

/// Reads it.
pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Progress> {
    let mut statement = connection.prepare_cached("SELECT position, merged FROM progress")?;
    statement.query_row((), |row| {
        Ok(Progress {
            position: Position(natural(row, 0)?),
            merged: Position(natural(row, 1)?),
        })
    })
}

/// Writes it.
pub(crate) fn write(connection: &Connection, progress: Progress) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("UPDATE progress SET position = ?1, merged = ?2")?;
    statement.execute((integer(progress.position.0), integer(progress.merged.0)))?;
    Ok(())
}
