//! Facts in, events out, rows to the disk.
//!
//! `fold` works in memory; `flush` writes what was folded in one transaction, with the position.
//! What is not flushed yet is shared with the readers, so that no answer lags. The journal is the
//! truth: what a crash takes from the file is folded again, to the same events.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Fact, Position};
use rusqlite::Connection;

use crate::checkpoint::{self, Checkpointer, LOG_BYTES_MAX};
use crate::history::{self, Table};
use crate::people;
use crate::progress::{self, Progress};
use crate::schema::Schema;
use crate::tail::{Link, Memory, Orgs, Shared, Tail};
use crate::user::{Step, User};
use crate::users::{KeyRef, Users};
use crate::{Event, FlushError, FoldError, OpenError, ReadError, Reader};

/// So many events wait in memory for a flush that succeeds; about 16 MB.
const TAIL_MAX: usize = 65_536;

/// The views of the journal, and their only writer.
#[derive(Debug)]
pub struct Views {
    path: PathBuf,
    connection: Connection,
    shared: Arc<Shared>,
    tables: Vec<Table>,
    /// How far the file is.
    progress: Progress,
    /// How many organisations are on the disk.
    orgs_flushed: u32,
    /// How many facts contradicted those before them.
    contradictions: u64,
    /// A longer log is emptied.
    log_bytes_max: u64,
}

