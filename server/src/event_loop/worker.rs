//! The loop: wait for events, serve the connections they are about, read the mail, sweep, flush.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use messages::Kept;
use mio::{Events, Interest, Poll, Token};
use presence::Org;
use slab::Slab;

use super::House;
use super::backlog::Backlog;
use super::connection::{Connection, Online, Pending, Tick};
use super::decoded::Decoded;
use super::held_back::HeldBack;
use super::listener::Bound;
use super::mailbox::{Letter, MAIL};
use super::metrics::Tally;
use super::passes::{Passes, SessionLimits};
use super::retained::Retaining;
use super::routing::{Parcel, Routes};
use super::secure::Secure;
use super::stored::Stored;
use super::turns::{Queues, SLICE};
use super::wills::DueWill;
use crate::clock::unix_ms;

/// Listeners have the tokens just below [`MAIL`].
const LISTENERS_FROM: usize = usize::MAX - 64;

/// One read takes at most this many bytes. Longer packets are put together in the connection.
const READ_BYTES: usize = 16 * 1024;

const EVENTS_PER_POLL_MAX: usize = 1024;

/// In a batch of so few, messages go out after each: little is gained by collecting them, and none has to
/// wait until others have been read.
const FEW_EVENTS: usize = 16;

/// How long a poll waits at most: also the pace of the sweep, of which each poll does a part.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Buffers kept for reuse, so that a busy connection does not ask the allocator for every packet.
const SPARES_MAX: usize = 64;

/// Buffers with more bytes than this are not kept.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// One event loop and its connections.
pub(super) struct Worker {
    pub(super) index: u16,
    #[expect(
        clippy::redundant_allocation,
        reason = "clones are counted by this loop alone: a count that all loops change for every \
                  packet would go to and fro between their cores"
    )]
    pub(super) house: Arc<Arc<House>>,
    pub(super) connections: Slab<Connection>,
    pub(super) passes: Passes,
    /// TLS of those connections that speak it.
    pub(super) secures: HashMap<u32, Box<Secure>>,
    /// By organisation; none for those whose sessions have the limits of all.
    pub(super) session_limits: Box<[Option<Arc<SessionLimits>>]>,
    pub(super) poll: Poll,
    pub(super) doors: Vec<Bound>,
    /// Doors that could not be emptied, for lack of files mostly.
    pub(super) doors_again: bool,
    /// Doors at which more wait than are let in at once.
    pub(super) doors_crowded: bool,
    pub(super) queues: Queues,
    pub(super) backlog: Backlog,
    /// When those who ask for much have to wait for the next turn.
    pub(super) slice_ends: Instant,
    /// When the lack of files was logged last.
    pub(super) warned_at: Option<Tick>,
    pub(super) last_ticket: u32,
    started: Instant,
    pub(super) now: Tick,
    /// What had come before this time has been heard of: only then is silence a client's own.
    pub(super) heard_at: Tick,
    /// When the round of polls began after which that is so, and the events that it has brought.
    round: (Tick, usize),
    /// Unix time in milliseconds: messages expire by it.
    pub(super) now_ms: u64,
    pub(super) read_buffer: Box<[u8]>,
    /// Not yet in the metrics.
    pub(super) tally: Tally,
    pub(super) routes: Routes,
    /// What is for the connections of other loops, by loop: posted before the next poll.
    pub(super) outboxes: Box<[Parcel]>,
    /// Wills by connection, as stored messages.
    pub(super) wills: HashMap<u32, Bytes>,
    /// What is kept of connections whose sessions are stored, or to be.
    pub(super) stored: HashMap<u32, Box<Stored>>,
    /// Messages that others get when the keeper has settled them.
    pub(super) held_back: HeldBack,
    /// Stored messages that were decoded in this batch.
    pub(super) decoded: Decoded,
    /// Retained messages that wait for room.
    pub(super) retaining: Retaining,
    /// What outlives connections, by organisation: organisations live as long as the server, so
    /// their place in memory names them.
    pub(super) kept: HashMap<usize, Arc<Kept>>,
    /// Wills to publish before the next flush.
    pub(super) due_wills: Vec<DueWill>,
    /// What was read once TLS is taken off.
    pub(super) plain: Vec<u8>,
    /// Connections with output to flush before the next poll. Those that get messages go first, in the
    /// order of the messages: answers to publishers would make them wait.
    pub(super) dirty: Vec<u32>,
    pub(super) recipients: Vec<u32>,
    /// Events of this batch behind the one that is handled now, and whether that one has more packets
    /// or letters. Whoever gets a message may get more from them.
    pub(super) events_behind: usize,
    pub(super) has_more_behind: bool,
    /// Those that are being flushed. Empty in between, kept for its memory.
    pub(super) flushing: Vec<u32>,
    #[expect(
        clippy::vec_box,
        reason = "they move between here and connections as they are"
    )]
    spares: Vec<Box<Pending>>,
    /// Where the sweep goes on.
    sweep_at: usize,
    swept_at: Tick,
    is_stopping: bool,
}

