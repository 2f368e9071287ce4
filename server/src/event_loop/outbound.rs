//! Messages to subscribers and bytes to sockets.
//!
//! Output is collected while a batch of events is handled and written once per connection. If nothing
//! of the batch is left that could add to it, a crowd is written to in parts of [`CROWD`], so that its
//! first members need not wait until the last has been served. What a
//! socket does not take waits in the connection, up to `outbound_bytes_max`. Beyond that, a QoS 0
//! message is dropped and counted; the others wait in the session's queue, and when that is full
//! too the session ends: it is told 0x97 rather than left with a gap that nobody notices.

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use mio::{Interest, Token};
use mqtt::{DisconnectReason, Message, Outgoing, QoS};
use presence::EndReason;

use super::connection::{Connection, Phase, Transport};
use super::routing::Delivery;
use super::secure::{Exhausted, RECORD_BYTES_MAX, Secure};
use super::websocket;
use super::worker::Worker;

/// So many recipients are written to at once while their message is still handed to others: enough to
/// make little of the switch between the two, few enough for the first bytes to leave at once.
const CROWD: usize = 32;

/// What a flush came to.
enum Written {
    All,
    /// The socket takes no more for now.
    Partly,
    Failed,
}

impl Worker {
    /// Gives a message to one of this worker's connections. Answers whether it still carries that
    /// session; what then becomes of the message is settled.
    pub(super) fn deliver(&mut self, delivery: &Delivery, message: &Arc<Message>) -> bool {
        if self.has_crowd() {
            self.flush_recipients();
        }
        let key = delivery.connection as usize;
        let carrier = self.connections.get(key);
        let Some(connection) = carrier.filter(|found| found.carries(delivery.session)) else {
            return false;
        };
        let house = Arc::clone(&self.house);
        let outbound_bytes_max = house.shared.settings.outbound_bytes_max;
        let version = connection.session.version().unwrap_or(mqtt::Version::V5);
        let length = message.frame(version, delivery.qos).len();
        let mut unsent = connection.unsent();
        if unsent > 0 && unsent + length > outbound_bytes_max {
            // The batch itself may have filled the buffer: what the socket takes now makes room.
            self.flush(key);
            unsent = self.connections.get(key).map_or(0, Connection::unsent);
        }
        let has_room = unsent == 0 || unsent + length <= outbound_bytes_max;
        if !has_room && delivery.qos == QoS::AtMostOnce {
            house.shared.metrics.drop_messages("slow_reader", 1);
            return true;
        }
        self.mark_recipient(key);
        let now_ms = self.now_ms;
        let own = self.own_limits(key);
        let limits = own
            .as_ref()
            .map_or(&house.shared.limits, |own| &own.protocol);
        let outcome = self.with_output(key, |session, out| {
            let options = Outgoing {
                qos: delivery.qos,
                retain: delivery.retain,
                subscription_ids: delivery.identifiers.as_deref().unwrap_or_default(),
            };
            session.deliver(message, options, has_room, now_ms, limits, out)
        });
        match outcome {
            None => {}
            Some(mqtt::Delivery::Sent | mqtt::Delivery::Queued) => {
                self.tally.delivered += 1;
            }
            Some(mqtt::Delivery::Dropped(why)) => {
                house.shared.metrics.drop_messages(why.as_str(), 1);
            }
            Some(mqtt::Delivery::QueueFull) => {
                house.shared.metrics.drop_messages("queue_full", 1);
                self.disconnect(
                    key,
                    DisconnectReason::QuotaExceeded,
                    EndReason::ProtocolError,
                );
            }
        }
        true
    }

    pub(super) fn flush_dirty(&mut self) {
        let mut flushing = std::mem::take(&mut self.flushing);
        // A flush may let messages out that waited in their session, which is new output.
        while !self.recipients.is_empty() || !self.dirty.is_empty() {
            flushing.append(&mut self.recipients);
            flushing.append(&mut self.dirty);
            self.flush_all(&mut flushing);
        }
        self.flushing = flushing;
    }

    /// Whether there are recipients enough to write to, and nothing is behind that could add to what
    /// they get.
    fn has_crowd(&self) -> bool {
        let has_more_behind = self.has_more_behind || self.events_behind > 0;
        self.recipients.len() >= CROWD && !has_more_behind
    }

