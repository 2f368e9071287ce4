//! The thread that decides: it plans a batch of requests, commits it to the journal, changes who is
//! online and tells the event loops. Nothing else changes who is online.
//!
//! If the journal cannot be written, openings are refused and endings wait; it is tried again once a
//! second, and writing goes on by itself when it works again. Who is online stays as the journal has
//! it: a session whose end cannot be written down has not ended yet as far as anybody can see.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use journal::{CommitError, Fact, Log, Opened};
use mqtt::DisconnectReason;
use presence::{EndReason, Listing, Org, Piece, SessionId};

use super::Occurrence;
use super::plan::{Change, FACTS_MAX, Plan, World};
use super::requests::{EndRequest, EndUserRequest, Lifecycle, OpenRequest, Queue, Request, Waited};
use super::rush::Rush;
use crate::bell::Bell;
use crate::clock::unix_ms;
use crate::event_loop::{Letter, Letters, MqttMetrics};

/// How long the journal is left alone after it failed.
const RETRY: Duration = Duration::from_secs(1);

/// As much as a commit of many facts.
const PROBE_BYTES: usize = 64 * 1024;

/// The shortest wait while the journal fails.
const TICK: Duration = Duration::from_millis(10);

/// Nothing is looked for in vain more often than this.
const IDLE: Duration = Duration::from_secs(60);

/// Whether a log cannot be written now: the journal, or the keeper's.
#[derive(Clone, Debug, Default)]
pub struct Failing(Arc<AtomicBool>);

impl Failing {
    /// Whether it cannot be written now.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, is_failing: bool) {
        self.0.store(is_failing, Ordering::Relaxed);
    }
}

/// What the sequencer works with.
pub struct Parts {
    /// The journal.
    pub log: Log,
    /// The event loops.
    pub(crate) letters: Letters,
    /// All organisations.
    pub orgs: Arc<[Arc<Org>]>,
    /// Counters.
    pub metrics: MqttMetrics,
    /// Told of everybody who comes and goes, if it keeps up.
    pub watcher: Option<SyncSender<Occurrence>>,
    /// Rung after each commit.
    pub committed: Arc<Bell>,
    /// Says whether the journal can be written.
    pub failing: Failing,
    /// Whether nothing is written down.
    pub is_off: bool,
    /// How long a commit waits for more in a rush.
    pub rush_wait: Duration,
    /// A file beside the journal that may be written and removed to find out.
    pub probe_file: PathBuf,
}

/// The running thread.
pub struct Sequencer {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

impl Sequencer {
    /// Starts it.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(lifecycle: &Lifecycle, parts: Parts) -> std::io::Result<Self> {
        let queue = lifecycle.queue();
        let rush = Rush::new(parts.rush_wait);
        let mut desk = Desk {
            queue: Arc::clone(&queue),
            parts,
            waiting: VecDeque::new(),
            failed_at: None,
            clock: Clock::new(),
            rush,
        };
        let thread = std::thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(move || desk.run())?;
        Ok(Self { queue, thread })
    }

    /// Ends every session that is still online with `server_stopped`, and finishes. To be called
    /// when the event loops have finished.
    pub fn finish(self) {
        self.queue.close();
        if self.thread.join().is_err() {
            tracing::error!("the sequencer had panicked");
        }
    }
}

/// Writes the ending of every session that was open when the last process ended. Answers how many.
///
/// # Errors
/// If the journal cannot be written.
pub fn end_crashed(log: &mut Log, open: Vec<Opened>) -> Result<usize, CommitError> {
    let count = open.len();
    let at_ms = unix_ms();
    for (index, opened) in open.into_iter().enumerate() {
        log.append(&Fact::Ended(journal::Ended {
            org: opened.org,
            session: opened.session,
            username: opened.username,
            client_id: opened.client_id,
            protocol: opened.protocol,
            peer: opened.peer,
            connected_at_ms: opened.at_ms,
            at_ms,
            reason: EndReason::ServerCrashed,
        }));
        if index % (16 * FACTS_MAX) == 0 {
            log.commit()?;
        }
    }
    log.commit()?;
    Ok(count)
}

struct Desk {
    queue: Arc<Queue>,
    parts: Parts,
    /// Requests taken and not planned yet, in order.
    waiting: VecDeque<Request>,
    failed_at: Option<Instant>,
    rush: Rush,
    clock: Clock,
}

impl Desk {
    fn run(&mut self) {
        while self.take() {
            if !self.may_write() {
                self.refuse_waiting();
            } else if self.waiting.is_empty() && self.failed_at.is_some() {
                self.try_the_disk();
            } else {
                self.commit_next();
            }
        }
        self.end_everybody();
    }

