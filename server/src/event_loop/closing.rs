//! Every way a connection ends. A session ends in [`Worker::end`], whatever the reason, once.
//!
//! When the server has the last word (a CONNACK that refuses, a DISCONNECT), closing the socket at
//! once could destroy that word on its way: the kernel answers unread bytes with a reset. So the
//! connection *lingers*: it is shut for writing, what comes is thrown away, and it goes when the
//! peer closes or after [`LINGER_TENTHS`].

use std::net::Shutdown;
use std::sync::atomic::Ordering;

use mqtt::DisconnectReason;
use presence::{EndReason, SessionRef};

use super::connection::{Connection, Ending, Phase, Tick, Transport};
use super::turns::Turn;
use super::websocket::{self, Closing};
use super::worker::Worker;

/// Tenths of a second that a connection lingers at most.
const LINGER_TENTHS: u32 = 20;

impl Worker {
    /// Ends the session that a connection carries, if any. The connection stays.
    pub(super) fn end(&mut self, key: usize, reason: EndReason) {
        let online = self
            .connections
            .get_mut(key)
            .and_then(|connection| connection.online.take());
        self.detach(key, None, true);
        self.retaining.forget(key);
        if let Some(online) = online {
            self.leave_will(key, &online.org, online.session);
            self.house
                .shared
                .lifecycle
                .end(&online.org, online.session, reason);
        }
    }

    /// Ends the session and drops the connection at once.
    pub(super) fn close(&mut self, key: usize, reason: EndReason) {
        self.end(key, reason);
        if let Some(mut connection) = self.connections.try_remove(key) {
            self.passes.withdraw(key);
            if connection.is_secure {
                self.secures.remove(&(key as u32));
            }
            // Dropping the socket closes it, which takes it out of the poll.
            if let Some(pending) = connection.pending.take() {
                self.keep_spare(pending);
            }
            // Of one that never came online: another connection gets this place.
            self.forget_will(key);
            self.house.shared.metrics.connections_closed.inc();
            self.house.connection_count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Tells the client why (MQTT 5), ends the session and lingers.
    pub(super) fn disconnect(&mut self, key: usize, why: DisconnectReason, reason: EndReason) {
        self.end(key, reason);
        self.with_output(key, |session, out| session.disconnect(why, out));
        self.linger(key);
    }

    /// Closes a connection whose session ended elsewhere: it was taken over.
    pub(super) fn close_ended(
        &mut self,
        connection: u32,
        session: SessionRef,
        why: DisconnectReason,
    ) {
        let key = connection as usize;
        let Some(found) = self.connections.get_mut(key) else {
            return;
        };
        // The place may be another connection's by now.
        if !found.carries(session) {
            return;
        }
        let online = found.online.take();
        self.detach(key, None, true);
        self.retaining.forget(key);
        if let Some(online) = online {
            self.leave_will(key, &online.org, online.session);
        }
        self.with_output(key, |session, out| session.disconnect(why, out));
        self.linger(key);
    }

    /// Sends what is left to say, then waits for the peer to close.
    pub(super) fn linger(&mut self, key: usize) {
        let is_framed = |found: &Connection| {
            matches!(found.transport, Transport::WebSocket(_)) && found.phase == Phase::Open
        };
        if self.connections.get(key).is_some_and(is_framed) {
            self.write_close(key, Closing::Answered);
        }
        self.linger_silently(key);
    }

    /// Ends a connection whose client has ended the stream, and answered all that it said before.
    pub(super) fn end_as(&mut self, key: usize, ending: Ending) {
        self.end(key, ending.reason());
        if let Ending::Frame(closing) = ending {
            self.write_close(key, closing);
        }
        self.linger_silently(key);
    }

    fn write_close(&mut self, key: usize, closing: Closing) {
        if let Some((_, mut pending)) = self.pending_of(key) {
            websocket::write_close(closing, &mut pending.output, &mut pending.frames);
            self.put_back(key, pending);
        }
    }

    /// As [`Worker::linger`], where everything has been said.
    pub(super) fn linger_silently(&mut self, key: usize) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.phase == Phase::Lingering {
            return;
        }
        connection.phase = Phase::Lingering;
        connection.active_at = now;
        // Its place in the organisation is free, however long the client takes to close.
        self.passes.withdraw(key);
        self.flush(key);
    }

    /// The last word is written: no more will come from here.
    pub(super) fn say_goodbye(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            // It fails only if the peer is gone already, which the next read finds out.
            let _ = connection.socket.shutdown(Shutdown::Write);
        }
    }

    /// Closes a connection that is late with CONNECT, silent beyond its keep alive, or has
    /// lingered.
    pub(super) fn close_if_overdue(&mut self, key: usize) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let silent = self.heard_at.beyond(connection.active_at);
        let settings = &self.house.shared.settings;
        if connection.phase == Phase::Opening {
            // It is the journal's turn, not the client's.
        } else if connection.phase == Phase::Lingering {
            if self.now.since(connection.active_at) > LINGER_TENTHS {
                self.close(key, EndReason::ConnectionLost);
            }
        } else if connection.turn != Turn::None {
            // It has spoken, and waits until it is heard.
        } else if connection.online.is_none() {
            if silent > settings.connect_timeout_secs * Tick::PER_SEC {
                self.house.shared.metrics.refuse("connect_timeout");
                self.close(key, EndReason::ConnectionLost);
            }
        } else if is_silent_too_long(connection, silent) {
            self.disconnect(
                key,
                DisconnectReason::KeepAliveTimeout,
                EndReason::KeepAliveTimeout,
            );
        }
    }

    /// Ends the sessions whose credentials have expired: MQTT 5 is told 0xA0 (§3.14.2.1).
    pub(super) fn end_expired(&mut self) {
        while let Some(key) = self.passes.next_over(self.now) {
            // One whose opening is still under way is looked at when that is done.
            if self
                .connections
                .get(key)
                .is_some_and(|found| found.online.is_some())
            {
                self.disconnect(
                    key,
                    DisconnectReason::MaximumConnectTime,
                    EndReason::CredentialsExpired,
                );
            }
        }
    }

    /// Tells every client that the server stops, and closes its connection. The sessions end in the
    /// journal after all event loops have finished.
    pub(super) fn send_everybody_away(&mut self) {
        self.finish_backlog();
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in &keys {
            self.detach(*key, None, true);
            if let Some((org, session)) = self.online(*key) {
                self.leave_will(*key, &org, session);
            }
        }
        // While those whom they reach still have their connections.
        self.publish_wills();
        self.finish_backlog();
        for key in keys {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.online = None;
            }
            let why = DisconnectReason::ServerShuttingDown;
            self.with_output(key, |session, out| session.disconnect(why, out));
            self.linger(key);
            self.close(key, EndReason::ServerStopped);
        }
    }
}

fn is_silent_too_long(connection: &Connection, silent: u32) -> bool {
    connection
        .session
        .silent_secs_max()
        .is_some_and(|secs| silent > secs.saturating_mul(Tick::PER_SEC))
}
