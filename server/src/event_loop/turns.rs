//! Whose turn it is: who is in goes first, and of those who asks for little.
//!
//! epoll tells of sockets in the order of their coming, so whoever sends much, or costs much, would make
//! all others wait. There are two of that kind, and each has a queue that is served after everything
//! else of a batch, in order, and only so much in a turn:
//!
//! - *Newcomers* are not online. A TLS handshake takes ten times the CPU of a CONNECT, which takes ten
//!   times that of a PINGREQ. After an outage all clients send it at once, and who means harm sends the
//!   same ClientHello a thousand times.
//! - *Busy* ones have more to read than is read at once, or cost more than a turn may.
//!
//! A connection stands in one queue at most, and once; meanwhile what comes from it waits in its socket.

use std::collections::VecDeque;

use super::connection::Connection;
use super::worker::Worker;

/// What a turn spends on newcomers at most. The unit is a read with a CONNECT, about 15 µs.
const NEWCOMERS_COST_MAX: u32 = 128;

/// A read with a part of a TLS handshake, in the same unit.
const HANDSHAKE_COST: u32 = 16;

/// What a turn spends on packets of others at most, and as much again on busy ones. The unit is a
/// delivery, some 50 ns.
pub(super) const WORK_MAX: u32 = 16_384;

/// A packet, in the same unit.
pub(super) const PACKET_WORK: u32 = 8;

/// Whoever has no more bytes than this left is served to the end even if the turn is spent: putting it
/// off would make those wait who ask for little.
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
    /// Reads from a connection at once, if it is online and does not wait for its turn.
    pub(super) fn read_in_turn(&mut self, key: usize, to_the_end: bool) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        if connection.online.is_some() && connection.turn == Turn::None {
            self.read(key, to_the_end);
        } else {
            self.wait_for_turn(key, to_the_end);
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
    pub(super) fn is_turn_over(&self, rest: usize) -> bool {
        self.work_left == 0 && rest > REST_BYTES_MAX
    }

    /// Counts what was done in this turn.
    pub(super) fn count_work(&mut self, work: u32) {
        self.work_left = self.work_left.saturating_sub(work);
    }

    /// Serves the queues, as much as a turn may cost.
    pub(super) fn serve_queues(&mut self) {
        self.serve_busy();
        self.serve_newcomers();
    }

    fn serve_busy(&mut self) {
        self.work_left = WORK_MAX;
        // Whoever has still more comes to the end of the queue, for the next turn.
        for _ in 0..self.queues.busy.len() {
            let Some(key) = self.queues.busy.pop_front() else {
                break;
            };
            if self.take_turn(key) != Turn::None {
                self.read_busy(key as usize);
            }
            if self.work_left == 0 {
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
            self.resume(key);
        }
    }

    fn is_online(&self, key: usize) -> bool {
        let is_online = |found: &Connection| found.online.is_some();
        self.connections.get(key).is_some_and(is_online)
    }

    fn serve_newcomers(&mut self) {
        let mut cost = 0;
        for _ in 0..self.queues.newcomers.len() {
            let Some(key) = self.queues.newcomers.pop_front() else {
                break;
            };
            cost += self.read_newcomer(key);
            if cost >= NEWCOMERS_COST_MAX {
                break;
            }
        }
        if !self.queues.newcomers.is_empty() {
            self.house.shared.metrics.newcomers_deferred.inc();
        }
    }

    /// Answers what it cost.
    fn read_newcomer(&mut self, key: u32) -> u32 {
        let turn = self.take_turn(key);
        if turn == Turn::None {
            return 0;
        }
        if self.is_online(key as usize) {
            // It has been let in meanwhile, and may have had its turn cut short since.
            self.read_busy(key as usize);
            return 1;
        }
        let secure = self.secures.get(&key);
        let shakes_hands = secure.is_some_and(|secure| !secure.is_established());
        self.read(key as usize, turn == Turn::WaitsToTheEnd);
        if shakes_hands { HANDSHAKE_COST } else { 1 }
    }

    fn take_turn(&mut self, key: u32) -> Turn {
        let connection = self.connections.get_mut(key as usize);
        connection.map_or(Turn::None, |found| std::mem::take(&mut found.turn))
    }
}
