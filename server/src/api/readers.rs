//! A few readers of the views, shared by all requests.
//!
//! A reader may wait for the disk and is for one thread at a time, so each question takes one for
//! as long as it lasts, on a thread that may block. When all are taken, a question waits.
//!
//! The views follow the journal, mostly within a millisecond, after a crash by as much as the last
//! process had not written. So a question waits until everything is in them that was committed
//! when it was asked: who has been told of an event finds it in every answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use journal::Position;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use views::{ReadError, Reader};

use super::problem::Problem;

/// Tells how far the journal is.
pub type Committed = Box<dyn Fn() -> Position + Send + Sync>;

/// The readers that nobody uses now.
pub(super) struct Readers {
    free: Arc<Mutex<Vec<Reader>>>,
    permits: Arc<Semaphore>,
    committed: Committed,
    folded: watch::Receiver<Position>,
    wait_max: Duration,
}

impl Readers {
    /// A question waits at most for `wait_max` until the views, `folded` so far, are as far as the
    /// journal.
    pub(super) fn new(
        readers: Vec<Reader>,
        committed: Committed,
        folded: watch::Receiver<Position>,
        wait_max: Duration,
    ) -> Self {
        Self {
            committed,
            folded,
            wait_max,
            permits: Arc::new(Semaphore::new(readers.len())),
            free: Arc::new(Mutex::new(readers)),
        }
    }

    /// Asks one of them.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
        self.catch_up().await?;
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let free = Arc::clone(&self.free);
        let answer = spawn_blocking(move || {
            // Held until the reader is back, also if whoever asks has gone.
            let _permit = permit;
            let reader = lock(&free).pop()?;
            let answer = question(&reader);
            lock(&free).push(reader);
            Some(answer)
        });
        match answer.await {
            Ok(Some(answer)) => answer.map_err(unanswered),
            Ok(None) | Err(_) => Err(Problem::Storage),
        }
    }

    /// Looks one thing up by its key, on the thread that asks: some ten microseconds, far less than
    /// it takes to have another thread do it.
    pub(super) async fn look_up<T>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, ReadError>,
    ) -> Result<T, Problem> {
        self.catch_up().await?;
        let _permit = self.permits.acquire().await;
        let reader = lock(&self.free).pop().ok_or(Problem::Storage)?;
        let answer = question(&reader);
        lock(&self.free).push(reader);
        answer.map_err(unanswered)
    }

    /// Waits until the views have what is committed now.
    async fn catch_up(&self) -> Result<(), Problem> {
        let committed = (self.committed)();
        let mut folded = self.folded.clone();
        let arrival = folded.wait_for(|position| *position >= committed);
        match timeout(self.wait_max, arrival).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Problem::Behind),
        }
    }
}

fn unanswered(error: ReadError) -> Problem {
    tracing::error!(%error, "a question to the views has no answer");
    Problem::Storage
}

fn lock(free: &Mutex<Vec<Reader>>) -> MutexGuard<'_, Vec<Reader>> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}
