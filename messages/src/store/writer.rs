//! The only writer of SQLite's file, which any thread may have: it is given tasks one at a time and
//! says what became of each.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{Batch, flush, schema};

/// The writer.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    connection: Connection,
}

/// Something to be written.
#[derive(Debug)]
pub struct Task(pub(crate) What);

#[derive(Debug)]
pub(crate) enum What {
    /// What has changed, in one transaction with the position up to which that is.
    Flush(Box<Batch>),
    /// The write-ahead log is copied into the file and both are synced: from then on a loss of
    /// power takes nothing of what was flushed.
    Settle,
}

/// What became of a task.
#[derive(Debug)]
pub struct Done(pub(crate) Outcome);

#[derive(Debug)]
pub(crate) enum Outcome {
    /// If it failed, nothing was changed.
    Flush {
        batch: Box<Batch>,
        result: rusqlite::Result<()>,
        /// The length of the write-ahead log, bytes.
        log_bytes: u64,
    },
    Settle(rusqlite::Result<()>),
}

impl Writer {
    pub(super) fn open(path: &Path) -> Result<Self, views::OpenError> {
        Ok(Self {
            path: path.to_owned(),
            connection: schema().open(path)?,
        })
    }

    /// Does a task. That takes as long as the disk does.
    #[must_use]
    pub fn run(&mut self, task: Task) -> Done {
        Done(match task.0 {
            What::Flush(batch) => Outcome::Flush {
                result: flush::write(&self.connection, &batch),
                batch,
                log_bytes: self.log_bytes(),
            },
            What::Settle => Outcome::Settle(self.settle()),
        })
    }

    fn settle(&self) -> rusqlite::Result<()> {
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let is_busy = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
        match self.connection.query_row(checkpoint, (), is_busy)? {
            false => Ok(()),
            // Somebody was reading: the file may not have all yet.
            true => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                Err(rusqlite::Error::SqliteFailure(busy, None))
            }
        }
    }

    fn log_bytes(&self) -> u64 {
        let mut name = self.path.as_os_str().to_owned();
        name.push("-wal");
        std::fs::metadata(PathBuf::from(name)).map_or(0, |log| log.len())
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Lets SQLite have no page more, or as many as it wants.
    #[cfg(test)]
    pub(crate) fn fill(&self, is_full: bool) {
        let pages: i64 = self
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        let most = if is_full { pages } else { 1 << 30 };
        self.connection
            .pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))
            .unwrap();
    }
}
