//! The thread that keeps what outlives a connection: stored sessions, what waits for them, wills
//! and retained messages. Nothing else changes any of it.
//!
//! Event loops *ask* ([`Keeper`]) and go on; the thread takes all requests that wait, has
//! [`messages::Desk`] decide them, commits with one sync, and posts the answers through [`Mail`],
//! each to the connection that asked. What needs no decision anybody can look up at once, without
//! the thread: [`Keeper::directory`].
//!
//! A connection's life, as the event loop sees it:
//!
//! 1. CONNECT. If it wants a Session Expiry, or its organisation's [`messages::Kept`] `knows` the
//!    client, it asks for `Attach` after `presence` has its session, and waits for `Attached` (or
//!    `Refused`) before CONNACK. Otherwise the keeper is not concerned.
//! 2. Messages for stored sessions are found by `Kept::recipients` and sent by `Publish`, together
//!    with the retained flag; at QoS 0 they go to the carrier directly. The publisher's PUBACK or
//!    PUBREC waits for `Published`; what others are to get only once waits for `Settled`.
//! 3. `Push` brings messages with their identifiers; what the client says about them is told by
//!    `Acknowledged` and `Received`; `Release` and `Released` are answers to be written.
//! 4. However the connection ends: `Detach`; also when `Attached` comes and the connection is gone.
//! 5. `Will` asks any loop to publish a will as if a client had, and to tell the keeper by a
//!    `Publish` with its id, even if nobody gets it.
//! 6. `Reach` asks to hear when all that was asked before has been decided: a new subscription may be
//!    answered from `Kept` then.
//!
//! Requests that make something are limited in number and bytes, at the limit [`Busy`]; those that
//! end something always pass, since each follows from one that was let in. If the log cannot be
//! written, see [`messages::book`].
//!
//! SQLite follows on a thread of its own. If it is so far behind that half of
//! `sessions.memory_bytes_max` or 16,384 records wait for it, the keeper waits too.
//!
//! - `requests`: the queue; `writer`: SQLite's thread; `metrics`: what is counted; `settings`: from the configuration to an open
//!   keeper

mod metrics;
mod requests;
mod settings;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use messages::{Desk, Directory, Letter, Request};

use crate::clock::SteadyClock;
use crate::lifecycle::Failing;
use requests::{Queue, Waited};
use writer::WriterThread;

pub use metrics::KeeperMetrics;
pub use requests::{Busy, QueueLimits};
pub use settings::{OpenError, open};

/// How often the files are looked after.
const CARE_EVERY: Duration = Duration::from_secs(5);

/// Where answers go.
pub trait Mail: Send {
    /// Posts answers, in their order, to the event loops of the connections they are for; those
    /// that are for nobody in particular (wills) to any. Must not wait.
    fn post(&mut self, letters: Vec<Letter>);
}

/// The way to ask. Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    queue: Arc<Queue>,
    directory: Directory,
    failing: Failing,
    metrics: KeeperMetrics,
}

/// The running thread.
pub struct KeeperThread {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Asks. The answer, if the request has one, comes by [`Mail`].
    ///
    /// # Errors
    /// If too much waits already; nothing has been done then, and no answer comes. What ends
    /// something is never refused: `Detach`, `Acknowledged`, `Received`, and the publication of a
    /// will.
    pub fn ask(&self, request: Request) -> Result<(), Busy> {
        // Before the queue, so that whoever looks afterwards knows of it.
        Desk::arrives(&self.directory, &request);
        self.queue.push(request).map_err(|request| {
            Desk::leaves(&self.directory, &request);
            self.metrics.refused.inc();
            Busy
        })
    }

    /// What any thread may look at: who is known, who gets a message, what is retained.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Says whether the log cannot be written now.
    #[must_use]
    pub fn failing(&self) -> Failing {
        self.failing.clone()
    }
}

/// A keeper that nobody can ask yet, but whose directory can be looked at.
pub struct Prepared {
    desk: Desk,
    keeper: Keeper,
}