impl Views {
    /// Opens the file at `path`, or creates it.
    ///
    /// After a crash under full load this reads up to some 500,000 rows of history, to find what
    /// rows of users lack (about 2 s).
    ///
    /// # Errors
    /// A file of another format or a damaged one is refused. It can be deleted: it is then folded
    /// again from the journal, and only what the journal no longer has is lost: older history, when
    /// absent users were last seen, and the numbers of their events, which begin at 1 again.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let connection = schema().open(path)?;
        Self::load(path, connection).map_err(|source| schema().explain(path, source))
    }

    fn load(path: &Path, connection: Connection) -> rusqlite::Result<Self> {
        connection.pragma_update(None, "cache_size", -512)?;
        let progress = progress::read(&connection)?;
        let orgs = people::read_orgs(&connection)?;
        let tables = history::tables(&connection)?;
        let mut memory = Memory {
            orgs: Arc::new(orgs),
            users: Users::new(progress.merged),
            tail: Tail::new(progress.position),
        };
        catch_up(&connection, &tables, &mut memory)?;
        let views = Self {
            path: path.to_owned(),
            tables,
            progress,
            orgs_flushed: memory.orgs.len(),
            shared: Arc::new(Shared::new(memory)),
            connection,
            contradictions: 0,
            log_bytes_max: LOG_BYTES_MAX,
        };
        views.end_reading()?;
        Ok(views)
    }

    /// The fact to fold next.
    #[must_use]
    pub fn position(&self) -> Position {
        self.shared.read().tail.end()
    }

    /// Everything before it is on the disk: the journal must keep what comes from here on.
    #[must_use]
    pub fn flushed(&self) -> Position {
        self.shared.read().tail.from()
    }

    /// How many facts since the opening contradicted those before them: an ending of a session
    /// that was not open, an opening of one that was. Anything but 0 is worth a look.
    #[must_use]
    pub fn contradictions(&self) -> u64 {
        self.contradictions
    }

    /// Takes up a journal whose first fact is `position`, when earlier ones are gone for good.
    ///
    /// For views that were deleted although the journal had been pruned. The numbers of a user's
    /// events begin at 1 again. A position that was folded already changes nothing.
    ///
    /// # Errors
    /// What was folded before could not be written; nothing is skipped.
    pub fn skip_to(&mut self, position: Position) -> Result<(), FlushError> {
        self.flush()?;
        if position > self.position() {
            tracing::warn!(
                from = self.position().0,
                to = position.0,
                "the journal no longer has some facts: the views go on without them"
            );
            self.shared.write().tail = Tail::new(position);
        }
        Ok(())
    }

    /// Folds the next fact, in memory.
    ///
    /// # Errors
    /// The fact is not the next one, or memory is full, or the user's row could not be read. The
    /// fact is not folded and can be tried again.
    pub fn fold(&mut self, position: Position, fact: Fact) -> Result<Arc<Event>, FoldError> {
        let mut memory = self.shared.write();
        let memory = &mut *memory;
        let expected = memory.tail.end();
        if position != expected {
            return Err(FoldError::OutOfOrder {
                expected,
                found: position,
            });
        }
        if memory.tail.links().len() >= TAIL_MAX {
            return Err(FoldError::Full);
        }
        let mut event = Event::from_fact(position, fact);
        let org = Orgs::number(&mut memory.orgs, &event.org);
        let key = KeyRef {
            org,
            name: &event.username,
        };
        let user = user_to_change(&self.connection, &mut memory.users, key)?;
        let previous = user.last;
        let step = Step::of(&event);
        if !user.take(&step) {
            self.contradictions += 1;
            report(&event, self.contradictions);
        }
        event.seq = user.seq;
        event.online_sessions = user.online_sessions();
        let event = Arc::new(event);
        memory.tail.push(Link {
            event: Arc::clone(&event),
            org,
            previous,
        });
        Ok(event)
    }

    /// Whether `fold` would answer [`FoldError::Full`]: flushes have failed for too long.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.read().tail.links().len() >= TAIL_MAX
    }

    /// Writes what was folded since the last flush, in one transaction.
    ///
    /// Meant to be called every 200 ms or 1,024 facts, whichever comes first.
    ///
    /// # Errors
    /// Nothing was written; everything stays in memory for the next flush.
    pub fn flush(&mut self) -> Result<(), FlushError> {
        let position = self.position();
        let slice = self.shared.write().users.plan(position);
        self.write(slice)
    }

    /// Flushes, brings the row of every user up to date and empties the write-ahead log: after
    /// this, opening is quick. For an orderly stop; without it nothing is lost.
    ///
    /// # Errors
    /// Some of it was not written; it is still in memory.
    pub fn settle(&mut self) -> Result<(), FlushError> {
        self.flush()?;
        while !self.shared.read().users.are_merged() {
            let position = self.position();
            let slice = {
                let mut memory = self.shared.write();
                memory.users.plan(position);
                memory.users.sweep_len()
            };
            self.write(slice)?;
        }
        Ok(checkpoint::truncate(&self.connection)?)
    }

    /// For when nothing has happened for a while: settles, and gives back the memory that a busy
    /// time took. What is asked for later is looked up on the disk.
    ///
    /// # Errors
    /// As [`settle`](Self::settle); no memory has been given back then.
    pub fn rest(&mut self) -> Result<(), FlushError> {
        self.settle()?;
        let mut memory = self.shared.write();
        memory.users = Users::new(memory.users.merged());
        let end = memory.tail.end();
        memory.tail = Tail::new(end);
        drop(memory);
        self.connection.flush_prepared_statement_cache();
        Ok(self.connection.execute_batch("PRAGMA shrink_memory")?)
    }

    /// One transaction: history, new organisations, the next `slice` users, the position.
    fn write(&mut self, slice: usize) -> Result<(), FlushError> {
        let progress = {
            let memory = self.shared.read();
            Progress {
                position: memory.tail.end(),
                merged: memory.users.merged_after(slice),
            }
        };
        if slice == 0 && progress == self.progress {
            return Ok(());
        }
        let mut tables = self.tables.clone();
        let orgs = {
            // Shared, not exclusive: readers go on while the disk works, and nobody but this
            // thread changes anything.
            let memory = self.shared.read();
            self.end_reading()?;
            let transaction = self.connection.unchecked_transaction()?;
            people::write_orgs(&transaction, &memory.orgs, self.orgs_flushed)?;
            history::append(&transaction, &mut tables, memory.tail.links())?;
            people::write(&transaction, memory.users.slice(slice))?;
            progress::write(&transaction, progress)?;
            transaction.commit()?;
            memory.orgs.len()
        };
        // Only now: until the commit readers find these events in memory, from now on in the file.
        let mut memory = self.shared.write();
        memory.tail.flushed();
        memory.users.written(slice);
        drop(memory);
        self.tables = tables;
        self.progress = progress;
        self.orgs_flushed = orgs;
        checkpoint::bound(&self.connection, &self.path, self.log_bytes_max);
        Ok(())
    }

    /// Ends the transaction of look-ups. Before a flush, not with it: the log can begin anew only
    /// with a transaction that began when all of it was copied.
    fn end_reading(&self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("COMMIT")
    }

    /// A reader with a connection of its own, for another thread.
    ///
    /// # Errors
    /// The connection cannot be opened.
    pub fn reader(&self) -> Result<Reader, ReadError> {
        Ok(Reader::open(&self.path, Arc::clone(&self.shared))?)
    }

    /// What keeps the write-ahead log short, for another thread.
    ///
    /// # Errors
    /// The connection cannot be opened.
    pub fn checkpointer(&self) -> Result<Checkpointer, ReadError> {
        Ok(Checkpointer::open(&self.path)?)
    }

    /// Drops the oldest table of history, if all of it happened before `before_ms` (Unix
    /// milliseconds) and lies before `keep_from`, the first event that some endpoint still needs.
    ///
    /// True if one was dropped: there may be another. One at a time, so that folding does not
    /// stand still for long. The newest table always stays. Users keep their numbers and when they
    /// were last seen. The file does not shrink: what is free is used again.
    ///
    /// # Errors
    /// Nothing was dropped.
    pub fn prune(&mut self, before_ms: u64, keep_from: Position) -> Result<bool, FlushError> {
        // Rows of users may lack what is in history from `merged` on.
        let keep_from = keep_from.min(self.shared.read().users.merged());
        self.end_reading()?;
        let left = history::drop_oldest(&self.connection, &self.tables, before_ms, keep_from)?;
        let Some(left) = left else {
            return Ok(false);
        };
        self.tables = left;
        Ok(true)
    }

    /// For tests that need the disk to be full.
    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// For tests that have no time for a long log.
    #[cfg(test)]
    pub(crate) fn set_log_bytes_max(&mut self, bytes: u64) {
        self.log_bytes_max = bytes;
    }
}

