//! Opening a file: its tables, its format, and what is said of one that cannot be read.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::OpenError;

/// A kind of file.
#[derive(Debug)]
pub struct Schema {
    /// Tells whose file it is (`application_id`).
    pub application: i32,
    /// Its format (`user_version`): another number for every change of the tables.
    pub version: i32,
    /// What makes the tables.
    pub tables: String,
    /// What helps when the file cannot be read, and what it costs.
    pub remedy: &'static str,
}

impl Schema {
    /// Opens or creates the file for the only connection that writes it.
    ///
    /// # Errors
    /// It cannot be opened, is damaged, or has another format.
    pub fn open(&self, path: &Path) -> Result<Connection, OpenError> {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        );
        let connection = connection.map_err(|source| self.explain(path, source))?;
        let found = self.prepare(&connection);
        match found.map_err(|source| self.explain(path, source))? {
            found if found == self.version => Ok(connection),
            found => Err(OpenError::Version {
                path: path.to_owned(),
                found,
                expected: self.version,
                remedy: self.remedy,
            }),
        }
    }

    /// Makes the tables in an empty file; gives the format that the file now has. Another
    /// program's file is left as it is, and has format 0.
    fn prepare(&self, connection: &Connection) -> rusqlite::Result<i32> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
        let application: i32 = pragma("application_id")?;
        let count = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 = connection.query_row(count, (), |row| row.get(0))?;
        match (application == self.application, tables) {
            (true, _) => {
                configure(connection)?;
                pragma("user_version")
            }
            (false, 0) => {
                configure(connection)?;
                self.create(connection)?;
                Ok(self.version)
            }
            (false, _) => Ok(0),
        }
    }

    fn create(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {} PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT;",
            self.tables, self.application, self.version
        ))
    }

    /// Sorts an error out, for whoever has to do something about it.
    pub fn explain(&self, path: &Path, source: rusqlite::Error) -> OpenError {
        let path = path.to_owned();
        match is_damage(&source) {
            true => OpenError::Damaged {
                path,
                remedy: self.remedy,
                source,
            },
            false => OpenError::Sqlite { path, source },
        }
    }
}

/// Settings of every connection that writes.
///
/// # Errors
/// SQLite refuses one.
///
/// `synchronous = NORMAL` syncs at checkpoints only: after a power failure the last transactions
/// are missing, all of them from some point on. A view is then folded again from there, and a
/// receiver is told some events again; neither is worth an fsync per transaction. Checkpoints are
/// made by whoever opened the file, not inside a commit that happens to come at the wrong moment.
pub fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(1))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// A further connection to a file that is open, which only reads.
pub fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(std::time::Duration::from_secs(1))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Whether the file itself is at fault.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
    )
}
