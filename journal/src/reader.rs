//! Reading committed facts from a position, while the writer goes on.

use std::marker::PhantomData;
use std::sync::Arc;

use thiserror::Error;

use crate::block::Block;
use crate::fact::{Fact, Position};
use crate::fault::Fault;
use crate::history::{History, SegmentInfo};
use crate::record::Record;
use crate::segment::{self, Kind, Walk};
use crate::storage::Storage;
use crate::wire::DecodeError;

/// Why facts could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Retention has removed what was asked for.
    #[error("position {} is no longer in the journal, which begins at {}", from.0, oldest.0)]
    Gone {
        /// What was asked for.
        from: Position,
        /// The oldest position that is left.
        oldest: Position,
    },
    /// What was asked for is not committed yet. A reader that stored its position itself has seen
    /// another journal, or this one before it was restored from a backup.
    #[error("position {} is not in the journal, which ends at {}", from.0, committed.0)]
    Ahead {
        /// What was asked for.
        from: Position,
        /// The position after the last committed fact.
        committed: Position,
    },
    /// A file could not be used.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Reads committed facts in order.
pub type Reader = RecordReader<Fact>;

/// Reads committed records in order.
///
/// It remembers where it stopped in a file, so that going on costs nothing: give each follower a
/// clone of its own. To jump elsewhere costs reading one segment up to there.
pub struct RecordReader<R> {
    storage: Arc<dyn Storage>,
    history: Arc<History>,
    place: Option<Place>,
    record: PhantomData<fn() -> R>,
}

struct Place {
    number: u64,
    walk: Walk,
}

impl<R: Record> Clone for RecordReader<R> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.storage), Arc::clone(&self.history))
    }
}

impl<R: Record> RecordReader<R> {
    pub(crate) fn new(storage: Arc<dyn Storage>, history: Arc<History>) -> Self {
        Self {
            storage,
            history,
            place: None,
            record: PhantomData,
        }
    }

    /// The position after the last committed fact: how far one can read now.
    #[must_use]
    pub fn committed(&self) -> Position {
        self.history.committed()
    }

    /// The position of the oldest fact that is left.
    #[must_use]
    pub fn oldest(&self) -> Position {
        self.history.oldest()
    }

    /// Appends the facts from position `from` to `into`: `max` of them, or fewer when that is all
    /// that is committed. Tells the position to go on from.
    ///
    /// # Errors
    /// When these facts were removed, are not committed, or cannot be read. What has been appended
    /// to `into` until then is right.
    pub fn read_from(
        &mut self,
        from: Position,
        max: usize,
        into: &mut Vec<(Position, R)>,
    ) -> Result<Position, ReadError> {
        let committed = self.history.committed();
        if from > committed {
            return Err(ReadError::Ahead { from, committed });
        }
        let (mut next, mut left) = (from, max);
        while left > 0 && next < committed {
            let Some(segment) = self.history.find(next) else {
                return Err(ReadError::Gone {
                    from: next,
                    oldest: self.history.oldest(),
                });
            };
            let before = into.len();
            let read = self.read_segment(&segment, next, left, into);
            // Facts come without gaps, so the number of them tells how far we are.
            left -= into.len() - before;
            next = Position(next.0 + (into.len() - before) as u64);
            if let Err(fault) = read {
                self.place = None;
                // The file may have been removed since we asked where to look.
                let oldest = self.history.oldest();
                let gone = next < oldest;
                return Err(if gone {
                    ReadError::Gone { from: next, oldest }
                } else {
                    fault.into()
                });
            }
        }
        Ok(next)
    }

    /// Reads facts of one segment; at least one unless it fails.
    fn read_segment(
        &mut self,
        segment: &SegmentInfo,
        from: Position,
        max: usize,
        into: &mut Vec<(Position, R)>,
    ) -> Result<(), Fault> {
        let storage = Arc::clone(&self.storage);
        let name = Kind::Segment.name(segment.number);
        let walk = self.walk_to(segment, from)?;
        let mut left = max;
        while left > 0 && walk.position < segment.end.0 {
            let offset = walk.offset;
            let block = walk
                .block(segment.bytes)
                .map_err(|error| segment::block_fault(&*storage, &name, offset, error))?;
            let next = segment::passed(&block, &*storage, &name)?;
            if next.1 > from.0 {
                left -= read_block(&block, from, left, into)
                    .map_err(|error| Fault::decode(storage.path(&name), offset, error))?;
            }
            // Where the reading stopped in the middle of a block, that block is read again.
            if into
                .last()
                .is_some_and(|(last, _)| left == 0 && last.0 + 1 < next.1)
            {
                break;
            }
            walk.pass(next);
        }
        Ok(())
    }

    /// The walk through a segment: the one at hand if it has not passed `from` yet.
    fn walk_to(&mut self, segment: &SegmentInfo, from: Position) -> Result<&mut Walk, Fault> {
        let place = match self.place.take() {
            Some(place) if place.number == segment.number && place.walk.position <= from.0 => place,
            _ => {
                let number = segment.number;
                let (file, header) = segment::open_valid(&*self.storage, Kind::Segment, number)?;
                Place {
                    number,
                    walk: Walk::new(file, header.salt, header.first),
                }
            }
        };
        Ok(&mut self.place.insert(place).walk)
    }
}

/// Takes up to `max` facts from `from` on out of a block; tells how many.
fn read_block<R: Record>(
    block: &Block<'_>,
    from: Position,
    max: usize,
    into: &mut Vec<(Position, R)>,
) -> Result<usize, DecodeError> {
    let before = into.len();
    for fact in block.facts() {
        let (position, fact) = fact?;
        if position >= from {
            into.push((position, fact));
        }
        if into.len() - before == max {
            break;
        }
    }
    Ok(into.len() - before)
}
