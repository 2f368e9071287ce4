//! Which segments there are and how far they may be read: what the writer, the readers and the
//! maintenance share.
//!
//! The writer alone adds to it, after a commit has succeeded; maintenance alone takes from it,
//! before it removes files. The one lock is held for a few instructions, never during I/O.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fact::Position;

/// A segment with at least one committed fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    pub(crate) number: u64,
    pub(crate) first: Position,
    /// The position after its last committed fact.
    pub(crate) end: Position,
    /// Its length: nothing behind is committed.
    pub(crate) bytes: u64,
    /// When its last fact happened, in Unix milliseconds.
    pub(crate) last_ms: u64,
}

/// The segments, oldest first; each begins where the one before it ends.
pub(crate) struct History {
    committed: AtomicU64,
    segments: Mutex<VecDeque<SegmentInfo>>,
}

impl History {
    pub(crate) fn new(segments: VecDeque<SegmentInfo>, committed: Position) -> Self {
        Self {
            committed: AtomicU64::new(committed.0),
            segments: Mutex::new(segments),
        }
    }

    /// The position after the last committed fact.
    pub(crate) fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Acquire))
    }

    /// The position of the oldest fact that is left; `committed` if none is.
    pub(crate) fn oldest(&self) -> Position {
        let segments = self.lock();
        segments
            .front()
            .map_or_else(|| self.committed(), |segment| segment.first)
    }

    /// The segment that holds the fact at `position`.
    pub(crate) fn find(&self, position: Position) -> Option<SegmentInfo> {
        let segments = self.lock();
        let index = segments.partition_point(|segment| segment.end <= position);
        segments
            .get(index)
            .filter(|segment| segment.first <= position)
            .copied()
    }

    /// All segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        self.lock().iter().copied().collect()
    }

    /// A commit to this segment has succeeded.
    pub(crate) fn extend(&self, segment: SegmentInfo) {
        let mut segments = self.lock();
        match segments.back_mut() {
            Some(last) if last.number == segment.number => *last = segment,
            _ => segments.push_back(segment),
        }
        // Last, so that whoever sees the new end finds the segment.
        self.committed.store(segment.end.0, Ordering::Release);
    }

    /// Forgets the oldest segment, if it is this one.
    pub(crate) fn forget(&self, number: u64) {
        let mut segments = self.lock();
        if segments
            .front()
            .is_some_and(|segment| segment.number == number)
        {
            segments.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SegmentInfo>> {
        // Every change is complete when it panics, if it ever does.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
