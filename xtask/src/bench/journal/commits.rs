//! How long the server's commits took, as its metrics tell.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::super::http::Api;
use super::super::whosthere::SECRET_KEY;

/// The limit of a bucket of the server's histogram, in seconds.
pub(super) const SLOW_SECS: f64 = 0.0064;

/// All commits of one server; nothing but zeros without a journal.
pub(super) struct Commits {
    pub(super) count: f64,
    pub(super) mean_ms: f64,
    pub(super) slow_percent: f64,
}

impl Commits {
    /// Asks the server.
    pub(super) fn of(http: SocketAddr) -> Result<Self> {
        let metrics = std::io::read_to_string(Api::new(http, SECRET_KEY).get("/metrics")?)?;
        let lines = metrics
            .lines()
            .filter_map(|line| line.split_once("journal_commit_seconds_"));
        let (mut count, mut sum, mut quick) = (0.0, 0.0, 0.0);
        for (_, line) in lines {
            let (name, value) = line.rsplit_once(' ').context("no value")?;
            let Ok(value) = value.parse::<f64>() else {
                continue;
            };
            let limit = name.split('"').nth(1).and_then(|le| le.parse::<f64>().ok());
            match (name, limit) {
                ("count", _) => count = value,
                ("sum", _) => sum = value,
                (_, Some(limit)) if limit <= SLOW_SECS * 1.1 => quick = value,
                _ => {}
            }
        }
        let share = |part: f64| if count > 0.0 { part / count } else { 0.0 };
        Ok(Self {
            count,
            mean_ms: share(sum) * 1e3,
            slow_percent: share(count - quick) * 100.0,
        })
    }
}
