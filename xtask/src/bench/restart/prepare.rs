//! A data directory as a server leaves it that was killed under load: sessions open in every part
//! of the journal, views that were flushed and not settled.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use journal::{Ended, Fact, Log, Maintenance, Opened, Position, Retention, SessionId, Settings};
use presence::{EndReason, Protocol};
use views::{Checkpointer, Views};

/// Users whose sessions come and go at the same time.
const GROUP: u64 = 10_000;

/// What a user has done by the time of the crash: come, gone, come, gone, come.
const EVENTS_PER_USER: u64 = 5;

/// As the server does it: facts per commit under load, per flush, and how often it looks after
/// the rest.
const COMMIT_FACTS: u64 = 256;
const FLUSH_FACTS: u64 = 4_096;
const CARE_FACTS: u64 = 65_536;

/// What was made.
pub(super) struct Prepared {
    open: u64,
    events: u64,
    journal_bytes: u64,
    views_bytes: u64,
}

/// Fills `directory` as if a server with `open` sessions had been killed.
pub(super) fn crashed(directory: &Path, open: u64) -> Result<Prepared> {
    let data = directory.join("whosthere-data");
    let journal = data.join("journal");
    fs::create_dir_all(&journal)?;
    let (log, _) = Log::open(&journal, Settings::default())?;
    let views = Views::open(&data.join("views.sqlite"))?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let events = open * EVENTS_PER_USER;
    let mut writer = Writer {
        maintenance: log.maintenance(),
        checkpointer: views.checkpointer()?,
        log,
        views,
        // One event in a tenth of a millisecond, up to now.
        started_ms: u64::try_from(now_ms)? - events / 10,
        written: 0,
    };
    for first in (0..open).step_by(usize::try_from(GROUP)?) {
        let group = first..open.min(first + GROUP);
        for step in 0..EVENTS_PER_USER {
            for user in group.clone() {
                writer.write(user, step)?;
            }
        }
    }
    writer.log.commit()?;
    writer.views.flush()?;
    // Neither is closed in order: the views are not settled, and the last connection to a
    // database would tidy up after itself.
    std::mem::forget(writer);
    Ok(Prepared {
        open,
        events,
        journal_bytes: size(&journal)?,
        views_bytes: size(&data)?,
    })
}

/// Fails unless the start after the crash has ended every session, in the journal and in the views.
pub(super) fn ensure_all_ended(directory: &Path, prepared: &Prepared) -> Result<()> {
    let data = directory.join("whosthere-data");
    let (_, recovered) = Log::open(&data.join("journal"), Settings::default())?;
    let expected = Position(prepared.events + prepared.open);
    let open = recovered.open.len();
    ensure!(
        recovered.end == expected && open == 0,
        "the journal ends at {:?} instead of {expected:?}, with {open} sessions open",
        recovered.end
    );
    let views = Views::open(&data.join("views.sqlite"))?;
    ensure!(
        views.position() == expected,
        "the views end at {:?}",
        views.position()
    );
    Ok(())
}

struct Writer {
    log: Log,
    maintenance: Maintenance,
    views: Views,
    checkpointer: Checkpointer,
    started_ms: u64,
    written: u64,
}

impl Writer {
    /// The user's next event.
    fn write(&mut self, user: u64, step: u64) -> Result<()> {
        let at_ms = self.started_ms + self.written / 10;
        let fact = fact(user, step, at_ms);
        let position = self.log.append(&fact);
        self.views.fold(position, fact)?;
        self.written += 1;
        if self.written.is_multiple_of(COMMIT_FACTS) {
            self.log.commit()?;
        }
        if self.written.is_multiple_of(FLUSH_FACTS) {
            self.views.flush()?;
        }
        if self.written.is_multiple_of(CARE_FACTS) {
            let keep_all = (Position(0), Retention::default());
            self.maintenance.run(at_ms, keep_all.0, keep_all.1)?;
            self.checkpointer.checkpoint()?;
        }
        Ok(())
    }
}

fn fact(user: u64, step: u64, at_ms: u64) -> Fact {
    let session = session(user, step / 2);
    let org = "org_abc".into();
    let username = format!("user-{user}").into();
    let client_id = format!("bench-client-{user:07}").into();
    let peer = Some(([127, 0, 0, 1], (user % 50_000) as u16 + 10_000).into());
    if step.is_multiple_of(2) {
        return Fact::Opened(Opened {
            org,
            session,
            username,
            client_id,
            protocol: Protocol::V5,
            peer,
            os: None,
            at_ms,
            node: 0,
        });
    }
    Fact::Ended(Ended {
        org,
        session,
        username,
        client_id,
        protocol: Protocol::V5,
        peer,
        connected_at_ms: at_ms.saturating_sub(1_000),
        at_ms,
        reason: EndReason::ConnectionLost,
    })
}

/// A name like a random one: spread over all numbers, and no other has it.
fn session(user: u64, visit: u64) -> SessionId {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let number = (u128::from(user) << 8 | u128::from(visit)) + 1;
    SessionId(number.wrapping_mul(ODD).to_be_bytes())
}

/// The bytes of all files directly in a directory.
fn size(directory: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let about = entry?.metadata()?;
        sum += if about.is_file() { about.len() } else { 0 };
    }
    Ok(sum)
}

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} open, {} events; {} and {} MB",
            self.open,
            self.events,
            self.journal_bytes / 1_000_000,
            self.views_bytes / 1_000_000
        )
    }
}
