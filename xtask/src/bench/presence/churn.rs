//! Coming and going at a steady pace, on a thread of its own, each change measured.
//!
//! After every change the thread makes one like it in a small organisation that nobody asks
//! about. That is the control: it meets the same machine but no reader, so what only the first
//! suffers comes from the readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::book::Book;
use super::fill::fill;
use super::laps::Laps;
use super::stopwatch::{Lap, Stopwatch};

/// The changes that are due are made at this interval.
const TICK: Duration = Duration::from_millis(1);

/// Sessions of the control's organisation.
const CONTROL_SESSIONS: usize = 1_000;

/// Laps for which room is made beforehand, at 10,000 a second.
const LAPS_EXPECTED: usize = 400_000;

/// Changes under way.
pub(super) struct Churn {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Outcome>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    next_number: AtomicU32,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) book: Book,
    /// The changes of the organisation under test.
    pub(super) changes: Laps,
    /// The changes of the control.
    pub(super) control: Laps,
    /// How many changes a second there should have been.
    pub(super) rate_asked: u32,
    /// How long it went on.
    pub(super) lasted: Duration,
}

impl Churn {
    /// Begins to make `rate` changes per second to `book`'s organisation.
    pub(super) fn start(book: Book, rate: u32) -> Result<Self> {
        let control = fill(CONTROL_SESSIONS, 0)?.book;
        let shared = Arc::new(Shared::default());
        shared
            .next_number
            .store(book.next_number(), Ordering::Release);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || change_until_told(&of_thread, book, control, rate));
        Ok(Self { shared, thread })
    }

    /// Everybody with a lower number had a session opened before this call.
    pub(super) fn next_number(&self) -> u32 {
        self.shared.next_number.load(Ordering::Acquire)
    }

    /// Ends the changes.
    pub(super) fn stop(self) -> Result<Outcome> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the thread that makes changes panicked"))?
    }
}

fn change_until_told(shared: &Shared, book: Book, control: Book, rate: u32) -> Result<Outcome> {
    let mut stopwatch = Stopwatch::new()?;
    let (mut book, mut control) = (Turnover::new(book), Turnover::new(control));
    let mut changes = Laps::with_capacity(LAPS_EXPECTED);
    let mut control_changes = Laps::with_capacity(LAPS_EXPECTED);
    let start = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as usize;
        if changes.count() >= due {
            sleep(TICK);
            continue;
        }
        stopwatch.begin_batch();
        changes.push(book.change(&mut stopwatch)?);
        stopwatch.begin_batch();
        control_changes.push(control.change(&mut stopwatch)?);
        shared
            .next_number
            .store(book.book.next_number(), Ordering::Release);
    }
    let lasted = start.elapsed();
    Ok(Outcome {
        book: book.book,
        changes,
        control: control_changes,
        rate_asked: rate,
        lasted,
    })
}

/// A book in which sessions end and open by turns.
struct Turnover {
    book: Book,
    full: usize,
}

impl Turnover {
    fn new(book: Book) -> Self {
        let full = book.len();
        Self { book, full }
    }

    /// One session ends, or opens and subscribes.
    fn change(&mut self, stopwatch: &mut Stopwatch) -> Result<Lap> {
        let (done, lap) = if self.book.len() < self.full {
            let person = self.book.next_person();
            stopwatch.time(|| self.book.open(&person))
        } else {
            let place = self.book.roll();
            stopwatch.time(|| self.book.end(place))
        };
        done.map(|()| lap)
    }
}