fn schema() -> Schema {
    Schema {
        application: 0x7768_7677,
        version: 1,
        tables: format!("{}{}{}", progress::TABLE, people::TABLES, history::CATALOG),
        remedy: "stop the server and delete the file, it is made again from the journal (older \
                 history and the numbers of users' events that only it knew are lost)",
    }
}

/// Gives the users what their rows lack: the events from `merged` on.
fn catch_up(
    connection: &Connection,
    tables: &[Table],
    memory: &mut Memory,
) -> rusqlite::Result<()> {
    let range = memory.users.merged().0..memory.tail.end().0;
    let users = &mut memory.users;
    history::scan(connection, tables, range, &memory.orgs, |link| {
        let key = KeyRef {
            org: link.org,
            name: &link.event.username,
        };
        let user = user_to_change(connection, users, key)?;
        if user.last < Some(link.event.position) {
            user.take(&Step::of(&link.event));
        }
        Ok(true)
    })
}

/// A user, from memory, from the disk, or new.
///
/// All look-ups until the next flush share a transaction, which `end_reading` ends: one
/// for each would cost more than the look-up.
fn user_to_change<'a>(
    connection: &Connection,
    users: &'a mut Users,
    key: KeyRef<'_>,
) -> rusqlite::Result<&'a mut User> {
    let index = match users.find(key) {
        Some(index) => index,
        None => {
            if connection.is_autocommit() {
                connection.execute_batch("BEGIN")?;
            }
            let user = people::find(connection, key)?.unwrap_or_default();
            users.insert(key, user)
        }
    };
    Ok(users.change(index))
}

/// Tells of a contradiction; of many, only every so often.
fn report(event: &Event, count: u64) {
    if count.is_power_of_two() {
        tracing::error!(
            position = event.position.0,
            kind = ?event.kind,
            count,
            "a fact contradicts those before it: its session was open already, or was not open"
        );
    }
}
