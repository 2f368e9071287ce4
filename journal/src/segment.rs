//! Segments: the files of the journal. Their names, their headers, and how one is read.
//!
//! ```text
//! magic 8 | format 4 | crc32 4 | number 8 | first position 8 | previous time 8 | salt 4 | crc32 4
//! `-- the same in every format --'`-- format 1 ------------------------------------------------'
//! ```
//!
//! The first position is the truth about where the segment before it ends: whatever that one holds
//! at or after it was never acknowledged. Checkpoints have the same header, with another magic.

use crate::block::{Block, BlockError, BlockReader, checksum, u32_at, u64_at};
use crate::fact::Position;
use crate::fault::Fault;
use crate::record::Record;
use crate::storage::{Storage, StoredFile, read_full, write_full};

/// The format that this program reads and writes.
const FORMAT: u32 = 1;
/// The length of a file's header.
pub(crate) const FILE_HEADER: usize = 48;
const PREAMBLE: usize = 16;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Facts in order.
    Segment,
    /// Which sessions were open when a segment began.
    Checkpoint,
}

impl Kind {
    /// The name of the file of this number.
    pub(crate) fn name(self, number: u64) -> String {
        match self {
            Self::Segment => format!("{number:010}.log"),
            Self::Checkpoint => format!("{number:010}.open"),
        }
    }

    /// The number in a file's name, if it is a file of this kind.
    pub(crate) fn number(self, name: &str) -> Option<u64> {
        let number = name.split_once('.')?.0.parse().ok()?;
        (self.name(number) == name).then_some(number)
    }

    fn magic(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"WHOSJRNL",
            Self::Checkpoint => *b"WHOSOPEN",
        }
    }
}

/// What stands at the beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Counts the segments; a checkpoint has the number of the segment that it stands before.
    pub(crate) number: u64,
    /// The position of the segment's first fact.
    pub(crate) first: Position,
    /// When the last fact before it happened, in Unix milliseconds; 0 if there is none.
    pub(crate) previous_ms: u64,
    /// What the checksums of its blocks start from.
    pub(crate) salt: u32,
}

/// Why there is no header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    OtherFormat(u32),
    Invalid,
}

impl Header {
    pub(crate) fn encode(&self, kind: Kind) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        bytes[..8].copy_from_slice(&kind.magic());
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        let preamble = checksum(0, &bytes[..12]);
        bytes[12..16].copy_from_slice(&preamble.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous_ms.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.salt.to_le_bytes());
        let rest = checksum(0, &bytes[..44]);
        bytes[44..].copy_from_slice(&rest.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], kind: Kind) -> Result<Self, HeaderError> {
        if bytes.len() < PREAMBLE
            || bytes[..8] != kind.magic()
            || u32_at(bytes, 12) != checksum(0, &bytes[..12])
        {
            return Err(HeaderError::Invalid);
        }
        let format = u32_at(bytes, 8);
        if format != FORMAT {
            return Err(HeaderError::OtherFormat(format));
        }
        if bytes.len() < FILE_HEADER || u32_at(bytes, 44) != checksum(0, &bytes[..44]) {
            return Err(HeaderError::Invalid);
        }
        Ok(Self {
            number: u64_at(bytes, 16),
            first: Position(u64_at(bytes, 24)),
            previous_ms: u64_at(bytes, 32),
            salt: u32_at(bytes, 40),
        })
    }
}

/// A header that could be read, or whatever stood in its place.
pub(crate) type HeaderRead = Result<Header, HeaderError>;

/// Opens a file and looks at its header.
pub(crate) fn open(
    storage: &dyn Storage,
    kind: Kind,
    number: u64,
) -> Result<(Box<dyn StoredFile>, HeaderRead), Fault> {
    let name = kind.name(number);
    let file = storage
        .open(&name)
        .map_err(Fault::io(storage, &name, "open"))?;
    let mut bytes = [0; FILE_HEADER];
    let read = read_full(&*file, &mut bytes, 0).map_err(Fault::io(storage, &name, "read"))?;
    let header = Header::decode(&bytes[..read], kind);
    Ok((file, header))
}

