//! Letters from one worker to another: messages for its connections, and orders to close one.
//!
//! The number of deliveries waiting is limited, those included that a loop has collected and not
//! posted yet. At the limit a message does not cross, and its publisher is told (see
//! [`super::routing`]); orders to close always pass, since there can be no
//! more of them than connections.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use messages::{Answer, Carrier};
use mio::{Poll, Token, Waker};
use mqtt::DisconnectReason;
use presence::{Org, SessionRef};

use super::House;
use super::routing::Parcel;
use crate::keeper::Mail;
use crate::verifiers::Judgement;

/// The event that says that letters have come.
pub(super) const MAIL: Token = Token(usize::MAX);

/// What a worker is asked to do.
pub(crate) enum Letter {
    /// Deliver messages to connections. There is room reserved for them.
    Deliver(Parcel),
    /// The session that a connection asked for is open.
    Opened {
        connection: u32,
        ticket: u32,
        session: SessionRef,
        org: Arc<Org>,
    },
    /// The session that a connection asked for cannot be opened now.
    Refused { connection: u32, ticket: u32 },
    /// What the keeper says, to a connection or (a will) to anybody.
    Kept(Option<Carrier>, Answer),
    /// A verifier has decided about the login of a connection.
    Judged {
        connection: u32,
        ticket: u32,
        judgement: Box<Judgement>,
    },
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

    /// Reserves room for deliveries, unless too many are waiting already. They must be posted.
    pub(super) fn reserve(&self, count: usize) -> bool {
        let waiting = self.waiting.fetch_add(count, Ordering::Relaxed);
        let has_room = waiting == 0 || waiting + count <= self.deliveries_max;
        if !has_room {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
        }
        has_room
    }

    /// Gives back room that was reserved for deliveries that are not posted.
    pub(super) fn release(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// Posts deliveries for which there is room reserved.
    pub(super) fn post_parcel(&self, parcel: Parcel) {
        self.post(Letter::Deliver(parcel));
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
            Letter::Deliver(parcel) => parcel.len(),
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

impl Mail for Letters {
    fn post(&mut self, letters: Vec<messages::Letter>) {
        let mut batch = self.batch();
        for (carrier, answer) in letters {
            let worker = carrier.map_or(0, |carrier| carrier.address.worker);
            batch.add((worker, Letter::Kept(carrier, answer)));
        }
        batch.post();
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
