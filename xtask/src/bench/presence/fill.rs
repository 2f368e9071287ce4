//! From nobody to everybody: what each connect costs, and what each session weighs.

use std::sync::Arc;

use anyhow::Result;
use presence::Org;

use super::super::process;
use super::book::Book;
use super::laps::Laps;
use super::stopwatch::Stopwatch;

/// Laps between two looks at the run queue.
const BATCH: usize = 16;

/// A filled organisation.
pub(super) struct Fill {
    pub(super) book: Book,
    pub(super) laps: Laps,
    /// Growth of this process per session.
    pub(super) bytes_per_session: f64,
}

/// Connects and subscribes `count` people; the first `settled_count` will stay.
pub(super) fn fill(count: usize, settled_count: usize) -> Result<Fill> {
    let org = Arc::new(Org::new(super::ORG_ID));
    let mut book = Book::new(org, count + 1, settled_count);
    let mut laps = Laps::with_capacity(count);
    let mut stopwatch = Stopwatch::new()?;
    let pid = std::process::id();
    let before = process::resident_bytes(pid)?;
    for place in 0..count {
        if place % BATCH == 0 {
            stopwatch.begin_batch();
        }
        let person = book.next_person();
        let (opened, lap) = stopwatch.time(|| book.open(&person));
        opened?;
        laps.push(lap);
    }
    let growth = process::resident_bytes(pid)?.saturating_sub(before);
    let bytes_per_session = growth as f64 / count as f64;
    Ok(Fill {
        book,
        laps,
        bytes_per_session,
    })
}
