//! What somebody asks of an endpoint's task: to be enabled, and to send events again.
//!
//! What is sent again has a lane of its own and waits in a table, so that it neither holds up what
//! happens now nor is lost with the process.

use std::collections::HashSet;
use std::sync::Arc;

use journal::Position;
use views::{DeliveryError, EventId, Revival};
use webhook::lane::Event as LaneEvent;

use super::{EVENTS_PER_READ, Runner, hash};
use crate::clock::unix_ms;
use crate::webhooks::{Command, Replay, Shared};

/// As many dead letters as one look at the table gives back.
const REVIVED_AT_ONCE: usize = 1_000;

/// Most delivered events that one command sends again.
const REPLAY_MAX: usize = 100_000;

impl Runner {
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Replay(which, reply) => {
                let queued = self.replay(&which);
                // Whoever asked may have gone.
                let _ = reply.send(queued);
            }
            Command::Enable => self.enable(),
        }
    }

    fn enable(&mut self) {
        let hook = &self.parts.hook;
        if let Err(error) = hook.deliveries().enable(hook.key()) {
            tracing::error!(%error, endpoint = hook.key(), "failed to note that it is enabled");
        }
        self.main.lock().enable();
        self.again.enable();
        self.parts.metrics.disabled.set(0);
    }

    fn replay(&mut self, which: &Replay) -> Result<usize, DeliveryError> {
        let revived = self.revive(which)?;
        // What was dead is in the history too, and must not be sent twice.
        let is_new = |event: &views::Event| !revived.contains(&event.id());
        let delivered = match which {
            Replay::Ids(ids) => self.delivered(0, u64::MAX, |event| {
                ids.contains(&event.id()) && is_new(event)
            })?,
            Replay::Between {
                from_ms,
                to_ms,
                delivered: true,
            } => self.delivered(*from_ms, *to_ms, is_new)?,
            Replay::Between { .. } => 0,
        };
        Ok(revived.len() + delivered)
    }

    /// Takes dead letters back and sends them again. Answers which.
    fn revive(&mut self, which: &Replay) -> Result<HashSet<EventId>, DeliveryError> {
        let mut revived = HashSet::new();
        match which {
            Replay::Ids(ids) => {
                for some in ids.chunks(REVIVED_AT_ONCE) {
                    self.revive_some(&Revival::Ids(some), &mut revived)?;
                }
            }
            Replay::Between { from_ms, to_ms, .. } => {
                let happened = Revival::HappenedIn(*from_ms..*to_ms);
                while self.revive_some(&happened, &mut revived)? {}
            }
        }
        Ok(revived)
    }

    /// Answers whether there were any.
    fn revive_some(
        &mut self,
        which: &Revival<'_>,
        revived: &mut HashSet<EventId>,
    ) -> Result<bool, DeliveryError> {
        let hook = Arc::clone(&self.parts.hook);
        let parked = hook.deliveries().revive(hook.key(), which, unix_ms())?;
        let some = !parked.is_empty();
        for parked in parked {
            revived.insert(parked.event.id());
            self.send_again(Arc::new(parked.event));
        }
        Ok(some)
    }

    /// Sends events again that have been delivered: those before the floor that are still there.
    fn delivered(
        &mut self,
        from_ms: u64,
        to_ms: u64,
        is_wanted: impl Fn(&views::Event) -> bool,
    ) -> Result<usize, DeliveryError> {
        // It may read all of the history: the runtime's other tasks go on elsewhere meanwhile.
        let found = tokio::task::block_in_place(|| self.find_delivered(from_ms, to_ms, is_wanted));
        let hook = Arc::clone(&self.parts.hook);
        for event in &found {
            hook.deliveries().park(hook.key(), event, 0, unix_ms())?;
            self.send_again(Arc::clone(event));
        }
        Ok(found.len())
    }

    fn find_delivered(
        &self,
        from_ms: u64,
        to_ms: u64,
        is_wanted: impl Fn(&views::Event) -> bool,
    ) -> Vec<Shared> {
        let floor = self.main.lock().floor();
        let mut next = Position(0);
        let mut found = Vec::new();
        while next.0 < floor && found.len() < REPLAY_MAX {
            let org = self.parts.hook.org();
            let page = self.parts.reader.events_from(org, next, EVENTS_PER_READ);
            let Ok(page) = page else {
                break;
            };
            if page.next == next {
                break;
            }
            next = page.next;
            found.extend(page.events.into_iter().filter(|event| {
                let happened = (from_ms..to_ms).contains(&event.at_ms);
                event.position.0 < floor && happened && is_wanted(event)
            }));
        }
        found.truncate(REPLAY_MAX);
        found
    }

    /// Queues an event, unless it is queued already: whoever asks twice gets it once.
    pub(super) fn send_again(&mut self, event: Shared) {
        if !self.queued_again.insert(event.id()) {
            return;
        }
        let pushed = self.again.push(LaneEvent {
            position: self.next_again,
            user: hash(&event.username),
            // It does not get too old for having been tried in vain before.
            generated_at_ms: self.clock.now_ms(),
            payload: event,
        });
        debug_assert!(pushed.is_ok(), "what is sent again is on disk as well");
        self.next_again += 1;
    }
}
