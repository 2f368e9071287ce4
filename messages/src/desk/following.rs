//! SQLite follows the log in batches, which another thread may write meanwhile. The log is kept from
//! where SQLite is certain to be after a loss of power.

use journal::Position;

use super::{Desk, FLUSH_MS, RETRY_MS};
use crate::store::{Batch, Done, Outcome, Task, What, Writer};

/// SQLite follows after so many records, or
const FLUSH_RECORDS: u64 = 4_096;

/// when so many bytes of messages wait in memory.
const FLUSH_BYTES: usize = 4 << 20;

/// With a flush under way and so many records after it, the writer is waited for.
const BEHIND_RECORDS_MAX: u64 = 16_384;

/// SQLite's write-ahead log is emptied when it is longer.
const WAL_BYTES_MAX: u64 = 64 << 20;

impl Desk {
    /// Takes the writer of SQLite's file away, so that another thread can do what
    /// [`take_task`](Self::take_task) says; until then it is done in [`turn`](Self::turn) and
    /// [`care`](Self::care). To be brought back before [`finish`](Self::finish).
    pub fn take_writer(&mut self) -> Option<Writer> {
        self.writer.take()
    }

    /// Brings the writer back: all that it was given must be [`done`](Self::done). What was not
    /// taken is done now.
    pub fn bring_writer(&mut self, mut writer: Writer, now_ms: u64) {
        let done = self.task.take().map(|task| writer.run(task));
        self.writer = Some(writer);
        if let Some(done) = done {
            self.done(done, now_ms);
        }
    }

    /// What the writer is to do next, if it is away; one thing at a time.
    pub fn take_task(&mut self) -> Option<Task> {
        self.task.take()
    }

    /// Whether the writer is so far behind that nothing new should be taken before it is done.
    #[must_use]
    pub fn is_far_behind(&self) -> bool {
        let behind = self.log.committed().0 - self.flushed;
        let bytes_max = self.book.memory_bytes_max() / 2;
        self.is_writing && (behind >= BEHIND_RECORDS_MAX || self.book.waiting().1 >= bytes_max)
    }

    /// Hears what became of a task.
    pub fn done(&mut self, done: Done, now_ms: u64) {
        self.is_writing = false;
        match done.0 {
            Outcome::Flush {
                batch,
                result,
                log_bytes,
            } => self.flush_done(*batch, result, log_bytes, now_ms),
            Outcome::Settle(result) => self.settle_done(result),
        }
    }

    pub(super) fn is_flush_due(&self, now_ms: u64) -> bool {
        if self.is_writing {
            return false;
        }
        if let Some(since_ms) = self.flush_failed_ms {
            return now_ms >= since_ms.saturating_add(RETRY_MS);
        }
        let behind = self.log.committed().0 - self.flushed;
        behind >= FLUSH_RECORDS
            || behind > 0
                && (now_ms >= self.flushed_ms.saturating_add(FLUSH_MS)
                    || self.book.waiting().1 >= FLUSH_BYTES)
    }

    /// Lets SQLite follow. Only when everything decided is committed: what it is told, the log has.
    pub(super) fn flush(&mut self, now_ms: u64) {
        let is_ready =
            self.failed_ms.is_none() && (self.waiting_since_ms.is_none() || self.commit().is_ok());
        if !is_ready {
            return;
        }
        self.flushed_ms = now_ms;
        let batch = Batch::gather(&mut self.book.state, self.log.committed().0);
        self.write(What::Flush(Box::new(batch)), now_ms);
    }

    /// Makes certain what SQLite has, and removes the segments of the log that it covers.
    pub(super) fn settle(&mut self, now_ms: u64) {
        self.write(What::Settle, now_ms);
    }

    /// Has the writer do it: at once, if it is here.
    fn write(&mut self, what: What, now_ms: u64) {
        self.is_writing = true;
        let task = Task(what);
        match &mut self.writer {
            Some(writer) => {
                let done = writer.run(task);
                self.done(done, now_ms);
            }
            None => self.task = Some(task),
        }
    }

    fn flush_done(
        &mut self,
        batch: Batch,
        result: rusqlite::Result<()>,
        log_bytes: u64,
        now_ms: u64,
    ) {
        match result {
            Ok(()) => {
                self.flushed = batch.position();
                batch.settle(&mut self.book.state);
                if self.flush_failed_ms.take().is_some() {
                    tracing::warn!("messages.sqlite can be written again");
                }
                if log_bytes > WAL_BYTES_MAX {
                    self.settle(now_ms);
                }
            }
            Err(error) => {
                batch.give_back(&mut self.book.state);
                if self.flush_failed_ms.replace(now_ms).is_none() {
                    tracing::error!(%error, "cannot write messages.sqlite, trying again");
                }
            }
        }
    }

    fn settle_done(&mut self, result: rusqlite::Result<()>) {
        if let Err(error) = result {
            tracing::warn!(%error, "cannot shorten the write-ahead log of messages.sqlite");
            return;
        }
        self.settled = self.flushed;
        if let Err(error) = self.log.forget_before(Position(self.settled)) {
            tracing::warn!(%error, "cannot remove an old segment of the log of messages");
        }
    }

    /// For tests in which the disk is full.
    #[cfg(test)]
    pub(crate) fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("it is here")
    }
}