    pub(super) fn flush_recipients(&mut self) {
        self.post_outboxes();
        let mut flushing = std::mem::take(&mut self.flushing);
        flushing.append(&mut self.recipients);
        self.flush_all(&mut flushing);
        self.flushing = flushing;
    }

    fn flush_all(&mut self, keys: &mut Vec<u32>) {
        for key in keys.drain(..) {
            if let Some(connection) = self.connections.get_mut(key as usize) {
                connection.is_dirty = false;
                self.flush(key as usize);
            }
        }
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let secure = match connection.is_secure {
            true => self.secures.get_mut(&(key as u32)),
            false => None,
        };
        let written = match secure {
            Some(secure) => write_sealed(connection, secure),
            None => write_pending(connection),
        };
        match written {
            Written::All => {
                if connection.waits_to_write {
                    // Nothing may have been read from it while it took nothing.
                    self.wait_for_turn(key, true);
                }
                self.after_all_written(key);
            }
            Written::Partly => self.watch_for_room(key, true),
            Written::Failed => self.close(key, EndReason::ConnectionLost),
        }
    }

    fn after_all_written(&mut self, key: usize) {
        self.watch_for_room(key, false);
        let house = Arc::clone(&self.house);
        let now_ms = self.now_ms;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.phase == Phase::Lingering {
            self.say_goodbye(key);
            return;
        }
        let Some(mut pending) = connection.pending.take() else {
            return;
        };
        // Messages may have waited in the session for the socket to take bytes again.
        let room = house.shared.settings.outbound_bytes_max;
        let session = &mut connection.session;
        session.resume(room, now_ms, &house.shared.limits, &mut pending.output);
        let discarded = session.take_discarded();
        let has_output = pending.unsent() > 0;
        self.put_back(key, pending);
        if has_output {
            self.mark_dirty(key);
        }
        self.discard(key, discarded);
        self.send_more_retained(key);
    }

    /// Asks the poll to tell when the socket takes bytes again, or no longer to tell.
    fn watch_for_room(&mut self, key: usize, wanted: bool) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.waits_to_write == wanted {
            return;
        }
        connection.waits_to_write = wanted;
        let interest = if wanted {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        let socket = &mut connection.socket;
        if let Err(error) = self
            .poll
            .registry()
            .reregister(socket, Token(key), interest)
        {
            tracing::warn!(%error, "failed to watch a connection");
            self.close(key, EndReason::ConnectionLost);
        }
    }
}

fn write_pending(connection: &mut Connection) -> Written {
    let Some(pending) = &mut connection.pending else {
        return Written::All;
    };
    if let Transport::WebSocket(_) = connection.transport {
        websocket::wrap(&mut pending.output, &mut pending.frames);
    }
    for buffer in [&mut pending.frames, &mut pending.output] {
        match write(&mut connection.socket, buffer) {
            Written::All => {}
            other => return other,
        }
    }
    Written::All
}

/// As [`write_pending`], a record at a time, so that little is sealed that the socket may not take.
fn write_sealed(connection: &mut Connection, secure: &mut Secure) -> Written {
    loop {
        match write(&mut connection.socket, &mut secure.sealed) {
            Written::All => {}
            other => return other,
        }
        if seal_next(connection, secure).is_err() {
            return Written::Failed;
        }
        if secure.sealed.is_empty() {
            // An idle connection has no buffer.
            secure.sealed = BytesMut::new();
            return Written::All;
        }
    }
}

/// Seals the next of what waits; after the last word, the goodbye.
fn seal_next(connection: &mut Connection, secure: &mut Secure) -> Result<(), Exhausted> {
    if let Some(pending) = &mut connection.pending
        && secure.is_established()
    {
        if let Transport::WebSocket(_) = connection.transport {
            websocket::wrap(&mut pending.output, &mut pending.frames);
        }
        for buffer in [&mut pending.frames, &mut pending.output] {
            if !buffer.is_empty() {
                let length = buffer.len().min(RECORD_BYTES_MAX);
                secure.seal(&buffer[..length])?;
                buffer.advance(length);
                return Ok(());
            }
        }
    }
    if connection.phase == Phase::Lingering {
        secure.say_goodbye();
    }
    Ok(())
}

fn write(socket: &mut mio::net::TcpStream, buffer: &mut BytesMut) -> Written {
    while !buffer.is_empty() {
        match socket.write(buffer) {
            Ok(0) => return Written::Failed,
            Ok(length) => buffer.advance(length),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Written::Partly,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Written::Failed,
        }
    }
    Written::All
}