impl Worker {
    pub(super) fn new(
        index: u16,
        house: Arc<House>,
        poll: Poll,
        mut doors: Vec<Bound>,
    ) -> io::Result<Self> {
        for (number, door) in doors.iter_mut().enumerate() {
            let token = Token(LISTENERS_FROM + number);
            poll.registry()
                .register(&mut door.socket, token, Interest::READABLE)?;
        }
        let directory = house.shared.keeper.directory();
        let kept_of = |org: &Arc<Org>| (Arc::as_ptr(org) as usize, directory.org(org.id()));
        let kept = house.shared.orgs.iter().map(kept_of).collect();
        let outboxes = house.mailboxes.iter().map(|_| Parcel::default()).collect();
        let shared = &house.shared;
        let (limits, most) = (
            &shared.limits,
            shared.settings.subscriptions_per_session_max,
        );
        let session_limits = shared
            .accounts
            .all_limits()
            .map(|org| SessionLimits::of(org, limits, most))
            .collect();
        Ok(Self {
            index,
            house: Arc::new(house),
            tally: Tally::default(),
            connections: Slab::new(),
            passes: Passes::default(),
            secures: HashMap::new(),
            session_limits,
            poll,
            doors,
            doors_again: false,
            doors_crowded: false,
            queues: Queues::default(),
            backlog: Backlog::default(),
            slice_ends: Instant::now(),
            warned_at: None,
            last_ticket: 0,
            started: Instant::now(),
            now: Tick(0),
            heard_at: Tick(0),
            round: (Tick(0), 0),
            now_ms: unix_ms(),
            read_buffer: vec![0; READ_BYTES].into(),
            routes: Routes::default(),
            outboxes,
            wills: HashMap::new(),
            stored: HashMap::new(),
            held_back: HeldBack::default(),
            decoded: Decoded::default(),
            retaining: Retaining::default(),
            kept,
            due_wills: Vec::new(),
            plain: Vec::new(),
            dirty: Vec::new(),
            recipients: Vec::new(),
            events_behind: 0,
            has_more_behind: false,
            flushing: Vec::new(),
            spares: Vec::new(),
            sweep_at: 0,
            swept_at: Tick(0),
            is_stopping: false,
        })
    }

