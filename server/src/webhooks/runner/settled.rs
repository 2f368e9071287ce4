//! What an endpoint is done with: dead letters, what was sent again, and the floor from which the
//! next start reads on. A dead letter is written down before the floor moves past it.

use journal::Position;
use tokio::time::Instant;
use views::DeadLetter;
use webhook::lane::DeadReason;

use super::{Lane, Runner, SAVE_EVERY};
use crate::clock::unix_ms;
use crate::webhooks::Shared;

impl Runner {
    pub(super) fn bury(
        &mut self,
        lane: Lane,
        letter: webhook::lane::DeadLetter<Shared>,
        why: &str,
    ) {
        let last_error = match letter.reason {
            DeadReason::Refused { status } => format!("refused with status {status}"),
            DeadReason::Expired => why.to_owned(),
        };
        let position = match lane {
            Lane::Main => letter.position,
            Lane::Again => u64::MAX,
        };
        tracing::warn!(
            endpoint = self.parts.hook.key(),
            event.id = %letter.payload.id(),
            reason = last_error,
            "an event is given up"
        );
        self.parts.metrics.dead_letters.inc();
        let letter = DeadLetter {
            event: (*letter.payload).clone(),
            attempts: letter.tries,
            buried_at_ms: unix_ms(),
            last_error,
        };
        self.queued_again.remove(&letter.event.id());
        self.unburied.push((position, letter));
        self.bury_all();
    }

    /// Writes down what was given up; what fails is tried again, and the floor waits for it.
    fn bury_all(&mut self) {
        let hook = &self.parts.hook;
        let mut deliveries = hook.deliveries();
        self.unburied
            .retain(|(_, letter)| match deliveries.bury(hook.key(), letter) {
                Ok(()) => false,
                Err(error) => {
                    tracing::error!(%error, endpoint = hook.key(), "failed to keep a dead letter");
                    true
                }
            });
    }

    /// An event that was sent again has arrived.
    pub(super) fn unpark(&mut self, event: &Shared) {
        self.queued_again.remove(&event.id());
        let hook = &self.parts.hook;
        if let Err(error) = hook.deliveries().unpark(hook.key(), event.id()) {
            // It is sent once more after the next start.
            tracing::error!(%error, endpoint = hook.key(), "failed to forget a delivered event");
        }
    }

    /// Everything before this position is settled and need not be read again.
    fn floor(&mut self) -> Position {
        let held = self.filter.oldest_held();
        let passed = self.passed.iter().map(|passed| passed.position).min();
        let unburied = self.unburied.iter().map(|(position, _)| *position).min();
        let unsettled = [held, passed, unburied].into_iter().flatten().min();
        let settled = self.main.lock().floor();
        let floor = unsettled.map_or(settled, |position| settled.min(position - 1));
        Position(self.bonds.before(floor))
    }

    pub(super) fn save(&mut self) {
        self.save_at = Instant::now() + SAVE_EVERY;
        self.parts.hook.endpoint().close_idle();
        if !self.unburied.is_empty() {
            self.bury_all();
        }
        let floor = self.floor();
        if floor == self.saved {
            return;
        }
        let hook = &self.parts.hook;
        let saved = hook.deliveries().set_floors(&[(hook.key(), floor)]);
        match saved {
            Ok(()) => self.saved = floor,
            Err(error) => {
                tracing::error!(%error, endpoint = hook.key(), "failed to note what is delivered");
            }
        }
    }
}