    /// Takes what has come. Answers whether to go on.
    fn take(&mut self) -> bool {
        let timeout = match self.failed_at {
            Some(since) => RETRY.saturating_sub(since.elapsed()).max(TICK),
            None if self.waiting.is_empty() => IDLE,
            None => Duration::ZERO,
        };
        let waited = self.queue.take(&mut self.waiting, timeout);
        if let Some(moment) = self.rush.moment(self.waiting.len())
            && self.failed_at.is_none()
            && matches!(waited, Waited::Some)
        {
            self.parts.metrics.commits_delayed.inc();
            std::thread::sleep(moment);
            self.queue.take(&mut self.waiting, Duration::ZERO);
        }
        match waited {
            Waited::Some | Waited::TimedOut => true,
            // When the journal fails at the end too, the next start ends what is left open.
            Waited::Closed => !self.waiting.is_empty() && self.failed_at.is_none(),
        }
    }

    fn may_write(&self) -> bool {
        self.failed_at.is_none_or(|since| since.elapsed() >= RETRY)
    }

    fn commit_next(&mut self) {
        let mut plan = Plan::default();
        while let Some(request) = self.waiting.pop_front() {
            if let Err(request) = plan.add(request, &mut self.clock) {
                self.waiting.push_front(request);
                break;
            }
        }
        if plan.is_empty() {
            return;
        }
        self.rush.note(plan.changes.len());
        match self.write(&plan) {
            Ok(()) => self.apply(plan),
            Err(error) => self.fail(plan, &error),
        }
    }

    fn write(&mut self, plan: &Plan) -> Result<(), CommitError> {
        if self.parts.is_off {
            return Ok(());
        }
        let log = &mut self.parts.log;
        for fact in plan.changes.iter().filter_map(Change::fact) {
            log.append(&fact);
        }
        let started = Instant::now();
        let committed = log.commit();
        self.parts
            .metrics
            .commit_seconds
            .observe(started.elapsed().as_secs_f64());
        match committed {
            Ok(_) => {
                self.recover();
                Ok(())
            }
            Err(error) => {
                log.abandon();
                Err(error)
            }
        }
    }

    // === the plan is durable ===

    fn apply(&mut self, plan: Plan) {
        let mut mail = self.parts.letters.batch();
        for change in plan.changes {
            match change {
                Change::Open { request, id, at_ms } => {
                    let letter = self.open(request, id, at_ms);
                    mail.add(letter);
                }
                Change::End {
                    org,
                    facts,
                    reason,
                    is_news_to_the_client,
                    ..
                } => {
                    self.end(&org, &facts, reason);
                    if is_news_to_the_client {
                        let letter = Letter::Close {
                            connection: facts.address.connection,
                            session: facts.session,
                            why: disconnect_reason(reason),
                        };
                        mail.add((facts.address.worker, letter));
                    }
                }
                Change::Reply(mut request) => {
                    if let Some(reply) = request.reply.take() {
                        // Whoever asked may have gone.
                        let _ = reply.send(request.ended);
                    }
                }
            }
        }
        mail.post();
        self.parts.committed.ring();
    }

    fn open(&self, request: OpenRequest, id: SessionId, at_ms: u64) -> (u16, Letter) {
        let opened = request.org.open(&request.opening(id, at_ms));
        debug_assert!(opened.taken_over.is_none(), "the plan ended it before");
        self.parts.metrics.sessions_opened.inc();
        self.tell(|| Occurrence::came(&request, opened.online_sessions));
        let address = request.client.address;
        let letter = Letter::Opened {
            connection: address.connection,
            ticket: request.ticket,
            session: opened.session,
            org: request.org,
        };
        (address.worker, letter)
    }

    fn end(&self, org: &Org, facts: &presence::SessionFacts, reason: EndReason) {
        let Some(ended) = org.end(facts.session) else {
            debug_assert!(false, "it was online when the plan was made");
            return;
        };
        self.parts.metrics.end_session(reason);
        self.tell(|| Occurrence::went(org, &ended, reason));
    }

    fn tell(&self, occurrence: impl FnOnce() -> Occurrence) {
        if let Some(watcher) = &self.parts.watcher {
            // A watcher that does not keep up misses some: it is for eyes, not for the record.
            let _ = watcher.try_send(occurrence());
        }
    }

    // === the journal fails ===