/// Opens a file whose header must be right.
pub(crate) fn open_valid(
    storage: &dyn Storage,
    kind: Kind,
    number: u64,
) -> Result<(Box<dyn StoredFile>, Header), Fault> {
    let (file, header) = open(storage, kind, number)?;
    let path = || storage.path(&kind.name(number));
    match header {
        Ok(header) if header.number == number => Ok((file, header)),
        Err(HeaderError::OtherFormat(found)) => Err(Fault::OtherFormat {
            path: path(),
            found,
            reads: FORMAT,
        }),
        Ok(_) => Err(Fault::Damaged {
            path: path(),
            offset: 0,
            what: "it is another file",
        }),
        Err(HeaderError::Invalid) => Err(Fault::Damaged {
            path: path(),
            offset: 0,
            what: "its header is wrong",
        }),
    }
}

/// Creates a file and makes its header durable, in place of one of this name that was given up.
pub(crate) fn create(
    storage: &dyn Storage,
    kind: Kind,
    name: &str,
    header: &Header,
) -> Result<Box<dyn StoredFile>, Fault> {
    match storage.remove(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Fault::io(storage, name, "remove")(error));
        }
        _ => {}
    }
    let file = storage
        .create(name)
        .map_err(Fault::io(storage, name, "create"))?;
    write_full(&*file, &header.encode(kind), 0).map_err(Fault::io(storage, name, "write"))?;
    file.sync().map_err(Fault::io(storage, name, "sync"))?;
    Ok(file)
}

/// Walks through the blocks of one file.
pub(crate) struct Walk {
    blocks: BlockReader,
    /// Where the next block begins.
    pub(crate) offset: u64,
    /// The position of its first fact.
    pub(crate) position: u64,
}

impl Walk {
    /// Begins at the first block; its facts count from `first`.
    pub(crate) fn new(file: Box<dyn StoredFile>, salt: u32, first: Position) -> Self {
        let blocks = BlockReader::new(file, salt);
        Self {
            blocks,
            offset: FILE_HEADER as u64,
            position: first.0,
        }
    }

    /// The next block, looking at nothing beyond `limit`. To go on, [`pass`](Self::pass) it.
    pub(crate) fn block(&mut self, limit: u64) -> Result<Block<'_>, BlockError> {
        let block = self.blocks.block_at(self.offset, limit)?;
        if block.first != self.position {
            return Err(BlockError::Invalid("a block has the wrong position"));
        }
        Ok(block)
    }

    /// Goes on behind a block.
    pub(crate) fn pass(&mut self, (offset, position): (u64, u64)) {
        self.offset = offset;
        self.position = position;
    }
}

/// Gives every fact of a segment to `each`, up to position `end`, which must be reached; tells where
/// in the file that is.
pub(crate) fn read_facts<R: Record>(
    storage: &dyn Storage,
    number: u64,
    end: Position,
    mut each: impl FnMut(Position, R),
) -> Result<u64, Fault> {
    let (file, header) = open_valid(storage, Kind::Segment, number)?;
    let name = Kind::Segment.name(number);
    let size = file.size().map_err(Fault::io(storage, &name, "read"))?;
    let mut walk = Walk::new(file, header.salt, header.first);
    while walk.position < end.0 {
        let offset = walk.offset;
        let block = walk
            .block(size)
            .map_err(|error| block_fault(storage, &name, offset, error))?;
        for fact in block.facts() {
            let (position, fact) =
                fact.map_err(|error| Fault::decode(storage.path(&name), offset, error))?;
            each(position, fact);
        }
        let next = passed(&block, storage, &name)?;
        walk.pass(next);
    }
    if walk.position > end.0 {
        let (path, offset) = (storage.path(&name), walk.offset);
        return Err(Fault::Damaged {
            path,
            offset,
            what: "it goes on beyond the next segment",
        });
    }
    Ok(walk.offset)
}

/// Where to go on behind a block of facts. One without facts would never be left.
pub(crate) fn passed(
    block: &Block<'_>,
    storage: &dyn Storage,
    name: &str,
) -> Result<(u64, u64), Fault> {
    if block.count == 0 {
        let (path, offset) = (storage.path(name), block.offset);
        return Err(Fault::Damaged {
            path,
            offset,
            what: "a block has no facts",
        });
    }
    Ok((block.end_offset(), block.end()))
}

/// A block that must be there is not.
pub(crate) fn block_fault(
    storage: &dyn Storage,
    name: &str,
    offset: u64,
    error: BlockError,
) -> Fault {
    match error {
        BlockError::Io(error) => Fault::io(storage, name, "read")(error),
        BlockError::Invalid(what) => Fault::Damaged {
            path: storage.path(name),
            offset,
            what,
        },
    }
}
