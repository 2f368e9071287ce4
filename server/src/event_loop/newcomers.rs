//! Who is in goes first.
//!
//! What a client sends before it is online costs the most: a TLS handshake takes ten times the CPU of a
//! CONNECT, which takes ten times that of a PINGREQ. After an outage all clients send it at once, and who
//! means harm sends the same ClientHello a thousand times. So a loop reads from those that are not online
//! after everything else of a batch, in the order of their coming, and only so much in a turn: those
//! that are wait for no more than [`TURN_COST_MAX`] of it. Each connection stands in the queue once at
//! most.

use std::collections::VecDeque;

use super::worker::Worker;

/// What a turn spends on newcomers at most. The unit is a read with a CONNECT, about 15 µs.
const TURN_COST_MAX: u32 = 256;

/// A read with a part of a TLS handshake, in the same unit.
const HANDSHAKE_COST: u32 = 16;

/// The place of a connection in the queue.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has none.
    #[default]
    None,
    Waits,
    /// The peer has closed: no other event will tell, so its socket must be read to the end.
    WaitsToTheEnd,
}

/// Connections that are not online and have something to be read. Those that have gone meanwhile, and
/// whoever has their number now, are told by [`Turn`].
#[derive(Default)]
pub(super) struct Newcomers(VecDeque<u32>);

impl Newcomers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Worker {
    /// Reads from a connection that is online, or puts one that is not into the queue.
    pub(super) fn read_in_turn(&mut self, key: usize, to_the_end: bool) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.online.is_some() {
            self.read(key, to_the_end);
            return;
        }
        if connection.turn == Turn::None {
            connection.turn = Turn::Waits;
            self.newcomers.0.push_back(key as u32);
        }
        if to_the_end {
            connection.turn = Turn::WaitsToTheEnd;
        }
    }

    /// Reads from the first of the queue, as much as a turn may cost.
    pub(super) fn read_newcomers(&mut self) {
        let mut cost = 0;
        while cost < TURN_COST_MAX
            && let Some(key) = self.newcomers.0.pop_front()
        {
            cost += self.read_newcomer(key);
        }
        if !self.newcomers.is_empty() {
            self.house.shared.metrics.newcomers_deferred.inc();
        }
    }

    /// Answers what it cost.
    fn read_newcomer(&mut self, key: u32) -> u32 {
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return 0;
        };
        let turn = std::mem::take(&mut connection.turn);
        if turn == Turn::None {
            return 0;
        }
        let secure = self.secures.get(&key).filter(|_| connection.is_secure);
        let shakes_hands = secure.is_some_and(|secure| !secure.is_established());
        self.read(key as usize, turn == Turn::WaitsToTheEnd);
        if shakes_hands { HANDSHAKE_COST } else { 1 }
    }
}
