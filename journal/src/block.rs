//! Blocks: runs of records with a length and a checksum, one after the other in a file.
//!
//! A commit is one or more blocks, written together. Each names the position of its first fact and
//! that of its commit's first fact, so that a reader notices when something is missing, and so
//! that recovery can tell blocks of one torn commit from those of a later one. The checksum starts
//! from a salt of the file: what an older file left on the disk, or what a client put into a name,
//! is never taken for a block.
//!
//! ```text
//! magic 4 | crc32 4 | payload length 4 | first position 8 | of commit 4 | facts 4 | payload
//!                    `-- all that the checksum covers: from here to the end ------------'
//! ```
//!
//! `of commit` is how many facts of the same commit come before.

use std::io;
use std::marker::PhantomData;

use crate::fact::Position;
use crate::record::Record;
use crate::storage::{StoredFile, read_full};
use crate::wire::DecodeError;

/// The length of a block's header.
pub(crate) const BLOCK_HEADER: usize = 28;
/// What every block begins with.
pub(crate) const BLOCK_MAGIC: [u8; 4] = *b"WHJB";

/// A block is closed when its payload has this many bytes. It bounds what must be read and
/// checked again by one who stops in the middle of a block. Tests have many small blocks.
const PAYLOAD_BYTES: usize = if cfg!(test) { 150 } else { 64 * 1024 };
/// How much is read from a file at once.
const WINDOW_BYTES: u64 = if cfg!(test) { 250 } else { 256 * 1024 };

/// Facts on their way to a file.
pub(crate) struct Batch {
    first: u64,
    count: u64,
    bytes: Vec<u8>,
    blocks: Vec<Span>,
}

/// A block within a batch.
struct Span {
    start: usize,
    first: u64,
    count: u32,
}

impl Batch {
    /// An empty batch whose first fact will have this position.
    pub(crate) fn new(first: Position) -> Self {
        Self {
            first: first.0,
            count: 0,
            bytes: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// The position of the next fact.
    pub(crate) fn end(&self) -> Position {
        Position(self.first + self.count)
    }

    /// How many facts it has.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How long it will be on disk, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a fact.
    pub(crate) fn push(&mut self, record: &impl Record) {
        let full = |span: &Span| self.bytes.len() - span.start >= BLOCK_HEADER + PAYLOAD_BYTES;
        if self.blocks.last().is_none_or(full) {
            self.begin_block();
        }
        record.encode(&mut self.bytes);
        self.count += 1;
        if let Some(block) = self.blocks.last_mut() {
            block.count += 1;
        }
    }

    /// Adds a block without facts, which says that the file is complete.
    pub(crate) fn push_end_mark(&mut self) {
        self.begin_block();
    }

    /// Fills in the blocks' headers for a file with this salt. Can be done again for another.
    pub(crate) fn seal(&mut self, salt: u32) -> &[u8] {
        let ends = self.blocks.iter().skip(1).map(|block| block.start);
        let ends: Vec<usize> = ends.chain([self.bytes.len()]).collect();
        for (block, end) in self.blocks.iter().zip(ends) {
            let bytes = &mut self.bytes[block.start..end];
            let payload = (bytes.len() - BLOCK_HEADER) as u32;
            bytes[..4].copy_from_slice(&BLOCK_MAGIC);
            bytes[8..12].copy_from_slice(&payload.to_le_bytes());
            bytes[12..20].copy_from_slice(&block.first.to_le_bytes());
            bytes[20..24].copy_from_slice(&((block.first - self.first) as u32).to_le_bytes());
            bytes[24..28].copy_from_slice(&block.count.to_le_bytes());
            let checksum = checksum(salt, &bytes[8..]);
            bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        }
        &self.bytes
    }

    /// Drops all facts; the next will have position `first`.
    pub(crate) fn clear(&mut self, first: Position) {
        self.first = first.0;
        self.count = 0;
        self.bytes.clear();
        self.blocks.clear();
    }

    fn begin_block(&mut self) {
        let first = self.end().0;
        self.blocks.push(Span {
            start: self.bytes.len(),
            first,
            count: 0,
        });
        self.bytes.resize(self.bytes.len() + BLOCK_HEADER, 0);
    }
}

/// A block whose checksum is right.
pub(crate) struct Block<'a> {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// The position of its first fact.
    pub(crate) first: u64,
    /// The position of its commit's first fact.
    pub(crate) commit: u64,
    /// How many facts it has.
    pub(crate) count: u32,
    payload: &'a [u8],
}

/// Why there is no block.
#[derive(Debug)]
pub(crate) enum BlockError {
    Io(io::Error),
    Invalid(&'static str),
}

impl<'a> Block<'a> {
    /// Reads the block that `bytes` begin with; `offset` is where they lie in the file.
    pub(crate) fn parse(bytes: &'a [u8], salt: u32, offset: u64) -> Result<Self, BlockError> {
        let length = Self::length(bytes)?;
        let Some((header, payload)) = bytes.get(..length).map(|all| all.split_at(BLOCK_HEADER))
        else {
            return Err(BlockError::Invalid("a block ends too early"));
        };
        if checksum(salt, &bytes[8..length]) != u32_at(header, 4) {
            return Err(BlockError::Invalid("the checksum of a block is wrong"));
        }
        let first = u64_at(header, 12);
        let commit = first.checked_sub(u64::from(u32_at(header, 20)));
        let commit = commit.ok_or(BlockError::Invalid("a block before the first position"))?;
        Ok(Self {
            offset,
            first,
            commit,
            count: u32_at(header, 24),
            payload,
        })
    }

