//! What follows the journal, before it runs: the views of it and the webhooks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use journal::{Log, Position, Retention};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use views::{Deliveries, Views};

use super::StartError;
use crate::bell::Bell;
use crate::config::JournalConfig;
use crate::follower::{self, Follower};
use crate::webhooks::{self, WebhookMetrics, Webhooks};

pub(super) struct Follow {
    pub(super) folded: watch::Sender<Position>,
    pub(super) views: Views,
    pub(super) deliveries: Arc<Mutex<Deliveries>>,
    pub(super) webhooks: Arc<Webhooks>,
    pub(super) prepared: webhooks::Prepared,
    pub(super) webhook_metrics: WebhookMetrics,
    pub(super) retention: Retention,
    pub(super) drain: Duration,
}

impl Follow {
    /// Starts the follower and a task for each webhook. `committed` rings when the log has more.
    pub(super) fn start(
        self,
        log: &Log,
        committed: &Arc<Bell>,
        runtime: &Runtime,
    ) -> Result<(Follower, webhooks::Running), StartError> {
        let endpoints = self.webhooks.keys();
        let mut readers = Vec::new();
        for _ in &endpoints {
            readers.push(self.views.reader()?);
        }
        let follower = Follower::start(follower::Parts {
            folded: self.folded,
            reader: log.reader(),
            maintenance: log.maintenance(),
            views: self.views,
            deliveries: self.deliveries,
            committed: Arc::clone(committed),
            endpoints,
            retention: self.retention,
        })?;
        let folded = follower.folded();
        let webhooks = self.prepared.start(
            runtime.handle(),
            &folded,
            readers,
            &self.webhook_metrics,
            self.drain,
        )?;
        Ok((follower, webhooks))
    }
}

/// How much of the journal is kept.
pub(super) fn retention(config: &JournalConfig) -> Retention {
    let some = |limit: u64| (limit > 0).then_some(limit);
    Retention {
        age_ms: some(config.retention_days * 24 * 3_600_000),
        bytes: some(config.retention_bytes),
    }
}
