//! The end of the newest segment, where a crash may have interrupted a commit.
//!
//! What follows the last whole block belongs to a commit that was never acknowledged, and is cut;
//! unless a whole block of a *later* commit follows: then what does not read was acknowledged once,
//! and is damage. (The last commit itself, torn by a crash or damaged after it was acknowledged,
//! looks the same, and is cut.) Whole blocks of the interrupted commit stay: they are no
//! different from a commit whose acknowledgement did not get out any more.

use std::io::ErrorKind;
use std::ops::Range;

use crate::block::{BLOCK_HEADER, BLOCK_MAGIC, Block, BlockError};
use crate::fact::Position;
use crate::fault::Fault;
use crate::history::SegmentInfo;
use crate::record::Record;
use crate::segment::{self, Header, Kind, Walk};
use crate::storage::{Storage, StoredFile, read_full, write_full};

/// The newest segment, with its torn tail cut off.
pub(crate) struct Tail {
    pub(crate) file: Box<dyn StoredFile>,
    pub(crate) info: SegmentInfo,
    pub(crate) torn_bytes: u64,
}

impl Tail {
    /// Gives its facts to `each`, and makes it ready to be written to.
    pub(crate) fn recover<R: Record>(
        storage: &dyn Storage,
        header: &Header,
        mut each: impl FnMut(R),
    ) -> Result<Self, Fault> {
        let name = Kind::Segment.name(header.number);
        let (file, _) = segment::open_valid(storage, Kind::Segment, header.number)?;
        let size = file.size().map_err(Fault::io(storage, &name, "read"))?;
        let mut walk = Walk::new(file, header.salt, header.first);
        let mut last_ms = header.previous_ms;
        // Where the last commit begins. The header goes with the first.
        let mut commit = (header.first.0, 0);
        while walk.offset < size {
            let offset = walk.offset;
            let block = match walk.block(size) {
                Ok(block) => block,
                Err(BlockError::Io(error)) => return Err(Fault::io(storage, &name, "read")(error)),
                Err(BlockError::Invalid(what)) => {
                    refuse_if_acknowledged(storage, header, (walk.offset, walk.position), what)?;
                    break;
                }
            };
            if block.commit != commit.0 {
                commit = (block.commit, offset);
            }
            for fact in block.facts::<R>() {
                let (_, fact) =
                    fact.map_err(|error| Fault::decode(storage.path(&name), offset, error))?;
                last_ms = fact.at_ms();
                each(fact);
            }
            let next = segment::passed(&block, storage, &name)?;
            walk.pass(next);
        }
        let file = storage
            .open(&name)
            .map_err(Fault::io(storage, &name, "open"))?;
        settle(storage, &name, &*file, commit.1..walk.offset)?;
        let info = SegmentInfo {
            number: header.number,
            first: header.first,
            end: Position(walk.position),
            bytes: walk.offset,
            last_ms,
        };
        Ok(Self {
            file,
            info,
            torn_bytes: size - walk.offset,
        })
    }
}

/// Cuts what a segment holds behind `end`, where the next begins: were that one removed because it
/// is empty and its first commit fails, this would count again.
pub(crate) fn cut_void(storage: &dyn Storage, number: u64, end: u64) -> Result<(), Fault> {
    let name = Kind::Segment.name(number);
    let file = storage
        .open(&name)
        .map_err(Fault::io(storage, &name, "open"))?;
    if file.size().map_err(Fault::io(storage, &name, "read"))? == end {
        return Ok(());
    }
    file.set_size(end)
        .map_err(Fault::io(storage, &name, "cut"))?;
    file.sync().map_err(Fault::io(storage, &name, "sync"))
}

/// Cuts the segment at the end of its last commit, and makes that commit durable before anyone
/// builds on it.
///
/// It is written once more, unchanged: should a sync of it have failed in a former life, the
/// system's cache holds it as clean although the disk does not, and a mere sync would do nothing.
fn settle(
    storage: &dyn Storage,
    name: &str,
    file: &dyn StoredFile,
    last_commit: Range<u64>,
) -> Result<(), Fault> {
    file.set_size(last_commit.end)
        .map_err(Fault::io(storage, name, "cut"))?;
    let mut bytes = vec![0; (last_commit.end - last_commit.start) as usize];
    read_full(file, &mut bytes, last_commit.start).map_err(Fault::io(storage, name, "read"))?;
    match write_full(file, &bytes, last_commit.start) {
        // Some file systems need room even to write what is there. The log opens nevertheless.
        Err(error) if error.kind() == ErrorKind::StorageFull => {}
        written => written.map_err(Fault::io(storage, name, "write"))?,
    }
    file.sync().map_err(Fault::io(storage, name, "sync"))
}

/// Fails if a whole block of a later commit follows what does not read at `offset`, where the fact
/// at `position` should be.
fn refuse_if_acknowledged(
    storage: &dyn Storage,
    header: &Header,
    (offset, position): (u64, u64),
    what: &'static str,
) -> Result<(), Fault> {
    let name = Kind::Segment.name(header.number);
    let io = |error| Fault::io(storage, &name, "read")(error);
    let file = storage.open(&name).map_err(io)?;
    let mut rest = vec![0; (file.size().map_err(io)? - offset) as usize];
    let length = read_full(&*file, &mut rest, offset).map_err(io)?;
    rest.truncate(length);
    let starts = 0..rest.len().saturating_sub(BLOCK_HEADER);
    for start in starts.filter(|&start| rest[start..].starts_with(&BLOCK_MAGIC)) {
        let block = Block::parse(&rest[start..], header.salt, offset + start as u64);
        // A whole block right here has the wrong position, which no crash leaves behind.
        if block.is_ok_and(|block| start == 0 || block.commit > position) {
            return Err(Fault::Damaged {
                path: storage.path(&name),
                offset,
                what,
            });
        }
    }
    Ok(())
}