    /// How long the block is that `bytes` begin with, if they begin with one.
    fn length(bytes: &[u8]) -> Result<usize, BlockError> {
        if bytes.len() < BLOCK_HEADER {
            return Err(BlockError::Invalid("a block ends too early"));
        }
        if bytes[..4] != BLOCK_MAGIC {
            return Err(BlockError::Invalid("there is no block"));
        }
        Ok(BLOCK_HEADER + u32_at(bytes, 8) as usize)
    }

    /// Where the next block begins in the file.
    pub(crate) fn end_offset(&self) -> u64 {
        self.offset + (BLOCK_HEADER + self.payload.len()) as u64
    }

    /// The position after its last fact.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Its facts. After an error there are no more.
    pub(crate) fn facts<R: Record>(&self) -> Facts<'a, R> {
        Facts {
            rest: self.payload,
            next: self.first,
            end: self.end(),
            record: PhantomData,
        }
    }
}

/// The facts of a block, in order.
pub(crate) struct Facts<'a, R> {
    rest: &'a [u8],
    next: u64,
    end: u64,
    record: PhantomData<R>,
}

impl<R: Record> Iterator for Facts<'_, R> {
    type Item = Result<(Position, R), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            let too_long = !std::mem::take(&mut self.rest).is_empty();
            let error = DecodeError::Malformed("a block has more bytes than facts");
            return too_long.then_some(Err(error));
        }
        let position = Position(self.next);
        self.next += 1;
        let fact = R::decode(&mut self.rest);
        if fact.is_err() {
            (self.rest, self.next) = (&[], self.end);
        }
        Some(fact.map(|fact| (position, fact)))
    }
}

/// Reads blocks from a file in pieces.
pub(crate) struct BlockReader {
    file: Box<dyn StoredFile>,
    salt: u32,
    window: Vec<u8>,
    window_start: u64,
}

impl BlockReader {
    pub(crate) fn new(file: Box<dyn StoredFile>, salt: u32) -> Self {
        Self {
            file,
            salt,
            window: Vec::new(),
            window_start: 0,
        }
    }

    /// The block at `offset`. Nothing at or beyond `limit` is looked at: there a writer may be at
    /// work.
    pub(crate) fn block_at(&mut self, offset: u64, limit: u64) -> Result<Block<'_>, BlockError> {
        let available = limit.saturating_sub(offset);
        self.fill(offset, available.min(BLOCK_HEADER as u64), limit)?;
        let length = Block::length(self.at(offset))? as u64;
        if length > available {
            return Err(BlockError::Invalid("a block ends too early"));
        }
        self.fill(offset, length, limit)?;
        Block::parse(self.at(offset), self.salt, offset)
    }

    /// Makes `length` bytes at `offset` available, if the file has them.
    fn fill(&mut self, offset: u64, length: u64, limit: u64) -> Result<(), BlockError> {
        let window_end = self.window_start + self.window.len() as u64;
        if self.window_start <= offset && offset + length <= window_end {
            return Ok(());
        }
        let wanted = length.max(WINDOW_BYTES).min(limit.saturating_sub(offset));
        self.window.resize(wanted as usize, 0);
        self.window_start = offset;
        let read = read_full(&*self.file, &mut self.window, offset);
        self.window.truncate(*read.as_ref().unwrap_or(&0));
        read.map(|_| ()).map_err(BlockError::Io)
    }

    fn at(&self, offset: u64) -> &[u8] {
        self.window
            .get((offset - self.window_start) as usize..)
            .unwrap_or_default()
    }
}

/// The checksum of what follows it, begun from the salt of the file.
pub(crate) fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// The number at a fixed place of a header whose length has been checked.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The number at a fixed place of a header whose length has been checked.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
