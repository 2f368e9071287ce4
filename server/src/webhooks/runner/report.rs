//! How an endpoint is doing, for its handle and the metrics.

use std::sync::Arc;

use webhook::lane::EndpointState;
use webhook::outcome::Outcome;

use super::Runner;
use crate::webhooks::metrics::EndpointMetrics;
use crate::webhooks::{Hook, HookState, Shared};

/// Where attempts are counted.
#[derive(Clone)]
pub(super) struct Tally {
    pub(super) hook: Arc<Hook>,
    pub(super) metrics: EndpointMetrics,
}

impl Tally {
    pub(super) fn count(&self, outcome: &Outcome, event: &Shared, now_ms: u64) {
        let metrics = &self.metrics;
        let error = error_text(outcome);
        match &error {
            None => {
                metrics.delivered.inc();
                let late_ms = now_ms.saturating_sub(event.at_ms);
                metrics.latency.observe(late_ms as f64 / 1_000.0);
            }
            Some(_) => metrics.count_failure(match outcome {
                Outcome::Refused { .. } => "refused",
                Outcome::Gone => "gone",
                _ => "down",
            }),
        }
        self.hook.update(|status| {
            status.attempts += 1;
            if error.is_none() {
                status.delivered += 1;
                status.last_delivered_ms = Some(now_ms);
            }
            status.last_error = error;
        });
    }
}

impl Runner {
    pub(super) fn report(&mut self) {
        let floor = self.main.lock().floor();
        while self
            .waiting
            .front()
            .is_some_and(|(position, _)| *position <= floor)
        {
            self.waiting.pop_front();
        }
        let unread = self.parts.folded.borrow().0.saturating_sub(self.next.0);
        let held =
            self.main.lock().len() + self.again.len() + self.filter.held_len() + self.passed.len();
        let backlog = unread + held as u64;
        let state = self.main.lock().state();
        let (state, paused_until_ms) = match state {
            EndpointState::Open => (HookState::Open, None),
            EndpointState::Paused { until_ms, .. } => (HookState::Paused, Some(until_ms)),
            EndpointState::Disabled => (HookState::Disabled, None),
        };
        let oldest_waiting_ms = self.waiting.front().map(|(_, at_ms)| *at_ms);
        self.parts.hook.update(|status| {
            status.state = state;
            status.paused_until_ms = paused_until_ms;
            status.backlog = backlog;
            status.oldest_waiting_ms = oldest_waiting_ms;
        });
        let backlog = i64::try_from(backlog).unwrap_or(i64::MAX);
        self.parts.metrics.backlog.set(backlog);
    }
}

/// Why an attempt failed; `None` if it did not.
pub(super) fn error_text(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Delivered { .. } => None,
        Outcome::Down { why, .. } => Some(why.to_string()),
        Outcome::Refused { status } => Some(format!("refused with status {status}")),
        Outcome::Gone => Some("gone: status 410".to_owned()),
    }
}
