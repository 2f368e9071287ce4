//! The HTTP API: who is online, what happened to a user, webhooks, health, and metrics.
//!
//! Nothing here changes presence: ending a user's sessions is asked of the lifecycle, and no request
//! goes through the event loops. The organisation of a request comes from its key and nowhere else
//! (`key`). Long listings are written piece by piece under short locks (`listing`); questions that
//! may wait for the disk go to threads that may block (`readers`).
//!
//! # Layout
//! - `serve`: our own accept loop with limits, on hyper; `stall`: its guard against stuck readers;
//!   `forwarded`: what a load balancer says first
//! - `router`: all routes; `body`: what is done to every request
//! - `key`, `query`, `name`, `time`, `cursor`: what comes in
//! - `presence`, `listing`, `view`: who is online; `history`, `event`: what happened
//! - `users`: ending sessions; `hooks`: webhooks; `problem`: errors; `health`: the rest
//! - `fuzz`: what must hold for any bytes

mod body;
mod cursor;
mod event;
mod forwarded;
pub(crate) mod fuzz;
mod health;
mod history;
mod hooks;
mod key;
mod listing;
mod name;
mod presence;
mod problem;
mod query;
mod readers;
mod router;
mod serve;
mod stall;
mod time;
mod users;
mod view;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::presence::Org;
use journal::Position;
use tokio::sync::{Semaphore, watch};

pub use self::health::{Phase, Readiness};
pub use self::readers::Committed;
use self::readers::Readers;
pub use self::router::router;
pub use self::serve::{Door, serve};
use crate::accounts::{Accounts, OrgIndex};
use crate::config::HttpConfig;
use crate::lifecycle::{Failing, Lifecycle};
use crate::metrics::Metrics;
use crate::webhooks::Webhooks;

/// What every handler can reach.
pub struct AppState {
    accounts: Arc<Accounts>,
    orgs: Arc<[Arc<Org>]>,
    lifecycle: Lifecycle,
    failing: Failing,
    failing_messages: Failing,
    readers: Readers,
    webhooks: Arc<Webhooks>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    limits: HttpConfig,
    /// One permit per connection, whichever door it came through.
    permits: Arc<Semaphore>,
    /// One permit per long listing.
    listings: Arc<Semaphore>,
    cursors: cursor::Cursors,
}

/// What an [`AppState`] is made of.
pub struct Parts {
    /// Whose key opens what.
    pub accounts: Arc<Accounts>,
    /// One per organisation of `accounts`, in the same order.
    pub orgs: Arc<[Arc<Org>]>,
    /// Where sessions end.
    pub lifecycle: Lifecycle,
    /// Whether the journal can be written.
    pub failing: Failing,
    /// Says whether the log of messages can be written.
    pub failing_messages: Failing,
    /// For questions about what happened: as many as may be asked at the same time.
    pub readers: Vec<views::Reader>,
    /// How far the journal is: answers are as far.
    pub committed: Committed,
    /// How far the views have come.
    pub folded: watch::Receiver<Position>,
    /// All webhooks.
    pub webhooks: Arc<Webhooks>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether requests are answered.
    pub readiness: Arc<Readiness>,
    /// Limits of requests.
    pub limits: HttpConfig,
}

impl AppState {
    /// Puts the state together.
    ///
    /// # Errors
    ///
    /// When the system has no random bytes.
    pub fn new(parts: Parts) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            accounts: parts.accounts,
            orgs: parts.orgs,
            lifecycle: parts.lifecycle,
            failing: parts.failing,
            failing_messages: parts.failing_messages,
            readers: Readers::new(
                parts.readers,
                parts.committed,
                parts.folded,
                Duration::from_secs(parts.limits.events_wait_secs),
            ),
            webhooks: parts.webhooks,
            metrics: parts.metrics,
            readiness: parts.readiness,
            permits: Arc::new(Semaphore::new(parts.limits.connections_max)),
            listings: Arc::new(Semaphore::new(parts.limits.listings_max)),
            limits: parts.limits,
            cursors: cursor::Cursors::of_this_process()?,
        }))
    }

    fn org(&self, org: OrgIndex) -> &Arc<Org> {
        &self.orgs[org.get()]
    }
}

#[cfg(test)]
mod tests;
