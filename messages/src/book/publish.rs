//! A message enters queues, is retained, or both, in one record.
//!
//! A full queue keeps what it has: the new message does not enter it and is counted. The publisher
//! is told how many queues took it, and makes of that what it does for live subscribers: 0x97 if
//! nobody got it.

use super::{BodySource, Book};
use crate::answer::{Answer, Outcome};
use crate::id::{Attachment, Carrier, StoredRef};
use crate::record::{Published, Record, Retain, Target};
use crate::request::{Publish, To};

/// So many of 65,535 identifiers may be in use.
const IN_USE_MAX: usize = 60_000;

impl Book {
    pub(super) fn publish(&mut self, publish: Publish, now_ms: u64, bodies: &mut dyn BodySource) {
        let reply_to = publish.reply_to;
        let (will, held_back) = (publish.will, publish.held_back);
        let decided = self.keep(publish, now_ms, bodies);
        if let Some((carrier, number)) = held_back {
            let is_new = decided.is_some_and(|outcome| outcome.is_done());
            self.answer_publish(decided, carrier, Answer::Settled { number, is_new });
        }
        let Some(outcome) = decided else {
            return;
        };
        if outcome.is_unavailable
            && let Some(due) = will.and_then(|id| self.state.wills.get_mut(&id))
        {
            // It is sent again when the log can be written.
            due.is_out = false;
        }
        if let Some(reply_to) = reply_to {
            let answer = Answer::Published {
                packet_id: reply_to.packet_id,
                qos: reply_to.qos,
                is_routed: reply_to.is_routed,
                outcome,
            };
            self.answer_publish(decided, reply_to.carrier, answer);
        }
    }

    /// What was not done waits for no record.
    fn answer_publish(&mut self, decided: Option<Outcome>, carrier: Carrier, answer: Answer) {
        match decided.is_some_and(|outcome| outcome.is_unavailable) {
            true => self.prompt.push((Some(carrier), answer)),
            false => self.letters.push((Some(carrier), answer)),
        }
    }

    /// Decides what becomes of it; `None` if its publisher is no longer there to be told, and
    /// sends it again.
    fn keep(
        &mut self,
        mut publish: Publish,
        now_ms: u64,
        bodies: &mut dyn BodySource,
    ) -> Option<Outcome> {
        publish.targets.sort_by_key(|to| to.session);
        publish.targets.dedup_by_key(|to| to.session);
        let received = match publish.received {
            None => None,
            Some((attachment, packet_id)) => {
                if !self.is_current(attachment) {
                    return None;
                }
                if self.has_received(attachment, packet_id) {
                    return Some(Outcome {
                        is_repeated: true,
                        ..Outcome::default()
                    });
                }
                Some((attachment.session, packet_id))
            }
        };
        let is_for_log = received.is_some()
            || publish.will.is_some()
            || publish.retain != Retain::No
            || !publish.targets.is_empty();
        if is_for_log && (self.is_failing || self.is_full()) {
            return Some(Self::unavailable());
        }
        let mut outcome = Outcome::default();
        let retain = self.decide_retain(&publish, &mut outcome);
        let targets = self.decide_targets(&publish, &mut outcome);
        let will = publish.will.filter(|id| self.state.wills.contains_key(id));
        let is_nothing =
            received.is_none() && will.is_none() && retain == Retain::No && targets.is_empty();
        if is_nothing {
            return Some(outcome);
        }
        let sessions: Vec<StoredRef> = targets.iter().map(|target| target.session).collect();
        self.write(Record::Published(Published {
            org: publish.org,
            message: publish.message,
            received,
            will,
            retain,
            targets,
        }));
        // A QoS 0 message that is only retained waits for nobody.
        self.is_urgent |= publish.reply_to.is_some() || will.is_some() || !sessions.is_empty();
        for session in sessions {
            self.fill(session, now_ms, bodies);
        }
        Some(outcome)
    }

    fn has_received(&self, attachment: Attachment, packet_id: u16) -> bool {
        let session = self.state.sessions.get(&attachment.session);
        session.is_some_and(|session| session.received.contains(&packet_id))
    }

    /// Whether memory holds as many messages as it may that SQLite does not have.
    fn is_full(&self) -> bool {
        self.state.bodies.bytes_in_memory() >= self.limits.memory_bytes_max
    }

    fn decide_retain(&mut self, publish: &Publish, outcome: &mut Outcome) -> Retain {
        let (topic, body) = (&publish.message.topic, &publish.message.body);
        let kept = self.state.directory.org(&publish.org);
        match publish.retain {
            Retain::No => Retain::No,
            Retain::Clear if kept.retained(topic).is_none() => Retain::No,
            Retain::Clear => Retain::Clear,
            Retain::Set => {
                let quota = self.quota_of(&publish.org);
                let (count, bytes) = (quota.retained_max, quota.retained_bytes_max);
                if kept.may_retain(topic, body, count, bytes) {
                    return Retain::Set;
                }
                outcome.not_retained = true;
                self.tally.not_retained += 1;
                Retain::No
            }
        }
    }

    fn decide_targets(&mut self, publish: &Publish, outcome: &mut Outcome) -> Vec<Target> {
        let size = publish.message.body.len() as u64;
        let quota = self.quota_of(&publish.org);
        let messages_max = quota.queue_messages_max.min(IN_USE_MAX);
        let mut targets: Vec<Target> = Vec::with_capacity(publish.targets.len());
        for to in &publish.targets {
            let Some(session) = self.state.sessions.get(&to.session) else {
                continue;
            };
            if session.kept.org() != publish.org {
                continue;
            }
            let queue = &session.queue;
            let is_full = queue.len() >= messages_max
                || queue.len() > 0 && queue.bytes() + size > quota.queue_bytes_max;
            if is_full {
                outcome.full += 1;
                continue;
            }
            targets.push(target(to, queue.next_packet_id()));
        }
        outcome.queued = targets.len();
        self.tally.queued += outcome.queued as u64;
        self.tally.queue_full += outcome.full as u64;
        targets
    }
}

impl Outcome {
    /// Whether it was done, now.
    fn is_done(self) -> bool {
        !self.is_repeated && !self.is_unavailable
    }
}

fn target(to: &To, packet_id: u16) -> Target {
    Target {
        session: to.session,
        packet_id,
        qos: to.qos,
        retain: to.retain,
        subscription_ids: to.subscription_ids.clone(),
    }
}
