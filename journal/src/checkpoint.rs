//! Checkpoints: which sessions were open when a segment began, so that a start need not read what
//! came before.
//!
//! The checkpoint before segment k+1 is the one before segment k, without the sessions that ended
//! in segment k, and then the sessions that opened in segment k and did not end there. It is made
//! beside the writer from files that no longer change, and takes memory for the endings of one
//! segment, however many sessions are open. A file becomes a checkpoint by its name, after its
//! content is durable; it ends with a mark, and is nothing without it.

use std::collections::HashSet;

use crate::block::Batch;
use crate::fact::{Fact, Opened, Position, SessionId};
use crate::fault::Fault;
use crate::history::SegmentInfo;
use crate::log::salt;
use crate::segment::{self, FILE_HEADER, Header, Kind, Walk, block_fault};
use crate::storage::{Storage, StoredFile, write_full};

/// The end of the name of a checkpoint that is being made.
pub(crate) const UNFINISHED: &str = ".unfinished";

/// So much is written between two syncs: a commit of the log may have to wait for as much.
const SYNC_BYTES: usize = if cfg!(test) { 400 } else { 1024 * 1024 };

/// Makes the checkpoint before the segment that follows `segment`, from the one before `segment`.
pub(crate) fn make(storage: &dyn Storage, segment: &SegmentInfo) -> Result<(), Fault> {
    let mut ended = HashSet::new();
    segment::read_facts(storage, segment.number, segment.end, |_, fact: Fact| {
        if let Fact::Ended(fact) = fact {
            ended.insert(fact.session);
        }
    })?;
    let header = Header {
        number: segment.number + 1,
        first: segment.end,
        previous_ms: segment.last_ms,
        salt: salt(),
    };
    let mut writer = Writer::create(storage, header)?;
    // The number 0 needs no file: nothing was open before the first segment.
    if segment.number > 0 {
        read(storage, segment.number, segment.first, |opened| {
            writer.add(opened, &ended)
        })?;
    }
    segment::read_facts(storage, segment.number, segment.end, |_, fact: Fact| {
        if let Fact::Opened(opened) = fact {
            writer.add(opened, &ended);
        }
    })?;
    writer.finish()
}

/// Gives every session of the checkpoint before segment `number`, which begins at `first`, to
/// `each`.
pub(crate) fn read(
    storage: &dyn Storage,
    number: u64,
    first: Position,
    mut each: impl FnMut(Opened),
) -> Result<(), Fault> {
    let (file, header) = segment::open_valid(storage, Kind::Checkpoint, number)?;
    let name = Kind::Checkpoint.name(number);
    let damaged = |offset, what| Fault::Damaged {
        path: storage.path(&name),
        offset,
        what,
    };
    if header.first != first {
        return Err(damaged(0, "it does not fit its segment"));
    }
    let size = file.size().map_err(Fault::io(storage, &name, "read"))?;
    let mut walk = Walk::new(file, header.salt, Position(0));
    loop {
        let offset = walk.offset;
        let block = walk
            .block(size)
            .map_err(|error| block_fault(storage, &name, offset, error))?;
        for fact in block.facts::<Fact>() {
            match fact.map_err(|error| Fault::decode(storage.path(&name), offset, error))? {
                (_, Fact::Opened(opened)) => each(opened),
                (_, Fact::Ended(_)) => return Err(damaged(offset, "it holds an ending")),
            }
        }
        if block.count == 0 {
            return Ok(());
        }
        let next = (block.end_offset(), block.end());
        walk.pass(next);
    }
}

/// A checkpoint that is being made.
struct Writer<'a> {
    storage: &'a dyn Storage,
    number: u64,
    file: Box<dyn StoredFile>,
    salt: u32,
    offset: u64,
    batch: Batch,
    /// The first error: what is added after it goes nowhere.
    failed: Option<Fault>,
}

impl<'a> Writer<'a> {
    fn create(storage: &'a dyn Storage, header: Header) -> Result<Self, Fault> {
        let name = unfinished(header.number);
        let file = segment::create(storage, Kind::Checkpoint, &name, &header)?;
        Ok(Self {
            storage,
            number: header.number,
            file,
            salt: header.salt,
            offset: FILE_HEADER as u64,
            batch: Batch::new(Position(0)),
            failed: None,
        })
    }

    fn add(&mut self, opened: Opened, ended: &HashSet<SessionId>) {
        if self.failed.is_some() || ended.contains(&opened.session) {
            return;
        }
        self.batch.push(&Fact::Opened(opened));
        if self.batch.size() >= SYNC_BYTES {
            self.failed = self.flush().err();
        }
    }

    fn finish(mut self) -> Result<(), Fault> {
        if let Some(fault) = self.failed {
            return Err(fault);
        }
        self.batch.push_end_mark();
        self.flush()?;
        let (from, to) = (unfinished(self.number), Kind::Checkpoint.name(self.number));
        self.storage
            .rename(&from, &to)
            .map_err(Fault::io(self.storage, &from, "rename"))?;
        self.storage
            .sync_names()
            .map_err(Fault::io(self.storage, &to, "rename"))
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let name = unfinished(self.number);
        let bytes = self.batch.seal(self.salt);
        write_full(&*self.file, bytes, self.offset).map_err(Fault::io(
            self.storage,
            &name,
            "write",
        ))?;
        self.file
            .sync()
            .map_err(Fault::io(self.storage, &name, "sync"))?;
        self.offset += bytes.len() as u64;
        self.batch.clear(self.batch.end());
        Ok(())
    }
}

fn unfinished(number: u64) -> String {
    Kind::Checkpoint.name(number) + UNFINISHED
}
