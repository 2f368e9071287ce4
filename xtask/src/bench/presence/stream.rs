//! The whole list over HTTP while sessions come and go: is it complete, and what does it cost?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::super::http::Api;
use super::super::process;
use super::book::Book;
use super::people::number_of;
use super::rows;

/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(1);

/// Room for the numbers of those who come while the list is read.
const NEWCOMERS_MAX: u32 = 4_000_000;

/// A list that was read to its end.
pub(super) struct Streamed {
    pub(super) row_count: usize,
    pub(super) lasted: Duration,
    /// Growth of this process at its highest.
    pub(super) growth_bytes: u64,
    /// Rows of nobody we know, or of somebody listed before.
    pub(super) odd_row_count: usize,
    /// Whoever has a lower number was online, or gone, before the request.
    begun_at_number: u32,
    seen: Bitmap,
}

impl Streamed {
    /// Reads the whole list. Everybody below `next_number` has come before this call.
    pub(super) fn read(api: &Api, next_number: u32) -> Result<Self> {
        let mut seen = Bitmap::new(next_number + NEWCOMERS_MAX);
        let mut odd_row_count = 0;
        let sampler = Sampler::start()?;
        let start = Instant::now();
        let row_count = rows::read(api.get("/v2/utilities/presence")?, |client_id| {
            let fresh = number_of(client_id).is_some_and(|number| seen.insert(number));
            odd_row_count += usize::from(!fresh);
        })?;
        let lasted = start.elapsed();
        let growth_bytes = sampler.stop()?;
        let begun_at_number = next_number;
        Ok(Self {
            row_count,
            lasted,
            growth_bytes,
            odd_row_count,
            begun_at_number,
            seen,
        })
    }

    /// Of those who were online before the request and still are in `book`: how many, and how
    /// many of them the list left out. `book` must have been kept until after the last row.
    pub(super) fn stayed_and_missing(&self, book: &Book) -> (usize, usize) {
        let stayed = || {
            book.numbers()
                .filter(|number| *number < self.begun_at_number)
        };
        let missing = stayed()
            .filter(|number| !self.seen.contains(*number))
            .count();
        (stayed().count(), missing)
    }
}

/// A set of numbers.
struct Bitmap(Vec<u64>);

impl Bitmap {
    fn new(size: u32) -> Self {
        // Ones, then zeros: the pages are there before memory is watched.
        let mut words = vec![u64::MAX; size as usize / 64 + 1];
        words.fill(0);
        Self(words)
    }

    /// Whether the number was new. One beyond the size never is.
    fn insert(&mut self, number: u32) -> bool {
        let Some(word) = self.0.get_mut(number as usize / 64) else {
            return false;
        };
        let bit = 1 << (number % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn contains(&self, number: u32) -> bool {
        self.0
            .get(number as usize / 64)
            .is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

/// Watches the resident memory of this process.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
    before: u64,
}

impl Sampler {
    fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let before = process::own_resident_bytes()?;
        let of_thread = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !of_thread.load(Ordering::Relaxed) {
                peak = peak.max(process::own_resident_bytes()?);
                sleep(SAMPLE_INTERVAL);
            }
            Ok(peak)
        });
        Ok(Self {
            stop,
            thread,
            before,
        })
    }

    /// The growth from the start to the peak.
    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let peak = self
            .thread
            .join()
            .map_err(|_| anyhow!("the sampler panicked"))?;
        Ok(peak
            .context("cannot sample memory")?
            .saturating_sub(self.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once() {
        let mut bitmap = Bitmap::new(100);
        assert!(bitmap.insert(99));
        assert!(!bitmap.insert(99));
        assert!(bitmap.contains(99) && !bitmap.contains(98));
        assert!(!bitmap.insert(1_000));
    }
}
