//! From the bytes of a socket to the actions of a session.
//!
//! Packets are taken out of the worker's read buffer where they lie; only what is not whole yet is
//! kept, and never more than one packet's limit.

use std::io::{ErrorKind, Read};
use std::sync::Arc;

use bytes::BytesMut;
use presence::EndReason;

use super::connection::{Connection, Ending, Pending, Phase, Transport};
use super::secure::Broken;
use super::websocket::{self, Closing, Next, Upgrade};
use super::worker::Worker;

/// Reads in a row that one connection may have before the others get their turn.
const READS_MAX: usize = 2;

/// The same for one whose bytes are thrown away.
const LINGERING_READS_MAX: usize = 64;

/// Whether to go on with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// It has to wait, mostly for the answer to its CONNECT: what has been read is kept.
    Held,
    /// It is closed or lingers: nothing more is read from it.
    Ended,
}

impl Worker {
    /// Reads what a socket has, until it has no more or its turn is over.
    ///
    /// A read that does not fill the buffer has emptied the socket; whatever comes later makes an
    /// event of its own. Not so if the event at hand told that the peer has closed: no other will,
    /// so `to_the_end` reads until the socket says it too.
    pub(super) fn read(&mut self, key: usize, to_the_end: bool) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        self.note_unread(key, false);
        let lingers = |found: &Connection| found.phase == Phase::Lingering;
        let lingers = self.connections.get(key).is_some_and(lingers);
        let reads_max = if lingers {
            LINGERING_READS_MAX
        } else {
            READS_MAX
        };
        for _ in 0..reads_max {
            if !self.read_once(key, &mut buffer, to_the_end) {
                self.read_buffer = buffer;
                return;
            }
        }
        self.read_buffer = buffer;
        if lingers {
            // Whoever sends this much after our last word is not about to read it.
            self.close(key, EndReason::ConnectionLost);
        } else {
            self.wait_for_turn(key, to_the_end);
        }
    }

    /// Answers whether there may be more to read.
    fn read_once(&mut self, key: usize, buffer: &mut [u8], to_the_end: bool) -> bool {
        if self.must_wait(key) {
            self.note_unread(key, true);
            return false;
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        if connection.phase == Phase::Opening {
            connection.has_unread = true;
            return false;
        }
        let read = connection.socket.read(buffer);
        let lingers = connection.phase == Phase::Lingering;
        match read {
            Ok(0) => {
                self.close(key, EndReason::ConnectionLost);
                false
            }
            Ok(_) if lingers => true,
            Ok(length) => {
                let may_have_more = to_the_end || length == buffer.len();
                let is_open = self.receive_raw(key, &mut buffer[..length]) == Flow::Open;
                if may_have_more && !is_open {
                    self.note_unread(key, true);
                }
                is_open && may_have_more
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(_) => {
                self.close(key, EndReason::ConnectionLost);
                false
            }
        }
    }

    /// Notes whether the socket may have more that no event will tell of.
    pub(super) fn note_unread(&mut self, key: usize, has_unread: bool) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.has_unread = has_unread;
        }
    }

    /// Takes what the socket gave.
    pub(super) fn receive_raw(&mut self, key: usize, bytes: &mut [u8]) -> Flow {
        let arrives = |found: &Connection| found.phase == Phase::Arriving;
        if self.connections.get(key).is_some_and(arrives) {
            return self.arrive(key, bytes);
        }
        let is_secure = |found: &Connection| found.is_secure;
        if self.connections.get(key).is_some_and(is_secure) {
            self.receive_records(key, bytes)
        } else {
            self.receive(key, bytes)
        }
    }

    /// Takes TLS off, and goes on with what was inside.
    fn receive_records(&mut self, key: usize, bytes: &mut [u8]) -> Flow {
        let house = Arc::clone(&self.house);
        let (Some(tls), Some(secure)) = (&house.shared.tls, self.secures.get_mut(&(key as u32)))
        else {
            return Flow::Ended;
        };
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let received = secure.receive(bytes, tls.settings().handshake_bytes_max, &mut plain);
        let has_answer = !secure.sealed.is_empty();
        if has_answer {
            self.mark_dirty(key);
        }
        let flow = if plain.is_empty() {
            Flow::Open
        } else {
            self.receive(key, &plain)
        };
        self.plain = plain;
        match received {
            Ok(received) => {
                if let Some(kind) = received.shook_hands {
                    tls.metrics().shake_hands(kind);
                }
                match flow {
                    Flow::Open if received.is_closed => {
                        self.close(key, EndReason::ConnectionLost);
                        Flow::Ended
                    }
                    Flow::Held if received.is_closed => {
                        self.end_later(key, Ending::Goodbye);
                        Flow::Held
                    }
                    flow => flow,
                }
            }
            Err(broken) => {
                self.break_off(key, &broken);
                Flow::Ended
            }
        }
    }

    /// The peer does not keep to TLS: its alert is sent, and the connection goes.
    fn break_off(&mut self, key: usize, broken: &Broken) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        tracing::debug!(%broken, "a client broke TLS");
        if connection.online.is_none() {
            self.house.shared.metrics.refuse("tls_handshake");
        }
        self.end(key, EndReason::ProtocolError);
        self.linger_silently(key);
    }

    /// Whether nothing may be read from a client until we have answered it, or it has taken answers.
    pub(super) fn must_wait(&mut self, key: usize) -> bool {
        self.is_ahead(key) || !self.takes_answers(key)
    }

    /// Whether a client has sent more that waits for the disk than it may have under way: then no
    /// more is read until it is answered.
    ///
    /// A client of MQTT 5 knows our Receive Maximum, and is told if it does not keep to it; so it is
    /// held only for what does not count against that: messages repeated, and subscriptions.
    pub(super) fn is_ahead(&self, key: usize) -> bool {
        let most = usize::from(self.house.shared.limits.receive_max.max(1));
        let Some(connection) = self.connections.get(key) else {
            return false;
        };
        let is_v5 = connection.session.version() == Some(mqtt::Version::V5);
        let unanswered = connection.session.unanswered();
        let stored = self.stored.get(&(key as u32));
        unanswered >= most + usize::from(is_v5)
            || stored.is_some_and(|stored| stored.unanswered() >= most)
            || self.held_back.unacknowledged(connection.ticket) >= most
    }

    /// Whether a client takes what it asks for. If not, nothing more is read from it until the socket
    /// has room: it asks and asks, and reads no answer.
    fn takes_answers(&mut self, key: usize) -> bool {
        let most = self.house.shared.settings.outbound_bytes_max;
        let is_full = |found: &Connection| found.unsent() >= most && found.phase == Phase::Open;
        if !self.connections.get(key).is_some_and(is_full) {
            return true;
        }
        // The batch itself may have filled the buffer.
        self.flush(key);
        let takes = !self.connections.get(key).is_some_and(is_full);
        if !takes {
            self.house.shared.metrics.reads_held.inc();
        }
        takes
    }

    fn receive(&mut self, key: usize, bytes: &[u8]) -> Flow {
        let Some(connection) = self.connections.get_mut(key) else {
            return Flow::Ended;
        };
        match connection.transport {
            Transport::Tcp => self.receive_stream(key, bytes, |pending| &mut pending.input),
            Transport::Upgrade => self.upgrade(key, bytes),
            Transport::WebSocket(_) => self.receive_frames(key, bytes),
        }
    }

    /// Takes whole packets out of a stream of bytes, behind what is kept of it already.
    fn receive_stream(
        &mut self,
        key: usize,
        bytes: &[u8],
        kept: fn(&mut Pending) -> &mut Vec<u8>,
    ) -> Flow {
        let held = self.connections.get_mut(key).and_then(|connection| {
            let held = kept(connection.pending.as_mut()?);
            (!held.is_empty()).then(|| std::mem::take(held))
        });
        let (flow, rest) = match held {
            None => {
                let (flow, used) = self.handle_packets(key, bytes);
                (flow, bytes[used..].to_vec())
            }
            Some(mut held) => {
                held.extend_from_slice(bytes);
                let (flow, used) = self.handle_packets(key, &held);
                held.drain(..used);
                (flow, held)
            }
        };
        if flow != Flow::Ended && !rest.is_empty() {
            let Some((_, mut pending)) = self.pending_of(key) else {
                return Flow::Ended;
            };
            *kept(&mut pending) = rest;
            self.put_back(key, pending);
        }
        flow
    }

    /// Goes on with what was kept, and then with the socket if it may have more, when CONNACK has been
    /// written.
    pub(super) fn resume(&mut self, key: usize) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let flow = match connection.transport {
            Transport::Tcp => self.receive_stream(key, &[], |pending| &mut pending.input),
            Transport::Upgrade | Transport::WebSocket(_) => {
                self.receive_stream(key, &[], |pending| &mut pending.packet)
            }
        };
        if flow != Flow::Open {
            return;
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let pending = connection.pending.as_mut();
        if let Some(ending) = pending.and_then(|pending| pending.ending.take()) {
            self.end_as(key, ending);
        } else if connection.has_unread {
            self.read(key, true);
        }
    }

    /// Handles each whole packet in `bytes`. Answers how many bytes those were.
    fn handle_packets(&mut self, key: usize, bytes: &[u8]) -> (Flow, usize) {
        let mut used = 0;
        loop {
            let packet_bytes_max = self.packet_bytes_max(key);
            match mqtt::whole_frame(&bytes[used..], packet_bytes_max) {
                Ok(None) => return (Flow::Open, used),
                Ok(Some(length)) => {
                    let packet = BytesMut::from(&bytes[used..used + length]);
                    used += length;
                    self.has_more_behind = used < bytes.len();
                    let flow = self.handle_packet(key, packet);
                    if flow != Flow::Open {
                        return (flow, used);
                    }
                    if self.is_turn_over(key, bytes.len() - used) {
                        self.wait_for_turn(key, false);
                        return (Flow::Held, used);
                    }
                }
                Err(error) => {
                    self.handle_frame_error(key, error);
                    return (Flow::Ended, used);
                }
            }
        }
    }

    /// A client that has not been let in yet gets less memory for its packet.
    fn packet_bytes_max(&self, key: usize) -> u32 {
        let shared = &self.house.shared;
        let is_online = |found: &Connection| found.online.is_some();
        if self.connections.get(key).is_some_and(is_online) {
            let own = self.passes.of(key).and_then(|pass| pass.limits.as_ref());
            let limits = own.map_or(&shared.limits, |own| &own.protocol);
            return limits.packet_bytes_max;
        }
        let connect = shared.settings.connect_bytes_max;
        connect.min(shared.limits.packet_bytes_max)
    }

    fn upgrade(&mut self, key: usize, bytes: &[u8]) -> Flow {
        let Some((connection, mut pending)) = self.pending_of(key) else {
            return Flow::Ended;
        };
        pending.input.extend_from_slice(bytes);
        let outcome = websocket::upgrade(&pending.input, &mut pending.frames);
        if let Upgrade::Accepted(_) = outcome {
            connection.transport = Transport::WebSocket(websocket::Fragmentation::default());
        }
        let input = match outcome {
            Upgrade::Incomplete => Vec::new(),
            Upgrade::Accepted(_) | Upgrade::Refused => std::mem::take(&mut pending.input),
        };
        self.put_back(key, pending);
        self.mark_dirty(key);
        match outcome {
            Upgrade::Incomplete => Flow::Open,
            // A client may send its first frames without waiting for the answer.
            Upgrade::Accepted(length) => self.receive_frames(key, &input[length..]),
            Upgrade::Refused => {
                self.house.shared.metrics.refuse("websocket_upgrade");
                self.linger(key);
                Flow::Ended
            }
        }
    }

    /// Takes frames apart and hands their payload on as a stream.
    fn receive_frames(&mut self, key: usize, bytes: &[u8]) -> Flow {
        let Some((connection, mut pending)) = self.pending_of(key) else {
            return Flow::Ended;
        };
        let Transport::WebSocket(mut fragmentation) = connection.transport else {
            unreachable!("frames come after the upgrade");
        };
        let mut held = std::mem::take(&mut pending.input);
        let whole = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held
        };
        let mut payload = Vec::new();
        let ending = take_frames(whole, &mut fragmentation, &mut pending, &mut payload);
        connection.transport = Transport::WebSocket(fragmentation);
        self.put_back(key, pending);
        self.mark_dirty(key);
        let flow = self.receive_stream(key, &payload, |pending| &mut pending.packet);
        match (flow, ending) {
            (Flow::Ended, _) | (_, None) => flow,
            (Flow::Open, Some(closing)) => {
                self.end_as(key, Ending::Frame(closing));
                Flow::Ended
            }
            (Flow::Held, Some(closing)) => {
                self.end_later(key, Ending::Frame(closing));
                flow
            }
        }
    }

    /// What the client said before its end comes first, and has to wait.
    fn end_later(&mut self, key: usize, ending: Ending) {
        if let Some((_, mut pending)) = self.pending_of(key) {
            pending.ending = Some(ending);
            self.put_back(key, pending);
        }
    }
}

