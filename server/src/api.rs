//! The HTTP API: who is online, health, and metrics.
//!
//! Reads only: nothing here changes presence, and no request goes through the event loops. The
//! organisation of a request comes from its key and nowhere else (`key`). Rows become JSON in
//! `view` alone. Long listings are written piece by piece under short locks (`listing`).
//!
//! # Layout
//! - `serve`: our own accept loop with limits, on hyper; `stall`: its guard against stuck readers
//! - `router`: all routes; `body`: what is done to every request
//! - `key`, `query`, `name`, `cursor`: what comes in
//! - `presence`, `listing`, `view`: what goes out; `problem`: errors; `health`: the rest

mod body;
mod cursor;
mod health;
mod key;
mod listing;
mod name;
mod presence;
mod problem;
mod query;
mod router;
mod serve;
mod stall;
mod view;

use std::io;
use std::sync::Arc;

use ::presence::Org;
use tokio::sync::Semaphore;

pub use self::health::{Phase, Readiness};
pub use self::router::router;
pub use self::serve::serve;
use crate::accounts::{Accounts, OrgIndex};
use crate::config::HttpConfig;
use crate::metrics::Metrics;

/// What every handler can reach.
pub struct AppState {
    accounts: Arc<Accounts>,
    orgs: Arc<[Arc<Org>]>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    limits: HttpConfig,
    /// One permit per long listing.
    listings: Arc<Semaphore>,
    cursors: cursor::Cursors,
}

impl AppState {
    /// Puts the state together. `orgs` has one entry per organisation of `accounts`, in the same
    /// order.
    ///
    /// # Errors
    ///
    /// When the system has no random bytes.
    pub fn new(
        accounts: Arc<Accounts>,
        orgs: Arc<[Arc<Org>]>,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
        limits: HttpConfig,
    ) -> io::Result<Arc<Self>> {
        let listings = Arc::new(Semaphore::new(limits.listings_max));
        let cursors = cursor::Cursors::of_this_process()?;
        Ok(Arc::new(Self {
            accounts,
            orgs,
            metrics,
            readiness,
            limits,
            listings,
            cursors,
        }))
    }

    fn org(&self, org: OrgIndex) -> &Org {
        &self.orgs[org.get()]
    }
}

#[cfg(test)]
mod tests;
