//! What is done beside the writing: checkpoints, and the removal of what is too old or too much.
//!
//! It touches only files that the writer has left for good, so it needs no lock and no pause.

use std::io::ErrorKind;
use std::sync::Arc;

use crate::checkpoint;
use crate::fact::Position;
use crate::fault::Fault;
use crate::history::{History, SegmentInfo};
use crate::recovery;
use crate::segment::Kind;
use crate::storage::Storage;

/// So many checkpoints are kept: should the newest not read, a start uses the one before.
const CHECKPOINTS_KEPT: usize = 2;

/// How much history to keep. Without a limit, all of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retention {
    /// A segment whose last fact is older than this goes, in milliseconds. Where the clock was
    /// set back, the age counts from the time that the facts carry.
    pub age_ms: Option<u64>,
    /// The oldest segments go until the rest is no longer than this. Checkpoints do not count, and
    /// two to three segments always stay.
    pub bytes: Option<u64>,
}

/// What a run did and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Checkpoints that were made.
    pub checkpoints_made: u64,
    /// Segments that were removed.
    pub segments_removed: u64,
    /// Their length.
    pub bytes_removed: u64,
    /// Segments that retention would have removed, but which hold what is still to be delivered.
    pub segments_held_back: u64,
    /// Their length.
    pub bytes_held_back: u64,
    /// Segments that are left.
    pub segments: u64,
    /// Their length.
    pub bytes: u64,
}

/// The work beside the writer.
pub struct Maintenance {
    storage: Arc<dyn Storage>,
    history: Arc<History>,
    /// Segments that nobody reads any more and whose files are to be removed, oldest first.
    doomed: Vec<u64>,
}

impl Maintenance {
    pub(crate) fn new(storage: Arc<dyn Storage>, history: Arc<History>) -> Self {
        Self {
            storage,
            history,
            doomed: Vec::new(),
        }
    }

    /// Makes the checkpoints that are missing, and removes segments that retention does not keep
    /// and checkpoints that newer ones replace.
    ///
    /// No fact at or after `keep_from` is removed, whatever the retention: it is still to be
    /// delivered. The report says when that held something back. Run it about once a minute, and
    /// when the disk is full.
    ///
    /// # Errors
    /// When files cannot be read, written or removed. What could be done nevertheless has been;
    /// the next run does the rest.
    pub fn run(
        &mut self,
        now_ms: u64,
        keep_from: Position,
        retention: Retention,
    ) -> Result<Report, Fault> {
        let mut report = Report::default();
        // When the disk is full no checkpoint can be made, but removing can make room.
        let made = self.make_checkpoints(&mut report);
        let removed = self.remove(now_ms, keep_from, retention, &mut report);
        let left = self.history.segments();
        report.segments = left.len() as u64;
        report.bytes = left.iter().map(|segment| segment.bytes).sum();
        made.and(removed).map(|()| report)
    }

    /// One for each segment that the writer has left, in order.
    fn make_checkpoints(&self, report: &mut Report) -> Result<(), Fault> {
        let newest = self.checkpoints()?.last().copied().unwrap_or(0);
        let segments = self.history.segments();
        let Some((_, sealed)) = segments.split_last() else {
            return Ok(());
        };
        for segment in sealed.iter().filter(|segment| segment.number >= newest) {
            checkpoint::make(&*self.storage, segment)?;
            report.checkpoints_made += 1;
        }
        Ok(())
    }

    fn remove(
        &mut self,
        now_ms: u64,
        keep_from: Position,
        retention: Retention,
        report: &mut Report,
    ) -> Result<(), Fault> {
        let mut checkpoints = self.checkpoints()?;
        let kept = checkpoints.split_off(checkpoints.len().saturating_sub(CHECKPOINTS_KEPT));
        for number in checkpoints {
            self.remove_file(Kind::Checkpoint, number)?;
        }
        // With fewer, a start may have to begin with the first segment of all.
        let recovery_from = if kept.len() == CHECKPOINTS_KEPT {
            kept[0]
        } else {
            0
        };
        for segment in unwanted(&self.history.segments(), now_ms, retention) {
            if segment.number >= recovery_from {
                break;
            }
            if segment.end > keep_from {
                report.segments_held_back += 1;
                report.bytes_held_back += segment.bytes;
                continue;
            }
            self.history.forget(segment.number);
            self.doomed.push(segment.number);
            report.segments_removed += 1;
            report.bytes_removed += segment.bytes;
        }
        while let Some(&number) = self.doomed.first() {
            self.remove_file(Kind::Segment, number)?;
            self.doomed.remove(0);
        }
        Ok(())
    }

    /// Removes a file for good: a later one may go only when this one is certain not to come back,
    /// or there would be a hole after a loss of power.
    fn remove_file(&self, kind: Kind, number: u64) -> Result<(), Fault> {
        let name = kind.name(number);
        match self.storage.remove(&name) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Fault::io(&*self.storage, &name, "remove")(error))
            }
            _ => self
                .storage
                .sync_names()
                .map_err(Fault::io(&*self.storage, &name, "remove")),
        }
    }

    fn checkpoints(&self) -> Result<Vec<u64>, Fault> {
        let names = self
            .storage
            .list()
            .map_err(Fault::io(&*self.storage, "", "list"))?;
        Ok(recovery::numbers(&names, Kind::Checkpoint))
    }
}

/// The segments that are too old or too much, oldest first. The newest is never among them.
fn unwanted(segments: &[SegmentInfo], now_ms: u64, retention: Retention) -> Vec<SegmentInfo> {
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let candidates = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
    candidates
        .iter()
        .take_while(|segment| {
            let old = |age_ms| now_ms.saturating_sub(segment.last_ms) > age_ms;
            let unwanted = retention.age_ms.is_some_and(old)
                || retention.bytes.is_some_and(|limit| bytes > limit);
            bytes -= segment.bytes;
            unwanted
        })
        .copied()
        .collect()
}
