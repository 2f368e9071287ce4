//! The thread that follows the journal: it folds committed facts into the views and tells those who
//! deliver events how far it has come. After a start it begins where the views stopped: recovery is
//! the same path.
//!
//! Beside it a second thread does what may take long and hurries nobody: checkpoints of the journal
//! and of the views, retention.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use journal::{Maintenance, Position, Reader, Retention};
use parking_lot::Mutex;
use tokio::sync::watch;
use views::{Checkpointer, Deliveries, FoldError, Views};

use crate::bell::Bell;
use crate::clock::unix_ms;

/// Facts read at a time.
const FACTS_PER_READ: usize = 256;

/// Facts are folded at most this often: an event waits so long at most, and a rush of commits wakes
/// nobody for each.
const FOLD_EVERY: Duration = Duration::from_micros(500);

/// The views rest when nothing has happened for this long.
const REST_AFTER: Duration = Duration::from_millis(500);

/// The views are written this often, or
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// after so many facts.
const FLUSH_FACTS: u64 = 1_024;

/// How often the journal and the views are looked after.
const CARE_EVERY: Duration = Duration::from_secs(5);

/// What the follower works with.
pub struct Parts {
    /// Told how far the views have come: events before this position can be read.
    pub folded: watch::Sender<Position>,
    /// Committed facts.
    pub reader: Reader,
    /// Checkpoints and retention of the journal.
    pub maintenance: Maintenance,
    /// Where the facts are folded into.
    pub views: Views,
    /// How far every endpoint has come.
    pub deliveries: Arc<std::sync::Mutex<Deliveries>>,
    /// Rung after each commit.
    pub committed: Arc<Bell>,
    /// The keys of all endpoints there are.
    pub endpoints: Vec<String>,
    /// Age and size at which events may be forgotten.
    pub retention: Retention,
}

/// The running threads.
pub struct Follower {
    is_stopping: Arc<AtomicBool>,
    committed: Arc<Bell>,
    folded: watch::Receiver<Position>,
    threads: Vec<JoinHandle<()>>,
}

