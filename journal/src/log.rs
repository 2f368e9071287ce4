//! The log: the single writer. Facts are appended to a batch in memory, and a commit makes the
//! batch durable or leaves it as it was.
//!
//! After a failure the segment is closed for good: what a failed sync left in the system's cache
//! can be clean there and yet not on the disk, so that syncing once more proves nothing. The batch
//! goes into a new segment, whose first position is where the committed facts end; whatever the
//! old one holds from there on is void for every reader and for recovery. A segment in which
//! nothing was ever committed leaves no trace: its number is used again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::block::Batch;
use crate::fact::{Fact, Opened, Position};
use crate::fault::Fault;
use crate::history::{History, SegmentInfo};
use crate::maintenance::Maintenance;
use crate::reader::RecordReader;
use crate::record::Record;
use crate::recovery::{self, Everything, OpenSessions, State};
use crate::segment::{self, FILE_HEADER, Header, Kind};
use crate::storage::{Directory, Storage, StoredFile, write_full};

/// How the log lays out its files.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A segment that has this many bytes is closed and a new one begun. Retention removes whole
    /// segments, and a start reads one or two: smaller segments keep closer to both limits and
    /// make checkpoints more often. A commit is never divided, so a segment can be longer by one.
    pub segment_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What was found when the log was opened.
#[derive(Debug)]
pub struct Recovered {
    /// The sessions that are open as far as the journal knows, in the order of their opening.
    pub open: Vec<Opened>,
    /// The position after the last fact.
    pub end: Position,
    /// How many bytes at the end belonged to a commit that was never acknowledged, and were cut.
    pub torn_bytes: u64,
}

/// Nothing of the batch is in the log as far as any reader is concerned, and all of it is still in
/// memory: commit again, or abandon it.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct CommitError(#[from] pub Fault);

/// The journal of facts on this machine, to be written by one.
pub type Log = RecordLog<Fact>;

/// A log of records on this machine, to be written by one.
pub struct RecordLog<R> {
    storage: Arc<dyn Storage>,
    settings: Settings,
    history: Arc<History>,
    active: Option<Active>,
    batch: Batch,
    /// The number that the next segment gets.
    next_number: u64,
    /// When the last committed fact happened.
    committed_ms: u64,
    /// When the last appended fact happened.
    appended_ms: u64,
    record: PhantomData<fn(&R)>,
}

/// The segment that is written to.
pub(crate) struct Active {
    pub(crate) file: Box<dyn StoredFile>,
    pub(crate) header: Header,
    /// Its length: everything behind was never acknowledged.
    pub(crate) bytes: u64,
}

impl RecordLog<Fact> {
    /// Opens the journal in `dir`, or creates it.
    ///
    /// Locks nothing: the caller sees to it that no other process has it open. A torn tail is cut.
    /// Reads the newest checkpoint and the segments after it.
    ///
    /// # Errors
    /// When files cannot be read or cut, are damaged or missing, or have another format. Nothing
    /// that was committed has been changed then.
    pub fn open(dir: &Path, settings: Settings) -> Result<(Self, Recovered), Fault> {
        let storage = Directory::open(dir).map_err(|source| Fault::Io {
            doing: "create",
            path: dir.to_owned(),
            source,
        })?;
        Self::open_on(Arc::new(storage), settings)
    }

    /// [`open`](Self::open) on any storage.
    pub(crate) fn open_on(
        storage: Arc<dyn Storage>,
        settings: Settings,
    ) -> Result<(Self, Recovered), Fault> {
        let mut open = OpenSessions::default();
        let state = recovery::recover(&*storage, &mut open)?;
        let recovered = Recovered {
            open: open.finish(),
            end: state.end,
            torn_bytes: state.torn_bytes,
        };
        Ok((Self::begin(storage, settings, state), recovered))
    }

    /// What is to be done beside the writing now and then, on another thread. Make it once.
    #[must_use]
    pub fn maintenance(&self) -> Maintenance {
        Maintenance::new(Arc::clone(&self.storage), Arc::clone(&self.history))
    }
}

/// How far a log is. Cheap to ask, from any thread.
#[derive(Clone)]
pub struct End(Arc<History>);

impl End {
    /// The position after the last durable fact.
    #[must_use]
    pub fn position(&self) -> Position {
        self.0.committed()
    }
}

impl<R: Record> RecordLog<R> {
    /// Opens a log that needs no checkpoints in `dir`, or creates it: whoever follows it keeps
    /// what it says in a place of their own, and the position up to which they have.
    ///
    /// Tells how many bytes at the end belonged to a commit that was never acknowledged, and were
    /// cut. Locks nothing, and reads every segment that is left; see
    /// [`forget_before`](Self::forget_before).
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_without_checkpoints(dir: &Path, settings: Settings) -> Result<(Self, u64), Fault> {
        let storage = Directory::open(dir).map_err(|source| Fault::Io {
            doing: "create",
            path: dir.to_owned(),
            source,
        })?;
        Self::open_all_on(Arc::new(storage), settings)
    }

    /// [`open_without_checkpoints`](Self::open_without_checkpoints) on any storage.
    pub(crate) fn open_all_on(
        storage: Arc<dyn Storage>,
        settings: Settings,
    ) -> Result<(Self, u64), Fault> {
        let state = recovery::recover::<R>(&*storage, &mut Everything)?;
        let torn_bytes = state.torn_bytes;
        Ok((Self::begin(storage, settings, state), torn_bytes))
    }

    fn begin(storage: Arc<dyn Storage>, settings: Settings, state: State) -> Self {
        Self {
            storage,
            settings,
            history: Arc::new(History::new(state.segments, state.end)),
            active: state.active,
            batch: Batch::new(state.end),
            next_number: state.next_number,
            committed_ms: state.last_ms,
            appended_ms: state.last_ms,
            record: PhantomData,
        }
    }

