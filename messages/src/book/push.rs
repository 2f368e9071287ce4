//! What a client is sent from its queue, and what it says about it (§4.3, §4.4).
//!
//! At most a window of messages is under way; each that is done with makes room for the next.

use bytes::Bytes;

use super::{BodySource, Book};
use crate::answer::{Answer, Push, Pushed};
use crate::id::{Attachment, StoredRef};
use crate::message::is_expired;
use crate::record::Record;
use crate::session::Stage;

/// What is to be done about the next entry of a queue.
enum Next {
    Send(Push, Option<u64>),
    /// It expired before anybody was sent it.
    Drop(u16),
}

impl Book {
    pub(super) fn acknowledged(
        &mut self,
        attachment: Attachment,
        packet_id: u16,
        now_ms: u64,
        bodies: &mut dyn BodySource,
    ) {
        let session = attachment.session;
        if !self.is_current(attachment) || self.entry(session, packet_id).is_none() {
            return;
        }
        // Not urgent: should it be lost, the message is sent once more, as a duplicate.
        self.write(Record::Acknowledged { session, packet_id });
        self.fill(session, now_ms, bodies);
    }

    pub(super) fn received(&mut self, attachment: Attachment, packet_id: u16) {
        let session = attachment.session;
        let Some(carrier) = self.carrier_of(attachment) else {
            return;
        };
        // Again, or for nothing that is known: PUBREL all the same, so that the client can finish
        // (MQTT-4.3.3-13).
        if self.entry(session, packet_id) == Some((2, Stage::Publish)) {
            self.write_urgent(Record::Received { session, packet_id });
        }
        self.letters
            .push((Some(carrier), Answer::Release(packet_id)));
    }

    pub(super) fn release(&mut self, attachment: Attachment, packet_id: u16) {
        let session = attachment.session;
        let Some(carrier) = self.carrier_of(attachment) else {
            return;
        };
        if self.state.sessions[&session].received.contains(&packet_id) {
            self.write_urgent(Record::Released { session, packet_id });
        }
        self.letters
            .push((Some(carrier), Answer::Released(packet_id)));
    }

    fn entry(&self, session: StoredRef, packet_id: u16) -> Option<(u8, Stage)> {
        let entry = self.state.sessions.get(&session)?.queue.get(packet_id)?;
        Some((entry.qos, entry.stage))
    }

    /// Sends the client of an attached session what its window has room for.
    pub(super) fn fill(&mut self, session: StoredRef, now_ms: u64, bodies: &mut dyn BodySource) {
        let found = self.state.sessions.get(&session);
        let Some((carrier, attachment)) =
            found.and_then(|found| Some((found.carrier?, found.attachment(session))))
        else {
            return;
        };
        match self.window(session, now_ms, bodies) {
            Ok(window) if window.is_empty() => {}
            Ok(window) => self.letters.push((Some(carrier), Answer::Push(window))),
            Err(error) => {
                tracing::error!(%error, "cannot read the messages of a stored session");
                self.letters
                    .push((Some(carrier), Answer::Close(attachment)));
            }
        }
    }

    /// Takes what may be sent now out of the queue's front, in order. What cannot be read stays
    /// unsent, and so does what comes after it.
    pub(super) fn window(
        &mut self,
        session: StoredRef,
        now_ms: u64,
        bodies: &mut dyn BodySource,
    ) -> Result<Vec<Push>, String> {
        let mut window = Vec::new();
        while let Some(next) = self.next_due(session, now_ms) {
            match next {
                Next::Drop(packet_id) => {
                    self.tally.expired += 1;
                    self.write(Record::Acknowledged { session, packet_id });
                    continue;
                }
                Next::Send(mut push, missing) => {
                    if let (Some(message), Pushed::Publish { body, .. }) = (missing, &mut push.what)
                    {
                        *body = bodies.read(message)?;
                    }
                    window.push(push);
                }
            }
            if let Some(found) = self.state.sessions.get_mut(&session) {
                found.queue.pushed();
            }
        }
        Ok(window)
    }

    fn next_due(&self, session: StoredRef, now_ms: u64) -> Option<Next> {
        let found = self.state.sessions.get(&session)?;
        let (entry, dup) = found.queue.due(self.limits.window)?;
        let packet_id = entry.packet_id;
        if entry.stage == Stage::Release {
            let what = Pushed::Release;
            return Some(Next::Send(Push { packet_id, what }, None));
        }
        let body = self.state.bodies.get(entry.message)?;
        // Once begun, a delivery is completed, so that both sides agree on the identifier.
        if !dup && is_expired(body.expires_at_ms, now_ms) {
            return Some(Next::Drop(packet_id));
        }
        let missing = body.bytes.is_none().then_some(entry.message);
        let what = Pushed::Publish {
            body: body.bytes.clone().unwrap_or_else(Bytes::new),
            qos: entry.qos,
            dup,
            retain: entry.retain,
            subscription_ids: entry.subscription_ids.clone(),
        };
        Some(Next::Send(Push { packet_id, what }, missing))
    }
}
