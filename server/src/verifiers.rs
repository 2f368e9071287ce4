//! The threads that make the checks that take time, so that no event loop waits for one.
//!
//! A connection whose login takes time is held as it is for the journal; its CONNECT goes through
//! the queue here and comes back with the answer as a letter. The queue is bounded: at the limit
//! the event loop is told so and refuses the client as "server busy". Everybody who is in the
//! queue is answered, unless the server stops.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use mqtt::ConnectRequest;

use crate::accounts::{Accounts, Admission, Check, LoginRefused};
use crate::clock::unix_ms;
use crate::event_loop::{Letter, Letters};

/// A CONNECT that waits for an answer, and where its connection is.
pub(crate) struct Inquiry {
    /// The event loop that asks.
    pub(crate) worker: u16,
    /// Its connection.
    pub(crate) connection: u32,
    /// Tells the connection from another that gets its place.
    pub(crate) ticket: u32,
    /// Where the client is.
    pub(crate) address: Option<IpAddr>,
    /// What the client has asked for; given back with the answer.
    pub(crate) request: Box<ConnectRequest>,
    /// The client identifier that was assigned, if any; given back likewise.
    pub(crate) assigned: Option<Box<str>>,
    /// What is to be found out.
    pub(crate) check: Check,
}

/// The answer to an [`Inquiry`].
pub(crate) struct Judgement {
    /// What the client has asked for.
    pub(crate) request: Box<ConnectRequest>,
    /// The client identifier that was assigned, if any.
    pub(crate) assigned: Option<Box<str>>,
    /// Whether it may come in.
    pub(crate) outcome: Result<Admission, LoginRefused>,
}

/// The way to ask the verifiers. Cheap to clone.
#[derive(Clone)]
pub struct Verifiers {
    queue: Arc<Queue>,
}

struct Queue {
    state: Mutex<State>,
    some: Condvar,
    waiting_max: usize,
}

#[derive(Default)]
struct State {
    inquiries: VecDeque<Inquiry>,
    /// Those that wait for keys to be fetched first.
    parked: Vec<Inquiry>,
    is_closed: bool,
}

/// The running threads.
pub struct Running {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Verifiers {
    /// A queue for at most `waiting_max` logins, and as many that wait for keys.
    #[must_use]
    pub fn new(waiting_max: usize) -> Self {
        Self {
            queue: Arc::new(Queue {
                state: Mutex::default(),
                some: Condvar::new(),
                waiting_max,
            }),
        }
    }

    /// Asks. The answer comes as a letter to the event loop; `false` if too many wait already, or
    /// the server stops.
    pub(crate) fn ask(&self, inquiry: Inquiry) -> bool {
        let mut state = self.queue.lock();
        // Under the lock: a fetch that ends now finds it here when it comes to release.
        let is_parked = inquiry.check.awaits().is_some();
        // Those who wait for keys that do not come take nobody else's place.
        let waiting = match is_parked {
            true => state.parked.len(),
            false => state.inquiries.len(),
        };
        if waiting >= self.queue.waiting_max || state.is_closed {
            return false;
        }
        if is_parked {
            state.parked.push(inquiry);
            return true;
        }
        state.inquiries.push_back(inquiry);
        drop(state);
        self.queue.some.notify_one();
        true
    }

    /// Lets those be judged that do not wait for keys any more. To be called after each fetch.
    pub(crate) fn release(&self) {
        let mut state = self.queue.lock();
        let parked = std::mem::take(&mut state.parked);
        for inquiry in parked {
            if inquiry.check.awaits().is_some() {
                state.parked.push(inquiry);
            } else {
                state.inquiries.push_back(inquiry);
            }
        }
        drop(state);
        self.queue.some.notify_all();
    }

    /// Starts `count` threads, or as many as there are cores for 0.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start(
        &self,
        count: usize,
        accounts: &Arc<Accounts>,
        letters: &Letters,
    ) -> io::Result<Running> {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = if count == 0 { cores() } else { count };
        let mut running = Running {
            queue: Arc::clone(&self.queue),
            threads: Vec::new(),
        };
        for number in 0..count {
            let queue = Arc::clone(&self.queue);
            let accounts = Arc::clone(accounts);
            let letters = letters.clone();
            let thread = std::thread::Builder::new()
                .name(format!("verifier-{number}"))
                .spawn(move || {
                    while let Some(inquiry) = queue.take() {
                        let mut batch = letters.batch();
                        batch.add(answer(&accounts, inquiry));
                        batch.post();
                    }
                })?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

impl Running {
    /// Finishes what is under way and forgets what waits. To be called when the event loops have
    /// finished: nobody is left to be told.
    pub fn finish(self) {
        let mut state = self.queue.lock();
        state.is_closed = true;
        state.inquiries.clear();
        state.parked.clear();
        drop(state);
        self.queue.some.notify_all();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a verifier had panicked");
            }
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next inquiry, once there is one; none when the server stops.
    fn take(&self) -> Option<Inquiry> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(inquiry) = state.inquiries.pop_front() {
                return Some(inquiry);
            }
            let woken = self.some.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Makes the check, unless too many guesses of its address were wrong while it waited: what one has
/// sent at once costs no more checks than what one sends one after the other, and tells no more.
fn judge(accounts: &Accounts, inquiry: &Inquiry) -> Result<Admission, LoginRefused> {
    let request = &inquiry.request;
    let login = request.username.as_deref().unwrap_or_default();
    let is_slowed = || accounts.is_slowed(inquiry.address, login, unix_ms() / 1000);
    if is_slowed() {
        return Err(LoginRefused::TooManyGuesses);
    }
    let password = request.password.as_deref();
    let outcome = accounts.check(inquiry.check.clone(), password, unix_ms() / 1000);
    if is_slowed() {
        return Err(LoginRefused::TooManyGuesses);
    }
    // Here, and not where the client is told: it need not wait for that.
    if outcome.as_ref().is_err_and(|refused| refused.is_guess()) {
        accounts.count_guess(inquiry.address, login, unix_ms() / 1000);
    }
    outcome
}

/// Makes the check, and the letter that tells of it.
fn answer(accounts: &Accounts, inquiry: Inquiry) -> (u16, Letter) {
    let outcome = judge(accounts, &inquiry);
    let Inquiry {
        worker,
        connection,
        ticket,
        request,
        assigned,
        ..
    } = inquiry;
    let letter = Letter::Judged {
        connection,
        ticket,
        judgement: Box::new(Judgement {
            request,
            assigned,
            outcome,
        }),
    };
    (worker, letter)
}
