//! A few readers of the views, shared by all requests.
//!
//! A reader may wait for the disk and is for one thread at a time, so each question takes one for
//! as long as it lasts, on a thread that may block. When all are taken, a question waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use views::{ReadError, Reader};

use super::problem::Problem;

/// The readers that nobody uses now.
pub(super) struct Readers {
    free: Arc<Mutex<Vec<Reader>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(readers: Vec<Reader>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(readers.len())),
            free: Arc::new(Mutex::new(readers)),
        }
    }

    /// Asks one of them.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
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
        let _permit = self.permits.acquire().await;
        let reader = lock(&self.free).pop().ok_or(Problem::Storage)?;
        let answer = question(&reader);
        lock(&self.free).push(reader);
        answer.map_err(unanswered)
    }
}

fn unanswered(error: ReadError) -> Problem {
    tracing::error!(%error, "a question to the views has no answer");
    Problem::Storage
}

fn lock(free: &Mutex<Vec<Reader>>) -> MutexGuard<'_, Vec<Reader>> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}
