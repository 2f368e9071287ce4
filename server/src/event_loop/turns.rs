//! Whose turn it is: who is in goes first, and of those who asks for little.
//!
//! epoll tells of sockets in the order of their coming, so whoever sends much, or costs much, would make
//! all others wait. There are two of that kind, and each has a queue that is served after everything
//! else of a batch, in order, and only for so long in a turn:
//!
//! - *Newcomers* are not online. A TLS handshake takes ten times the CPU of a CONNECT, which takes ten
//!   times that of a PINGREQ. After an outage all clients send it at once, and who means harm sends the
//!   same ClientHello a thousand times.
//! - *Busy* ones have more to read than is read at once, or cost much when they were served last. What
//!   a packet costs shows only when it is handled: a SUBSCRIBE may have a thousand filters, a name a
//!   thousand filters to be compared with. So it is the clock that tells.
//!
//! A connection stands in one queue at most, and once; meanwhile what comes from it waits in its socket.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::worker::Worker;

/// The slices of a turn: for the packets of those who come first, for busy ones, for crowds, and for
/// retained messages. Each goes on until it is over, and then to the end of what cannot be divided.
pub(super) const SLICE: Duration = Duration::from_millis(1);

/// The slice for newcomers: some 8 TLS handshakes or 128 CONNECTs.
const NEWCOMERS_SLICE: Duration = Duration::from_millis(2);

/// Who took so long when it was served last is busy.
const COSTLY: Duration = Duration::from_micros(100);

/// Whoever is not costly and has no more bytes than this left is served to the end even if the slice
/// is over: putting it off would make those wait who ask for little.
const REST_BYTES_MAX: usize = 1_024;

/// The place of a connection in its queue.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has none.
    #[default]
    None,
    Waits,
    /// No other event will tell if the peer has closed, so its socket must be read to the end.
    WaitsToTheEnd,
}

/// Connections that wait for their turn. Those that have gone meanwhile, and whoever has their number
/// now, are told by [`Turn`].
#[derive(Default)]
pub(super) struct Queues {
    newcomers: VecDeque<u32>,
    busy: VecDeque<u32>,
}

impl Queues {
    pub(super) fn is_empty(&self) -> bool {
        self.newcomers.is_empty() && self.busy.is_empty()
    }
}

impl Worker {
    /// Reads from a connection at once, if it is online, not costly and does not wait for its turn.
    pub(super) fn read_in_turn(&mut self, key: usize, to_the_end: bool) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let is_first = connection.online.is_some() && !connection.is_costly;
        if is_first && connection.turn == Turn::None {
            self.serve(key, |worker| worker.read(key, to_the_end));
        } else {
            self.wait_for_turn(key, to_the_end);
        }
    }

    /// Serves a connection, and notes whether that was costly.
    fn serve(&mut self, key: usize, serve: impl FnOnce(&mut Self)) {
        let began = Instant::now();
        serve(self);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.is_costly = began.elapsed() >= COSTLY;
        }
    }

    /// Puts a connection at the end of its queue, if it stands in none.
    pub(super) fn wait_for_turn(&mut self, key: usize, to_the_end: bool) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.turn == Turn::None {
            connection.turn = Turn::Waits;
            let queue = match connection.online {
                Some(_) => &mut self.queues.busy,
                None => &mut self.queues.newcomers,
            };
            queue.push_back(key as u32);
        }
        if to_the_end {
            connection.turn = Turn::WaitsToTheEnd;
        }
    }

    /// Whether a connection that has so many bytes left must wait for its next turn.
    pub(super) fn is_turn_over(&self, key: usize, rest: usize) -> bool {
        let is_costly = |found: &Connection| found.is_costly;
        let may_be_put_off =
            rest > REST_BYTES_MAX || rest > 0 && self.connections.get(key).is_some_and(is_costly);
        may_be_put_off && self.is_slice_over()
    }

    pub(super) fn begin_slice(&mut self, length: Duration) {
        self.slice_ends = Instant::now() + length;
    }

    pub(super) fn is_slice_over(&self) -> bool {
        Instant::now() >= self.slice_ends
    }

    /// Serves the queues, as long as a turn may take.
    pub(super) fn serve_queues(&mut self) {
        self.serve_busy();
        self.serve_newcomers();
    }

    fn serve_busy(&mut self) {
        self.begin_slice(SLICE);
        // Whoever has still more comes to the end of the queue, for the next turn.
        for _ in 0..self.queues.busy.len() {
            let Some(key) = self.queues.busy.pop_front() else {
                break;
            };
            if self.take_turn(key) != Turn::None {
                self.read_busy(key as usize);
            }
            if self.is_slice_over() {
                break;
            }
        }
        if !self.queues.busy.is_empty() {
            self.house.shared.metrics.reads_deferred.inc();
        }
    }

    fn read_busy(&mut self, key: usize) {
        if !self.is_online(key) {
            self.read(key, true);
            return;
        }
        self.note_unread(key, true);
        // Who waits for answers of ours is read from when it has them.
        if !self.must_wait(key) {
            self.serve(key, |worker| worker.resume(key));
        }
    }

    fn is_online(&self, key: usize) -> bool {
        let is_online = |found: &Connection| found.online.is_some();
        self.connections.get(key).is_some_and(is_online)
    }

    fn serve_newcomers(&mut self) {
        self.begin_slice(NEWCOMERS_SLICE);
        for _ in 0..self.queues.newcomers.len() {
            let Some(key) = self.queues.newcomers.pop_front() else {
                break;
            };
            self.read_newcomer(key);
            if self.is_slice_over() {
                break;
            }
        }
        if !self.queues.newcomers.is_empty() {
            self.house.shared.metrics.newcomers_deferred.inc();
        }
    }

    fn read_newcomer(&mut self, key: u32) {
        let turn = self.take_turn(key);
        if turn == Turn::None {
            return;
        }
        if self.is_online(key as usize) {
            // It has been let in meanwhile, and may have had its turn cut short since.
            self.read_busy(key as usize);
        } else {
            self.read(key as usize, turn == Turn::WaitsToTheEnd);
        }
    }

    fn take_turn(&mut self, key: u32) -> Turn {
        let connection = self.connections.get_mut(key as usize);
        connection.map_or(Turn::None, |found| std::mem::take(&mut found.turn))
    }
}
