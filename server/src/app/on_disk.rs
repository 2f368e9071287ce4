//! What a server keeps of who comes and goes, opened: the journal, and what follows it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use journal::Log;
use views::{Deliveries, Views};

use super::StartError;
use crate::config::JournalConfig;
use crate::lifecycle::end_crashed;

/// The journal, the views of it, and how far each webhook has come in them.
pub(super) struct OnDisk {
    pub(super) log: Log,
    pub(super) views: Views,
    pub(super) deliveries: Arc<Mutex<Deliveries>>,
}

impl OnDisk {
    /// Opens everything, and ends what a crash left open.
    pub(super) fn open(data_dir: &Path, config: &JournalConfig) -> Result<Self, StartError> {
        if config.dangerous_off {
            tracing::warn!("journal.dangerous_off is set: nothing is written down or delivered");
        }
        let log = open_journal(&data_dir.join("journal"), config)?;
        let mut views = Views::open(&private_file(data_dir, "views.sqlite")?)?;
        views.skip_to(log.oldest())?;
        let deliveries = Deliveries::open(&private_file(data_dir, "deliveries.sqlite")?)?;
        Ok(Self {
            log,
            views,
            deliveries: Arc::new(Mutex::new(deliveries)),
        })
    }
}

fn open_journal(dir: &Path, config: &JournalConfig) -> Result<Log, StartError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let settings = journal::Settings {
        segment_bytes: config.segment_bytes,
    };
    let (mut log, recovered) = Log::open(dir, settings)?;
    let ended = end_crashed(&mut log, recovered.open).map_err(|error| error.0)?;
    if ended > 0 {
        tracing::warn!(
            ended,
            "ended the sessions that were open when the server crashed"
        );
    }
    Ok(log)
}

/// The path of a file in the data directory that only its owner may read. SQLite takes an empty
/// file for a new database, and gives the files beside it the same mode.
fn private_file(data_dir: &Path, name: &str) -> io::Result<PathBuf> {
    let path = data_dir.join(name);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)?;
    Ok(path)
}