impl Follower {
    /// Starts following.
    ///
    /// # Errors
    /// If the operating system gives no thread, or the views cannot be opened a second time.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let committed = Arc::clone(&parts.committed);
        let tell = parts.folded;
        let folded = tell.subscribe();
        let checkpointer = parts.views.checkpointer().map_err(std::io::Error::other)?;
        let views = Arc::new(Mutex::new(parts.views));
        let mut fold = Fold {
            reader: parts.reader,
            views: Arc::clone(&views),
            committed: parts.committed,
            tell,
            is_stopping: Arc::clone(&is_stopping),
            unflushed: 0,
            flushed_at: Instant::now(),
            is_rested: true,
        };
        let mut care = Care {
            maintenance: parts.maintenance,
            checkpointer,
            views,
            deliveries: parts.deliveries,
            endpoints: parts.endpoints,
            retention: parts.retention,
        };
        let until = Arc::clone(&is_stopping);
        let threads = vec![
            spawn("follower", move || fold.run())?,
            spawn("care", move || care.run(&until))?,
        ];
        Ok(Self {
            is_stopping,
            committed,
            folded,
            threads,
        })
    }

    /// How far the views have come: events before this position can be read.
    #[must_use]
    pub fn folded(&self) -> watch::Receiver<Position> {
        self.folded.clone()
    }

    /// Folds what is committed, writes the views and finishes.
    pub fn finish(self) {
        self.is_stopping.store(true, Ordering::Release);
        self.committed.ring();
        for thread in self.threads {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread that follows the journal had panicked");
            }
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

struct Fold {
    reader: Reader,
    views: Arc<Mutex<Views>>,
    committed: Arc<Bell>,
    tell: watch::Sender<Position>,
    is_stopping: Arc<AtomicBool>,
    unflushed: u64,
    flushed_at: Instant,
    /// Nothing was folded since the views rested.
    is_rested: bool,
}

impl Fold {
    fn run(&mut self) {
        loop {
            // Looked at before reading, so that nothing committed before the order is left out.
            let is_last = self.is_stopping.load(Ordering::Acquire);
            let has_folded = self.fold_some();
            let is_due = self.flushed_at.elapsed() >= FLUSH_EVERY;
            if self.unflushed >= FLUSH_FACTS || (self.unflushed > 0 && is_due) {
                self.flush();
            }
            match has_folded {
                // What is committed meanwhile is folded together.
                true => std::thread::sleep(FOLD_EVERY),
                false if is_last => break,
                false if self.unflushed > 0 => self.committed.wait(FLUSH_EVERY),
                false if self.is_rested => self.committed.wait(CARE_EVERY),
                false if self.flushed_at.elapsed() >= REST_AFTER => self.rest(),
                false => self.committed.wait(REST_AFTER),
            }
        }
        if let Err(error) = self.views.lock().settle() {
            tracing::error!(%error, "failed to write the views; the next start folds them again");
        }
    }

    /// Folds the next facts, if there are any.
    fn fold_some(&mut self) -> bool {
        let mut views = self.views.lock();
        let from = views.position();
        if from >= self.reader.committed() || views.is_full() {
            return false;
        }
        let mut facts = Vec::new();
        if let Err(error) = self.reader.read_from(from, FACTS_PER_READ, &mut facts) {
            tracing::error!(%error, "failed to read the journal");
            return false;
        }
        for (position, fact) in facts {
            match views.fold(position, fact) {
                Ok(_) => self.unflushed += 1,
                // It is tried again after a flush.
                Err(FoldError::Full) => break,
                Err(error) => {
                    tracing::error!(%error, "failed to fold a fact");
                    break;
                }
            }
        }
        let position = views.position();
        drop(views);
        self.tell.send_replace(position);
        position > from
    }

    /// Nothing has happened for a while: memory that a rush took is given back.
    fn rest(&mut self) {
        self.is_rested = true;
        if let Err(error) = self.views.lock().rest() {
            tracing::error!(%error, "failed to settle the views, trying again later");
        }
    }

    fn flush(&mut self) {
        self.is_rested = false;
        self.flushed_at = Instant::now();
        match self.views.lock().flush() {
            Ok(()) => self.unflushed = 0,
            Err(error) => tracing::error!(%error, "failed to write the views, trying again"),
        }
    }
}

struct Care {
    maintenance: Maintenance,
    checkpointer: Checkpointer,
    views: Arc<Mutex<Views>>,
    deliveries: Arc<std::sync::Mutex<Deliveries>>,
    endpoints: Vec<String>,
    retention: Retention,
}

impl Care {
    fn run(&mut self, is_stopping: &AtomicBool) {
        while !is_stopping.load(Ordering::Acquire) {
            self.look_after_all();
            std::thread::park_timeout(CARE_EVERY);
        }
    }

    fn look_after_all(&mut self) {
        if let Err(error) = self.checkpointer.checkpoint() {
            tracing::warn!(%error, "failed to shorten the write-ahead log of the views");
        }
        let now_ms = unix_ms();
        let keep_from = match self.keep_from() {
            Ok(position) => position,
            Err(error) => {
                tracing::error!(%error, "failed to read how far endpoints have come");
                return;
            }
        };
        match self.maintenance.run(now_ms, keep_from, self.retention) {
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "failed to look after the journal"),
        }
        if let Some(age_ms) = self.retention.age_ms {
            self.prune_views(now_ms.saturating_sub(age_ms), keep_from);
        }
    }

    /// The first event that is still needed: by an endpoint, or because the views have it only in
    /// memory.
    fn keep_from(&self) -> Result<Position, views::DeliveryError> {
        let deliveries = self
            .deliveries
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut keep_from = self.views.lock().flushed();
        for endpoint in &self.endpoints {
            if let Some(floor) = deliveries.floor(endpoint)? {
                keep_from = keep_from.min(floor);
            }
        }
        Ok(keep_from)
    }

    fn prune_views(&self, before_ms: u64, keep_from: Position) {
        loop {
            match self.views.lock().prune(before_ms, keep_from) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "failed to forget old history");
                    return;
                }
            }
        }
    }
}