    /// Nothing of the plan has happened: openings are refused, endings wait for the next try.
    fn fail(&mut self, plan: Plan, error: &CommitError) {
        if self.failed_at.replace(Instant::now()).is_none() {
            tracing::error!(%error, "the journal cannot be written: new sessions are refused");
            self.parts.failing.set(true);
        }
        let mut again = VecDeque::new();
        let mut refused = Vec::new();
        for change in plan.changes {
            match change {
                Change::Open { request, .. } => refused.push(request),
                Change::End {
                    org,
                    facts,
                    reason,
                    is_news_to_the_client: false,
                    ..
                } => again.push_back(Request::End(EndRequest {
                    org,
                    session: facts.session,
                    reason,
                })),
                // It follows from an opening, which is refused, or from the request below.
                Change::End { .. } => {}
                Change::Reply(request) => again.push_back(Request::EndUser(EndUserRequest {
                    ended: 0,
                    ..request
                })),
            }
        }
        self.refuse(refused);
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    fn recover(&mut self) {
        if self.failed_at.take().is_some() {
            tracing::warn!("the journal can be written again");
            self.parts.failing.set(false);
        }
    }

    /// With nothing to write, finds out whether it could be written: who watches the server's
    /// health may send nobody until then.
    fn try_the_disk(&mut self) {
        let path = &self.parts.probe_file;
        let written = std::fs::File::create(path).and_then(|mut file| {
            file.write_all(&[0; PROBE_BYTES])?;
            file.sync_all()
        });
        let removed = std::fs::remove_file(path);
        match written.and(removed) {
            Ok(()) => self.recover(),
            Err(_) => self.failed_at = Some(Instant::now()),
        }
    }

    fn refuse_waiting(&mut self) {
        let mut refused = Vec::new();
        let mut kept = VecDeque::new();
        for request in self.waiting.drain(..) {
            match request {
                Request::Open(request) => refused.push(request),
                other => kept.push_back(other),
            }
        }
        self.waiting = kept;
        self.refuse(refused);
    }

    fn refuse(&self, requests: Vec<OpenRequest>) {
        let mut mail = self.parts.letters.batch();
        for request in requests {
            let address = request.client.address;
            let letter = Letter::Refused {
                connection: address.connection,
                ticket: request.ticket,
            };
            mail.add((address.worker, letter));
        }
        mail.post();
    }

    // === the server stops ===

    fn end_everybody(&mut self) {
        for org in Arc::clone(&self.parts.orgs).iter() {
            let mut listing = Listing::of_org(None, None);
            let mut piece = Piece::More(presence::Position {
                user: 0,
                session: 0,
            });
            while piece != Piece::Done {
                let waiting = &mut self.waiting;
                piece = listing.next_piece(org, FACTS_MAX, &mut |view, _| {
                    waiting.push_back(Request::End(EndRequest {
                        org: Arc::clone(org),
                        session: view.session,
                        reason: EndReason::ServerStopped,
                    }));
                });
                while !self.waiting.is_empty() && self.failed_at.is_none() {
                    self.commit_next();
                }
            }
        }
        if self.failed_at.is_some() {
            tracing::error!("the next start will end the sessions that could not be ended now");
        }
    }
}

/// The reason code that a client is told (MQTT 5 §3.14.2.1).
fn disconnect_reason(reason: EndReason) -> DisconnectReason {
    match reason {
        EndReason::TakenOver | EndReason::KickedByDevice => DisconnectReason::SessionTakenOver,
        EndReason::LoggedOut => DisconnectReason::Normal,
        EndReason::ServerStopped => DisconnectReason::ServerShuttingDown,
        EndReason::KeepAliveTimeout => DisconnectReason::KeepAliveTimeout,
        EndReason::CredentialsExpired => DisconnectReason::MaximumConnectTime,
        _ => DisconnectReason::AdministrativeAction,
    }
}

/// Random bytes of one session's name.
const NAME_BYTES: usize = 10;

/// Names for which random bytes are asked of the system at once.
const NAMES_AT_ONCE: usize = 64;

/// The wall's clock, which never goes back, and random names.
struct Clock {
    last_ms: u64,
    random: [u8; NAME_BYTES * NAMES_AT_ONCE],
    names_left: usize,
}

impl Clock {
    fn new() -> Self {
        Self {
            last_ms: 0,
            random: [0; NAME_BYTES * NAMES_AT_ONCE],
            names_left: 0,
        }
    }

    fn refill(&mut self) {
        if let Err(error) = getrandom::fill(&mut self.random) {
            // Without random numbers no TLS and no key works either: it does not happen.
            tracing::error!(%error, "no random numbers for the names of sessions");
        }
        self.names_left = NAMES_AT_ONCE;
    }
}

impl World for Clock {
    fn now_ms(&mut self) -> u64 {
        self.last_ms = self.last_ms.max(unix_ms());
        self.last_ms
    }

    fn session_id(&mut self, now_ms: u64) -> SessionId {
        if self.names_left == 0 {
            self.refill();
        }
        self.names_left -= 1;
        let random = &self.random.as_chunks::<NAME_BYTES>().0[self.names_left];
        let id = uuid::Builder::from_unix_timestamp_millis(now_ms, random).into_uuid();
        SessionId(id.into_bytes())
    }
}
