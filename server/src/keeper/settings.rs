//! From the configuration to an open keeper.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use messages::{Desk, Limits, Quota, Settings};
use prometheus_client::registry::Registry;

use super::{KeeperMetrics, Prepared, QueueLimits, prepare};
use crate::accounts::{Accounts, OrgLimits};
use crate::clock::unix_ms;
use crate::config::Config;

/// Why what is kept could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its directory or file could not be made.
    #[error("cannot make the directory of messages: {0}")]
    Io(#[from] io::Error),
    /// It cannot be used.
    #[error(transparent)]
    Messages(#[from] messages::OpenError),
}

/// Opens what is kept in `messages/` of the data directory, and registers its counters in
/// `registry`. `accounts` says which organisations there are and what each may have; what is kept of others stays
/// as it is.
///
/// # Errors
/// When it cannot be read or written, is damaged, or its files do not belong together.
pub fn open(
    data_dir: &Path,
    config: &Config,
    accounts: &Accounts,
    registry: &mut Registry,
) -> Result<Prepared, OpenError> {
    let dir = data_dir.join("messages");
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    // SQLite takes an empty file for a new database, and gives the files beside it the same mode.
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join("messages.sqlite"))?;
    let quotas = accounts.all_limits().map(quota);
    let orgs: Vec<_> = accounts.org_ids().zip(quotas).collect();
    let desk = Desk::open(&dir, settings(config), &orgs, unix_ms())?;
    let metrics = KeeperMetrics::register(
        registry.sub_registry_with_prefix("messages"),
        &desk.directory(),
    );
    let limits = QueueLimits {
        requests_max: config.sessions.requests_waiting_max,
        bytes_max: config.sessions.requests_bytes_max,
    };
    Ok(prepare(desk, limits, metrics))
}

fn settings(config: &Config) -> Settings {
    let sessions = &config.sessions;
    Settings {
        limits: Limits {
            sessions_max: sessions.stored_max,
            window: sessions.window,
            memory_bytes_max: sessions.memory_bytes_max,
            subscriptions_waiting_max: config.retained.subscriptions_waiting_max,
        },
        segment_bytes: sessions.segment_bytes,
    }
}

fn quota(limits: &OrgLimits) -> Quota {
    Quota {
        queue_messages_max: limits.stored_queue_messages_max,
        queue_bytes_max: limits.stored_queue_bytes_max,
        retained_max: limits.retained_messages_max,
        retained_bytes_max: limits.retained_bytes_max,
    }
}
