//! Letters from one worker to another: messages for its connections, and orders to close one.
//!
//! The number of deliveries waiting is limited. At the limit a message does not cross, and its
//! publisher is told (see [`super::actions`]); orders to close always pass, since there can be no
//! more of them than connections.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::{Poll, Token, Waker};
use mqtt::{DisconnectReason, Message, QoS};
use presence::{Org, SessionRef};

use super::House;

/// The event that says that letters have come.
pub(super) const MAIL: Token = Token(usize::MAX);

/// One recipient of a message among a worker's connections.
#[derive(Clone, Copy)]
pub(crate) struct Delivery {
    pub(super) connection: u32,
    pub(super) session: SessionRef,
    pub(super) qos: QoS,
}

/// What a worker is asked to do.
pub(crate) enum Letter {
    /// Deliver a message to these connections.
    Deliver(Arc<Message>, Box<[Delivery]>),
    /// The session that a connection asked for is open.
    Opened {
        connection: u32,
        ticket: u32,
        session: SessionRef,
        org: Arc<Org>,
    },
    /// The session that a connection asked for cannot be opened now.
    Refused { connection: u32, ticket: u32 },
    /// Close the connection whose session has ended already.
    Close {
        connection: u32,
        session: SessionRef,
        why: DisconnectReason,
    },
    /// End all sessions and finish.
    Stop,
}

/// A worker's letters.
pub(crate) struct Mailbox {
    letters: Mutex<Vec<Letter>>,
    waker: Waker,
    waiting: AtomicUsize,
    deliveries_max: usize,
}

impl Mailbox {
    pub(super) fn new(poll: &Poll, deliveries_max: usize) -> io::Result<Self> {
        Ok(Self {
            letters: Mutex::new(Vec::new()),
            waker: Waker::new(poll.registry(), MAIL)?,
            waiting: AtomicUsize::new(0),
            deliveries_max,
        })
    }

    /// Posts deliveries, unless too many are waiting already.
    pub(super) fn post_deliveries(&self, message: &Arc<Message>, to: &[Delivery]) -> bool {
        let waiting = self.waiting.fetch_add(to.len(), Ordering::Relaxed);
        if waiting + to.len() > self.deliveries_max && waiting > 0 {
            self.waiting.fetch_sub(to.len(), Ordering::Relaxed);
            return false;
        }
        self.post(Letter::Deliver(Arc::clone(message), to.into()));
        true
    }

    pub(super) fn post(&self, letter: Letter) {
        self.post_all(&mut vec![letter]);
    }

    fn post_all(&self, posted: &mut Vec<Letter>) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let first = letters.is_empty() && !posted.is_empty();
        letters.append(posted);
        drop(letters);
        // Whoever put the first letter in wakes; the others find the worker awake.
        if first && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "failed to wake an event loop");
        }
    }

    pub(super) fn take(&self) -> Vec<Letter> {
        let letters =
            std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner));
        let taken = letters.iter().map(|letter| match letter {
            Letter::Deliver(_, to) => to.len(),
            _ => 0,
        });
        self.waiting.fetch_sub(taken.sum(), Ordering::Relaxed);
        letters
    }
}

/// Writes to all event loops of a server.
#[derive(Clone)]
pub(crate) struct Letters {
    house: Arc<House>,
}

/// Letters that are posted together: each loop is woken once.
pub(crate) struct Batch<'a> {
    house: &'a House,
    by_worker: Vec<Vec<Letter>>,
}

impl Letters {
    pub(super) fn new(house: Arc<House>) -> Self {
        Self { house }
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        let by_worker = self.house.mailboxes.iter().map(|_| Vec::new()).collect();
        Batch {
            house: &self.house,
            by_worker,
        }
    }
}

impl Batch<'_> {
    /// Adds a letter to a worker.
    pub(crate) fn add(&mut self, (worker, letter): (u16, Letter)) {
        self.by_worker[usize::from(worker)].push(letter);
    }

    pub(crate) fn post(mut self) {
        for (mailbox, letters) in self.house.mailboxes.iter().zip(&mut self.by_worker) {
            mailbox.post_all(letters);
        }
    }
}