    /// Removes the segments that hold nothing at or after `keep_from`, oldest first; the newest
    /// always stays. Tells how many. Only for a log without checkpoints: a start of any other
    /// needs them.
    ///
    /// # Errors
    /// When a file cannot be removed: it and those after it go with a later call, or are read
    /// once more by the next start.
    pub fn forget_before(&mut self, keep_from: Position) -> Result<u64, Fault> {
        let segments = self.history.segments();
        let Some((_, sealed)) = segments.split_last() else {
            return Ok(0);
        };
        let mut removed = 0;
        for segment in sealed.iter().take_while(|segment| segment.end <= keep_from) {
            let name = Kind::Segment.name(segment.number);
            match self.storage.remove(&name) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Fault::io(&*self.storage, &name, "remove")(error));
                }
                _ => {}
            }
            // One by one: a later one may go only when this one is certain not to come back.
            self.storage
                .sync_names()
                .map_err(Fault::io(&*self.storage, &name, "remove"))?;
            self.history.forget(segment.number);
            removed += 1;
        }
        Ok(removed)
    }

    /// Appends a record to the batch that the next commit writes, and tells the position that it
    /// will have there.
    ///
    /// The batch is in memory and has no limit of its own.
    pub fn append(&mut self, record: &R) -> Position {
        let position = self.batch.end();
        self.batch.push(record);
        self.appended_ms = record.at_ms();
        position
    }

    /// Makes all that was appended since the last commit durable: one write and one sync, besides
    /// what a new segment takes. Tells the positions of these facts.
    ///
    /// # Errors
    /// When it cannot be written or synced. The batch stays in memory: this can be called again,
    /// or [`abandon`](Self::abandon). Should the process end before either succeeds, the facts may
    /// or may not be there after the next start, as with any commit that was not acknowledged.
    pub fn commit(&mut self) -> Result<Range<Position>, CommitError> {
        let committed = self.committed();
        if self.batch.count() == 0 {
            return Ok(committed..committed);
        }
        let mut active = match self.active.take() {
            Some(active) if active.bytes < self.settings.segment_bytes => active,
            _ => self.begin_segment()?,
        };
        if let Err(fault) = self.write_batch(&mut active) {
            self.give_up(&active);
            return Err(fault.into());
        }
        let end = self.batch.end();
        self.committed_ms = self.appended_ms;
        self.history.extend(SegmentInfo {
            number: active.header.number,
            first: active.header.first,
            end,
            bytes: active.bytes,
            last_ms: self.committed_ms,
        });
        self.next_number = active.header.number + 1;
        self.active = Some(active);
        self.batch.clear(end);
        Ok(committed..end)
    }

    /// Drops all that was appended since the last commit. Its positions are given out again.
    ///
    /// After a failed commit, a crash before facts are committed again can bring back the first of
    /// what was dropped, as with any commit that was not acknowledged; never later.
    pub fn abandon(&mut self) {
        self.batch.clear(self.committed());
        self.appended_ms = self.committed_ms;
    }

    /// How many facts wait for the next commit.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.batch.count()
    }

    /// How many bytes wait for the next commit.
    #[must_use]
    pub fn appended_bytes(&self) -> usize {
        self.batch.size()
    }

    /// The position after the last durable fact.
    #[must_use]
    pub fn committed(&self) -> Position {
        self.history.committed()
    }

    /// The position of the oldest fact that retention has left; [`committed`](Self::committed) if
    /// there is none.
    #[must_use]
    pub fn oldest(&self) -> Position {
        self.history.oldest()
    }

    /// A reader of what is committed now and from now on. It can go to another thread.
    #[must_use]
    pub fn reader(&self) -> RecordReader<R> {
        RecordReader::new(Arc::clone(&self.storage), Arc::clone(&self.history))
    }

    /// Tells any thread how far the log is.
    #[must_use]
    pub fn end(&self) -> End {
        End(Arc::clone(&self.history))
    }

    fn begin_segment(&self) -> Result<Active, Fault> {
        let header = Header {
            number: self.next_number,
            first: self.committed(),
            previous_ms: self.committed_ms,
            salt: salt(),
        };
        let name = Kind::Segment.name(header.number);
        let file = segment::create(&*self.storage, Kind::Segment, &name, &header)?;
        self.storage
            .sync_names()
            .map_err(Fault::io(&*self.storage, &name, "create"))?;
        Ok(Active {
            file,
            header,
            bytes: FILE_HEADER as u64,
        })
    }

    fn write_batch(&mut self, active: &mut Active) -> Result<(), Fault> {
        let name = Kind::Segment.name(active.header.number);
        let bytes = self.batch.seal(active.header.salt);
        write_full(&*active.file, bytes, active.bytes).map_err(Fault::io(
            &*self.storage,
            &name,
            "write",
        ))?;
        active
            .file
            .sync()
            .map_err(Fault::io(&*self.storage, &name, "sync"))?;
        active.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Takes what was not acknowledged out of a segment, if the system lets us: that frees its
    /// space, and a start finds nothing there to recover. Nothing depends on it.
    fn give_up(&self, active: &Active) {
        let name = Kind::Segment.name(active.header.number);
        let done = if active.header.first == self.committed() {
            self.storage.remove(&name)
        } else {
            active.file.set_size(active.bytes)
        };
        if let Err(error) = done {
            tracing::warn!(segment = name, %error, "cannot take back an unacknowledged write");
        }
    }
}

/// A number that no client can guess; see the block format.
pub(crate) fn salt() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}