    pub(super) fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_POLL_MAX);
        while !self.is_stopping {
            let timeout = self.poll_timeout();
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "an event loop failed to poll");
                return;
            }
            self.tick();
            self.begin_slice(SLICE);
            self.events_behind = events.iter().count();
            self.note_heard(self.events_behind);
            let are_few = self.events_behind <= FEW_EVENTS;
            for event in &events {
                self.events_behind -= 1;
                self.has_more_behind = false;
                self.handle_event(event);
                if are_few && !self.recipients.is_empty() {
                    self.flush_recipients();
                }
            }
            self.serve_queues();
            self.serve_backlog();
            self.send_retained_again();
            self.sweep();
            self.settle();
            self.decoded.forget();
        }
    }

    /// No time if there is something left to do that no event will tell of.
    fn poll_timeout(&self) -> Duration {
        let has_work = !self.queues.is_empty()
            || !self.backlog.is_empty()
            || self.doors_crowded
            || self.retaining.is_due();
        if has_work {
            Duration::ZERO
        } else {
            POLL_TIMEOUT
        }
    }

    /// A poll brings no more than so many events, those that have waited longest first. So all that had
    /// something to say when a round of polls began were heard of when one brings fewer, or all together
    /// as many as there are connections.
    fn note_heard(&mut self, event_count: usize) {
        let (began_at, before) = self.round;
        let began_at = if before == 0 { self.now } else { began_at };
        let count = before + event_count;
        let is_over = event_count < EVENTS_PER_POLL_MAX || count >= self.connections.len();
        if is_over {
            self.heard_at = began_at;
        }
        self.round = (began_at, if is_over { 0 } else { count });
    }

    /// Posts and sends what is to be sent. That may end sessions, whose wills are published.
    fn settle(&mut self) {
        loop {
            self.post_outboxes();
            self.tally.add_to(&self.house.shared.metrics);
            self.flush_dirty();
            if !self.publish_wills() {
                return;
            }
        }
    }

    fn tick(&mut self) {
        let tenths = self.started.elapsed().as_millis() / 100;
        self.now = Tick(tenths as u32);
        self.now_ms = unix_ms();
        if self.doors_again || self.doors_crowded {
            (self.doors_again, self.doors_crowded) = (false, false);
            for number in 0..self.doors.len() {
                self.accept(number);
            }
        }
    }

    fn handle_event(&mut self, event: &mio::event::Event) {
        match event.token() {
            MAIL => self.read_mail(),
            Token(number) if number >= LISTENERS_FROM => self.accept(number - LISTENERS_FROM),
            Token(key) => {
                if event.is_writable() {
                    self.flush(key);
                }
                let is_closed = event.is_read_closed() || event.is_error();
                if event.is_readable() || is_closed {
                    self.read_in_turn(key, is_closed);
                }
            }
        }
    }

    fn read_mail(&mut self) {
        let house = Arc::clone(&self.house);
        let mut letters = house.mailboxes[usize::from(self.index)].take().into_iter();
        while let Some(letter) = letters.next() {
            self.has_more_behind = letters.len() > 0;
            match letter {
                Letter::Deliver(parcel) => self.unpack(&parcel, letters.len() > 0),
                Letter::Close {
                    connection,
                    session,
                    why,
                } => self.close_ended(connection, session, why),
                Letter::Opened {
                    connection,
                    ticket,
                    session,
                    org,
                } => self.go_online(connection, ticket, Online { org, session }),
                Letter::Kept(carrier, answer) => self.hear_keeper(carrier, answer),
                Letter::Judged {
                    connection,
                    ticket,
                    judgement,
                } => self.hear_judgement(connection, ticket, *judgement),
                Letter::Refused { connection, ticket } => {
                    self.refuse_opening(connection, ticket);
                }
                Letter::Stop => {
                    self.doors.clear();
                    self.send_everybody_away();
                    self.is_stopping = true;
                }
            }
        }
    }

    /// Looks at a part of all connections, so that each is looked at about once a second.
    fn sweep(&mut self) {
        if self.now == self.swept_at {
            return;
        }
        self.end_expired();
        let parts = self.now.since(self.swept_at).min(Tick::PER_SEC) as usize;
        self.swept_at = self.now;
        let slots = self.connections.capacity();
        let part = (slots / Tick::PER_SEC as usize + 1) * parts;
        for _ in 0..part.min(slots) {
            self.sweep_at = (self.sweep_at + 1) % slots;
            self.close_if_overdue(self.sweep_at);
        }
    }

    /// The buffers of a connection, made or taken from the spares if it has none.
    pub(super) fn pending_of(&mut self, key: usize) -> Option<(&mut Connection, Box<Pending>)> {
        let connection = self.connections.get_mut(key)?;
        let pending = connection
            .pending
            .take()
            .or_else(|| self.spares.pop())
            .unwrap_or_default();
        Some((connection, pending))
    }

    /// Gives buffers back: to the connection if they hold something, else to the spares.
    pub(super) fn put_back(&mut self, key: usize, pending: Box<Pending>) {
        if pending.is_empty() {
            self.keep_spare(pending);
        } else if let Some(connection) = self.connections.get_mut(key) {
            connection.pending = Some(pending);
        }
    }

    pub(super) fn keep_spare(&mut self, mut pending: Box<Pending>) {
        let bytes = pending.input.capacity()
            + pending.packet.capacity()
            + pending.output.capacity()
            + pending.frames.capacity();
        if self.spares.len() < SPARES_MAX && bytes <= SPARE_BYTES_MAX {
            pending.clear();
            self.spares.push(pending);
        }
    }

    /// Notes that a connection has output to flush before the next poll.
    pub(super) fn mark_dirty(&mut self, key: usize) {
        if self.becomes_dirty(key) {
            self.dirty.push(key as u32);
        }
    }

    /// Notes that a connection is about to get a message.
    pub(super) fn mark_recipient(&mut self, key: usize) {
        if self.becomes_dirty(key) {
            self.recipients.push(key as u32);
        }
    }

    fn becomes_dirty(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let is_news = !connection.is_dirty && !connection.waits_to_write;
        connection.is_dirty |= is_news;
        is_news
    }
}
