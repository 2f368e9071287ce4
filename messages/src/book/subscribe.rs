//! Subscriptions of stored sessions, and the retained messages that new ones get (§3.8.4, §3.3.1.3).
//!
//! Retained messages go out while the queue is shorter than the window, so they wait for the client
//! and not in the log, however many they are. If the connection ends before, the rest is not sent.
//! Those that the client gets at QoS 0 are the event loop's: nothing is written down about them, and
//! the loop alone knows when the socket takes more.

use topics::TopicFilter;

use super::{BodySource, Book, Reading};
use crate::answer::{Answer, NotSubscribed};
use crate::id::StoredRef;
use crate::kept::{RetainedQuery, RetainedRow};
use crate::record::{Published, Record, Retain, Target};
use crate::request::{RetainHandling, Subscribe, Unsubscribe, Wanted};

/// Retained messages found at a time.
const PIECE: usize = 64;

impl Book {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) {
        let attachment = subscribe.attachment;
        let Some(carrier) = self.carrier_of(attachment) else {
            return;
        };
        let answer = |results| Answer::Subscribed(subscribe.packet_id, results);
        if self.is_failing {
            let refused = vec![Err(NotSubscribed::Unavailable); subscribe.wanted.len()];
            self.prompt.push((Some(carrier), answer(refused)));
            return;
        }
        let most = subscribe.subscriptions_max;
        let mut results = Vec::with_capacity(subscribe.wanted.len());
        let mut readings = Vec::new();
        for wanted in subscribe.wanted {
            let result = self.subscribe_to(attachment.session, &wanted, most);
            if let Ok(is_new) = result
                && let Some(query) = query(&wanted, is_new)
            {
                readings.push(Reading {
                    attachment,
                    query,
                    qos: wanted.qos,
                    subscription_id: wanted.subscription.id,
                    first_turn: self.turns,
                });
            }
            results.push(result);
        }
        self.letters.push((Some(carrier), answer(results)));
        self.wait_for_retained(attachment.session, readings);
    }

    fn wait_for_retained(&mut self, session: StoredRef, mut readings: Vec<Reading>) {
        if readings.is_empty() {
            return;
        }
        if self.state.sessions[&session].kept.is_changing() {
            // What was routed before they subscribed is in the queue, of which each turn takes all.
            readings
                .iter_mut()
                .for_each(|reading| reading.first_turn += 1);
        }
        let waiting = self.readings.entry(session).or_default();
        let most = self.limits.subscriptions_waiting_max;
        let room = most.saturating_sub(waiting.len());
        self.tally.retained_cut += readings.len().saturating_sub(room) as u64;
        waiting.extend(readings.into_iter().take(room));
    }

    fn subscribe_to(
        &mut self,
        session: StoredRef,
        wanted: &Wanted,
        most: usize,
    ) -> Result<bool, NotSubscribed> {
        let found = &self.state.sessions[&session];
        let before = found.subscriptions.get(&wanted.filter).copied();
        if before.is_none() && found.subscriptions.len() >= most {
            return Err(NotSubscribed::TooMany);
        }
        if before != Some(wanted.subscription) {
            self.write_urgent(Record::Subscribed {
                session,
                filter: wanted.filter.clone(),
                subscription: wanted.subscription,
            });
        }
        Ok(before.is_none())
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: Unsubscribe) {
        let Some(carrier) = self.carrier_of(unsubscribe.attachment) else {
            return;
        };
        let session = unsubscribe.attachment.session;
        let mut results = Vec::with_capacity(unsubscribe.filters.len());
        for filter in unsubscribe.filters {
            let had = self.state.sessions[&session]
                .subscriptions
                .contains_key(&filter);
            if had {
                self.write_urgent(Record::Unsubscribed { session, filter });
            }
            results.push(had);
        }
        let answer = Answer::Unsubscribed(unsubscribe.packet_id, results);
        self.letters.push((Some(carrier), answer));
    }

    // === retained messages ===

    /// Sends on some retained messages to new subscriptions. Answers whether there is more to do
    /// at once.
    pub fn read_on(&mut self, now_ms: u64, bodies: &mut dyn BodySource) -> bool {
        let waiting: Vec<StoredRef> = self.readings.keys().copied().collect();
        let mut has_more = false;
        for session in waiting {
            has_more |= self.read_piece(session, now_ms, bodies);
        }
        self.turns += 1;
        has_more
    }

    /// Sends the next piece to a session's first subscription that waits, and lets the next one
    /// have its turn. Answers whether the session has room for more at once.
    fn read_piece(&mut self, session: StoredRef, now_ms: u64, bodies: &mut dyn BodySource) -> bool {
        let turns = self.turns;
        let waiting = self.readings.get(&session);
        if waiting.is_some_and(|waiting| waiting[0].first_turn > turns) {
            return true;
        }
        let has_room = self.has_room(session);
        let Some(mut reading) = has_room.then(|| self.next_reading(session)).flatten() else {
            return false;
        };
        let found = &self.state.sessions[&session];
        let mut rows = Vec::new();
        let most = PIECE.min(self.limits.window - found.queue.len());
        let is_unfinished = reading
            .query
            .next_piece(&found.kept, now_ms, most, &mut rows);
        self.send_retained(&reading, rows, now_ms, bodies);
        if is_unfinished {
            let waiting = self.readings.entry(session).or_default();
            waiting.push_back(reading);
        }
        self.readings.contains_key(&session) && self.has_room(session)
    }

    fn next_reading(&mut self, session: StoredRef) -> Option<Reading> {
        let waiting = self.readings.get_mut(&session)?;
        let reading = waiting.pop_front();
        if waiting.is_empty() {
            self.readings.remove(&session);
        }
        reading
    }

    fn has_room(&self, session: StoredRef) -> bool {
        let session = self.state.sessions.get(&session);
        session.is_some_and(|session| session.queue.len() < self.limits.window) && !self.is_failing
    }

    fn send_retained(
        &mut self,
        reading: &Reading,
        rows: Vec<RetainedRow>,
        now_ms: u64,
        bodies: &mut dyn BodySource,
    ) {
        if !self.is_current(reading.attachment) {
            return;
        }
        let ids: Box<[u32]> = reading.subscription_id.into_iter().collect();
        let session = reading.attachment.session;
        for row in rows {
            let qos = reading.qos.min(row.qos);
            if qos == 0 {
                continue;
            }
            let found = &self.state.sessions[&session];
            let target = Target {
                session,
                packet_id: found.queue.next_packet_id(),
                qos,
                retain: true,
                subscription_ids: ids.clone(),
            };
            let org = found.kept.org().into();
            self.tally.queued += 1;
            self.write_urgent(Record::Published(Published {
                org,
                message: row.into(),
                received: None,
                will: None,
                retain: Retain::No,
                targets: vec![target],
            }));
        }
        self.fill(session, now_ms, bodies);
    }
}

/// The question for retained messages, if a subscription gets any above QoS 0.
fn query(wanted: &Wanted, is_new: bool) -> Option<RetainedQuery> {
    let gets = match wanted.retained {
        RetainHandling::Always => true,
        RetainHandling::IfNew => is_new,
        RetainHandling::Never => false,
    };
    let filter = TopicFilter::parse(&wanted.filter).ok()?;
    let is_ours = wanted.qos > 0 && filter.share_group().is_none();
    (gets && is_ours).then(|| RetainedQuery::new(filter))
}