/// Gets a keeper ready.
#[must_use]
pub fn prepare(desk: Desk, limits: QueueLimits, metrics: KeeperMetrics) -> Prepared {
    let keeper = Keeper {
        queue: Arc::new(Queue::new(limits)),
        directory: desk.directory(),
        failing: Failing::default(),
        metrics,
    };
    Prepared { desk, keeper }
}

impl Prepared {
    /// The way to ask: what is asked waits for the start.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// If the operating system gives none.
    pub fn start(mut self, mail: Box<dyn Mail>) -> io::Result<KeeperThread> {
        let queue = Arc::clone(&self.keeper.queue);
        let writer = self.desk.take_writer();
        let start = |writer| {
            let metrics = self.keeper.metrics.clone();
            WriterThread::start(writer, Arc::clone(&queue), metrics)
        };
        let mut work = Work {
            writer: writer.map(start).transpose()?,
            desk: self.desk,
            keeper: self.keeper,
            mail,
            clock: SteadyClock::start(),
            cared_at: Instant::now(),
        };
        let thread = std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || work.run())?;
        Ok(KeeperThread { queue, thread })
    }
}

impl KeeperThread {
    /// Does what waits, writes everything down and finishes. To be called when the event loops
    /// have finished; sessions that are still attached are away from the next start on.
    pub fn finish(self) {
        self.queue.close();
        if self.thread.join().is_err() {
            tracing::error!("the keeper had panicked");
        }
    }
}

struct Work {
    desk: Desk,
    writer: Option<WriterThread>,
    keeper: Keeper,
    mail: Box<dyn Mail>,
    clock: SteadyClock,
    cared_at: Instant,
}

impl Work {
    fn run(&mut self) {
        let mut requests = VecDeque::new();
        loop {
            let wait = Duration::from_millis(self.desk.wait_ms(self.clock.now_ms()));
            let waited = self.keeper.queue.take(&mut requests, wait.min(CARE_EVERY));
            let now_ms = self.clock.now_ms();
            self.hear_writer(now_ms);
            for request in requests.drain(..) {
                self.desk.handle(request, now_ms);
            }
            let began = Instant::now();
            let letters = self.desk.turn(now_ms);
            if matches!(waited, Waited::Some) {
                self.keeper
                    .metrics
                    .turn_seconds
                    .observe(began.elapsed().as_secs_f64());
            }
            self.tell(letters);
            if matches!(waited, Waited::Closed) {
                break;
            }
            if self.cared_at.elapsed() >= CARE_EVERY {
                self.cared_at = Instant::now();
                self.desk.care(now_ms);
            }
            self.tell_writer();
        }
        self.bring_writer();
        let letters = self.desk.finish(self.clock.now_ms());
        self.tell(letters);
    }

    /// Waits for it if it is far behind.
    fn hear_writer(&mut self, now_ms: u64) {
        while let Some(writer) = &self.writer {
            let done = match self.desk.is_far_behind() {
                true => writer.wait(),
                false => writer.done(),
            };
            let Some(done) = done else { break };
            self.desk.done(done, now_ms);
            self.tell_writer();
        }
    }

    fn tell_writer(&mut self) {
        if let Some(writer) = &self.writer
            && let Some(task) = self.desk.take_task()
        {
            writer.give(task);
        }
    }

    fn bring_writer(&mut self) {
        let Some((writer, done)) = self.writer.take().map(WriterThread::finish) else {
            return;
        };
        let now_ms = self.clock.now_ms();
        for done in done {
            self.desk.done(done, now_ms);
        }
        if let Some(writer) = writer {
            self.desk.bring_writer(writer, now_ms);
        }
    }

    fn tell(&mut self, letters: Vec<Letter>) {
        let is_failing = self.desk.is_failing();
        self.keeper.failing.set(is_failing);
        let metrics = &self.keeper.metrics;
        metrics.count(self.desk.take_tally(), self.desk.waiting());
        if !letters.is_empty() {
            self.mail.post(letters);
        }
    }
}

#[cfg(test)]
mod tests;
