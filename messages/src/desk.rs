//! Log, book and SQLite together: what a thread of the server drives. It has no thread of its own
//! and reads no clock.
//!
//! A turn takes all requests that have come, commits what they came to with one sync, and lets the
//! answers out. SQLite follows in batches, see [`following`].

mod following;

use std::path::Path;
use std::sync::Arc;

use compact_str::CompactString;
use journal::{CommitError, Position, RecordLog};

use crate::answer::Letter;
use crate::book::{Book, Limits, Quota, Tally};
use crate::kept::{Directory, Kept};
use crate::record::{Record, Retain};
use crate::request::Request;
use crate::store::{Store, Task, Writer};

/// Records that nobody waits for are committed after this time at the latest, milliseconds.
const LAZY_MS: u64 = 50;

/// SQLite follows this often, milliseconds, if there is not much (see [`following`]).
const FLUSH_MS: u64 = 200;

/// After a failure, SQLite and the log are left alone for this time, milliseconds.
const RETRY_MS: u64 = 1_000;

/// How the desk works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Limits of what is kept.
    pub limits: Limits,
    /// A segment of the log of this size is closed, bytes.
    pub segment_bytes: u64,
}

/// Why what is kept could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log could not be opened, read or written.
    #[error("cannot use the log of messages: {0}")]
    Log(#[from] journal::Fault),
    /// SQLite's file could not be opened.
    #[error("{0}")]
    Store(#[from] views::OpenError),
    /// The log and SQLite's file do not belong together.
    #[error(
        "the log of messages does not fit messages.sqlite beside it ({0}); restore the data \
         directory from a backup, or move the directory `messages` away to start without stored \
         sessions and retained messages"
    )]
    Mismatch(#[from] journal::ReadError),
    /// SQLite's file could not be written.
    #[error("cannot write messages.sqlite: {0}")]
    Flush(#[from] rusqlite::Error),
}

/// What others are to know of a request while it waits.
enum Announced {
    Nothing,
    Client(Arc<Kept>, CompactString),
    Change(Arc<Kept>),
}

impl Announced {
    fn of(directory: &Directory, request: &Request) -> Self {
        match request {
            Request::Attach(attach) => {
                Self::Client(directory.org(&attach.org), attach.client_id.clone())
            }
            Request::Publish(publish) if publish.retain != Retain::No => {
                Self::Change(directory.org(&publish.org))
            }
            _ => Self::Nothing,
        }
    }

    fn enter(self) {
        match self {
            Self::Nothing => {}
            Self::Client(kept, client_id) => kept.arrive(&client_id),
            Self::Change(kept) => kept.change(),
        }
    }

    fn withdraw(self) {
        match self {
            Self::Nothing => {}
            Self::Client(kept, client_id) => kept.arrived(&client_id),
            Self::Change(kept) => kept.changed(),
        }
    }
}

/// Everything that is kept, and how.
pub struct Desk {
    book: Book,
    log: RecordLog<Record>,
    store: Store,
    /// None while another thread has it.
    writer: Option<Writer>,
    /// What it is to do there.
    task: Option<Task>,
    /// Whether a task is under way, taken or not.
    is_writing: bool,
    /// The log takes nothing: for tests.
    #[cfg(test)]
    is_broken: bool,
    /// SQLite has everything before.
    flushed: u64,
    /// SQLite has everything before even after a loss of power.
    settled: u64,
    flushed_ms: u64,
    flush_failed_ms: Option<u64>,
    failed_ms: Option<u64>,
    /// Since when records wait for a commit.
    waiting_since_ms: Option<u64>,
    /// Whether retained messages could go out at once.
    has_more: bool,
}

impl Desk {
    /// Opens what is kept in `dir`, or creates it: the log, and `messages.sqlite`. Sessions that
    /// the last process left attached are away from `now_ms` on (Unix milliseconds).
    ///
    /// `orgs` are the ids of all organisations there are, and what each may have. A quota that has
    /// become smaller takes nothing away: it lets in less. What is kept of others stays as it is:
    /// no time passes for it until they are there again.
    ///
    /// # Errors
    /// When files cannot be read or written, are damaged, or do not belong together.
    pub fn open(
        dir: &Path,
        settings: Settings,
        orgs: &[(&str, Quota)],
        now_ms: u64,
    ) -> Result<Self, OpenError> {
        let log_settings = journal::Settings {
            segment_bytes: settings.segment_bytes,
        };
        let (log, torn_bytes) = RecordLog::open_without_checkpoints(dir, log_settings)?;
        if torn_bytes > 0 {
            tracing::info!(
                torn_bytes,
                "cut an unacknowledged end of the log of messages"
            );
        }
        let (store, writer, mut state, flushed) = Store::open(&dir.join("messages.sqlite"))?;
        let (mut reader, mut next) = (log.reader(), Position(flushed));
        loop {
            let mut records = Vec::new();
            let end = reader.read_from(next, 256, &mut records)?;
            for (position, record) in records {
                state.apply(position.0, &record);
            }
            if end == next {
                break;
            }
            next = end;
        }
        let ids: Vec<_> = orgs.iter().map(|(id, _)| *id).collect();
        state.leave_alone_but(&ids);
        let mut book = Book::new(state, settings.limits, orgs, next.0);
        book.start(now_ms);
        Ok(Self::new(book, log, (store, writer), flushed, now_ms))
    }

    fn new(
        book: Book,
        log: RecordLog<Record>,
        (store, writer): (Store, Writer),
        flushed: u64,
        now_ms: u64,
    ) -> Self {
        Self {
            book,
            log,
            store,
            writer: Some(writer),
            task: None,
            is_writing: false,
            #[cfg(test)]
            is_broken: false,
            flushed,
            // Until it is settled once, nobody knows what of it the disk has.
            settled: 0,
            flushed_ms: now_ms,
            flush_failed_ms: None,
            failed_ms: None,
            waiting_since_ms: None,
            has_more: false,
        }
    }

    /// What any thread may look at.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.book.directory()
    }

    /// Takes a request. What it comes to is done by [`turn`](Self::turn).
    pub fn handle(&mut self, request: Request, now_ms: u64) {
        let announced = Announced::of(&self.book.directory(), &request);
        self.book.handle(request, now_ms, &mut self.store);
        announced.withdraw();
    }

    /// To be called when a request of this kind is put where it waits for
    /// [`handle`](Self::handle): from then on the client, or the change of a retained message, is known.
    pub fn arrives(directory: &Directory, request: &Request) {
        Announced::of(directory, request).enter();
    }

    /// To be called when a request that was announced by [`arrives`](Self::arrives) cannot be put
    /// there.
    pub fn leaves(directory: &Directory, request: &Request) {
        Announced::of(directory, request).withdraw();
    }

    /// Does what is due, makes durable what somebody waits for, and answers what may be said. To be
    /// called after all requests that have come were taken, and when [`wait_ms`](Self::wait_ms) is
    /// over.
    pub fn turn(&mut self, now_ms: u64) -> Vec<Letter> {
        self.book.tick(now_ms);
        self.has_more = self.book.read_on(now_ms, &mut self.store);
        let mut letters = self.book.take_prompt();
        for record in self.book.take_records() {
            self.log.append(&record);
            self.waiting_since_ms.get_or_insert(now_ms);
        }
        letters.extend(self.commit_if_due(now_ms));
        if self.failed_ms.is_none() && self.is_flush_due(now_ms) {
            self.flush(now_ms);
        }
        letters
    }

    /// How long there is nothing to do unless a request comes, milliseconds.
    #[must_use]
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        if self.has_more {
            return 0;
        }
        let retry = |since_ms: u64| since_ms + RETRY_MS;
        let times = [
            self.failed_ms.map(retry),
            self.flush_failed_ms.filter(|_| !self.is_writing).map(retry),
            self.book.next_deadline_ms(),
            // A failure has its own time.
            self.waiting_since_ms
                .filter(|_| self.failed_ms.is_none())
                .map(|since_ms| since_ms + LAZY_MS),
            (self.flushed < self.log.committed().0
                && self.flush_failed_ms.is_none()
                && !self.is_writing)
                .then(|| self.flushed_ms + FLUSH_MS),
        ];
        let next = times.into_iter().flatten().min();
        next.map_or(u64::MAX, |at_ms| at_ms.saturating_sub(now_ms))
    }

    /// Writes everything down for an orderly stop. Answers may still be in the letters.
    pub fn finish(&mut self, now_ms: u64) -> Vec<Letter> {
        self.waiting_since_ms = Some(0);
        let letters = self.turn(now_ms);
        self.flush(now_ms);
        self.settle(now_ms);
        letters
    }

    /// Whether the log cannot be written.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failed_ms.is_some()
    }

    /// What happened since the last call.
    pub fn take_tally(&mut self) -> Tally {
        self.book.take_tally()
    }

    /// Messages that wait in queues, each once, and the bytes of those in memory.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.book.waiting()
    }

    fn commit_if_due(&mut self, now_ms: u64) -> Vec<Letter> {
        if let Some(since_ms) = self.failed_ms {
            if now_ms < since_ms.saturating_add(RETRY_MS) && now_ms >= since_ms {
                return Vec::new();
            }
        } else if let Some(since_ms) = self.waiting_since_ms
            && !self.book.is_urgent()
            && now_ms < since_ms.saturating_add(LAZY_MS)
        {
            return self.book.take_letters();
        }
        match self.commit() {
            Ok(()) => {
                if self.failed_ms.take().is_some() {
                    tracing::warn!("the log of messages can be written again");
                }
                self.waiting_since_ms = None;
                self.book.committed()
            }
            Err(error) => self.fail(&error, now_ms),
        }
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        #[cfg(test)]
        if self.is_broken {
            return Err(CommitError(journal::Fault::Io {
                doing: "sync",
                path: "broken".into(),
                source: std::io::ErrorKind::StorageFull.into(),
            }));
        }
        self.log.commit().map(|_| ())
    }

    fn fail(&mut self, error: &CommitError, now_ms: u64) -> Vec<Letter> {
        if self.failed_ms.replace(now_ms).is_none() {
            tracing::error!(%error, "the log of messages cannot be written: \
                 stored sessions are refused, and messages for them");
        }
        self.book.failed(now_ms)
    }

    /// Lets the log fail, or work again.
    #[cfg(test)]
    pub(crate) fn break_log(&mut self, is_broken: bool) {
        self.is_broken = is_broken;
    }

    /// What a kill in the middle of a commit may leave: the first records of what was decided.
    #[cfg(test)]
    pub(crate) fn write_some(&mut self, count: usize) {
        for record in self.book.take_records().iter().take(count) {
            self.log.append(record);
        }
        if !self.is_broken {
            self.log.commit().expect("commits");
        }
    }

    /// Looks after the files, and after what has expired: to be called every few seconds.
    pub fn care(&mut self, now_ms: u64) {
        self.book.purge(now_ms);
        if self.settled < self.flushed && !self.is_writing {
            self.settle(now_ms);
        }
    }
}