/// Appends the payload of all data frames to `payload`, answers pings, and keeps the bytes that are no
/// whole header yet. Answers why the connection has to end, if it has to.
pub(super) fn take_frames(
    mut bytes: &[u8],
    fragmentation: &mut websocket::Fragmentation,
    pending: &mut Pending,
    payload: &mut Vec<u8>,
) -> Option<Closing> {
    loop {
        if let Some(frame) = &mut pending.frame {
            let taken = frame.read(bytes, payload);
            bytes = &bytes[taken..];
            if !frame.is_done() {
                return None;
            }
            pending.frame = None;
        }
        if bytes.is_empty() {
            return None;
        }
        // What is ours to say comes before the answer to a control frame.
        websocket::wrap(&mut pending.output, &mut pending.frames);
        match websocket::next(bytes, fragmentation, &mut pending.frames) {
            Next::Incomplete => {
                pending.input = bytes.to_vec();
                return None;
            }
            Next::Data(start, frame) => {
                bytes = &bytes[start..];
                pending.frame = Some(frame);
            }
            Next::Control(length) => bytes = &bytes[length..],
            Next::End(closing) => {
                if let Closing::Broken(_, what) = closing {
                    tracing::debug!(what, "a client broke the WebSocket protocol");
                }
                return Some(closing);
            }
        }
    }
}
