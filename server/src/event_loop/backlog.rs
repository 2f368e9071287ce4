//! Messages to more recipients than a turn may serve.
//!
//! Handing a message to a hundred thousand connections takes a loop half a second, in which it would
//! do nothing else. So a large crowd is served in slices of turns; and so are messages from other loops
//! of which more have come than a slice can serve. Until all of that is done, whatever else is for
//! connections of this loop waits behind it, so that everybody gets messages in their order.

use std::collections::VecDeque;
use std::sync::Arc;

use mqtt::Message;
use presence::Org;

use super::routing::Delivery;
use super::turns::SLICE;
use super::worker::Worker;

/// Recipients of a message that are served at once, if nothing waits.
const AT_ONCE_MAX: usize = 1_024;

/// Deliveries after which the clock is asked.
const PIECE: usize = 32;

/// Deliveries of this loop that wait for their turn, in order.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: VecDeque<Waiting>,
    count: usize,
}

/// A message and those who are still to get it.
struct Waiting {
    message: Arc<Message>,
    /// Given if one of the deliveries may have to be passed on.
    org: Option<Arc<Org>>,
    deliveries: VecDeque<Delivery>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn add(&mut self, message: &Arc<Message>, org: Option<&Arc<Org>>, deliveries: &[Delivery]) {
        self.count += deliveries.len();
        self.waiting.push_back(Waiting {
            message: Arc::clone(message),
            org: org.map(Arc::clone),
            deliveries: deliveries.iter().cloned().collect(),
        });
    }

    fn next(&mut self) -> Option<(Delivery, Arc<Message>, Option<Arc<Org>>)> {
        loop {
            let first = self.waiting.front_mut()?;
            if let Some(delivery) = first.deliveries.pop_front() {
                self.count -= 1;
                return Some((delivery, Arc::clone(&first.message), first.org.clone()));
            }
            self.waiting.pop_front();
        }
    }
}

impl Worker {
    /// Hands a message to connections of this loop, at once if they are few and nothing waits.
    pub(super) fn hand_out(
        &mut self,
        message: &Arc<Message>,
        org: Option<&Arc<Org>>,
        deliveries: &[Delivery],
    ) {
        if self.backlog.is_empty() && deliveries.len() <= AT_ONCE_MAX {
            for delivery in deliveries {
                self.deliver_or_pass_on(delivery, message, org);
            }
        } else {
            self.hand_out_later(message, org, deliveries);
        }
    }

    /// As [`hand_out`](Self::hand_out), of messages of which many may come at once.
    pub(super) fn hand_out_in_turn(
        &mut self,
        message: &Arc<Message>,
        org: Option<&Arc<Org>>,
        deliveries: &[Delivery],
    ) {
        if self.backlog.is_empty() && self.is_slice_over() {
            self.hand_out_later(message, org, deliveries);
        } else {
            self.hand_out(message, org, deliveries);
        }
    }

    /// At the limit nothing is lost: the first who wait are served at once, whoever else waits for that.
    fn hand_out_later(
        &mut self,
        message: &Arc<Message>,
        org: Option<&Arc<Org>>,
        deliveries: &[Delivery],
    ) {
        let most = self.house.shared.settings.mailbox_deliveries_max;
        while self.backlog.count + deliveries.len() > most && self.hand_out_next() {}
        if self.backlog.is_empty() {
            self.house.shared.metrics.deliveries_deferred.inc();
        }
        self.backlog.add(message, org, deliveries);
    }

    /// Serves those who wait, for a slice.
    pub(super) fn serve_backlog(&mut self) {
        if self.backlog.is_empty() {
            return;
        }
        self.begin_slice(SLICE);
        loop {
            self.has_more_behind = self.backlog.waiting.len() > 1;
            for _ in 0..PIECE {
                if !self.hand_out_next() {
                    return;
                }
            }
            if self.is_slice_over() {
                return;
            }
        }
    }

    /// Serves all who wait.
    pub(super) fn finish_backlog(&mut self) {
        while self.hand_out_next() {}
    }

    /// Answers whether anybody waited.
    fn hand_out_next(&mut self) -> bool {
        let Some((delivery, message, org)) = self.backlog.next() else {
            return false;
        };
        self.deliver_or_pass_on(&delivery, &message, org.as_ref());
        true
    }
}
