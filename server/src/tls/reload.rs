//! Looks at the files while the server runs: every `tls.reload_secs`, and on SIGHUP.
//!
//! What is compared is what the files hold, not when they were written: a link that points
//! elsewhere is a change, and a copy of the same is none.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::files::{self, Loaded, Prints};
use super::{Tls, TlsError};
use crate::clock;

/// What a look at the files came to.
#[derive(Debug)]
pub(super) enum Seen {
    /// They are what is in use, or what was found wrong before.
    Unchanged,
    Taken,
    /// The new files are not right, so those before them stay in use.
    Kept(TlsError),
}

/// Reads the files again whenever they have changed. Never ends by itself.
pub async fn reload(tls: Arc<Tls>) {
    let mut ticks = interval(Duration::from_secs(tls.settings.reload_secs));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!("SIGHUP cannot be caught, certificates are not reloaded: {error}");
            return;
        }
    };
    let mut wrong = None;
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangup.recv() => true,
        };
        if asked {
            // Whoever asks hears what is wrong even if it was wrong before.
            wrong = None;
        }
        let tls = Arc::clone(&tls);
        let looked = tokio::task::spawn_blocking(move || {
            let seen = tls.look_again(&mut wrong, clock::unix_ms());
            (seen, wrong)
        });
        let Ok((seen, now_wrong)) = looked.await else {
            return;
        };
        wrong = now_wrong;
        match seen {
            Seen::Unchanged if asked => tracing::info!("the certificates have not changed"),
            Seen::Unchanged => {}
            Seen::Taken => tracing::info!("new certificates are in use"),
            Seen::Kept(error) => {
                tracing::error!("new certificates are not right, the old ones stay: {error}");
            }
        }
    }
}

/// What the last look at the files found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Unreadable,
    Content(Prints),
}

impl Tls {
    /// Looks at the files once. `wrong` remembers what was found wrong, so that it is told once.
    pub(super) fn look_again(&self, wrong: &mut Option<Wrong>, now_ms: u64) -> Seen {
        let found = match files::prints(&self.settings) {
            Ok(prints) if prints == self.current().prints => {
                *wrong = None;
                return Seen::Unchanged;
            }
            Ok(prints) => Wrong::Content(prints),
            Err(_) => Wrong::Unreadable,
        };
        if *wrong == Some(found) {
            return Seen::Unchanged;
        }
        match self.read_again(now_ms) {
            Ok(loaded) => {
                *wrong = None;
                self.metrics.reloaded("taken");
                self.metrics.not_after(loaded.validity);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                Seen::Taken
            }
            Err(error) => {
                *wrong = Some(found);
                self.metrics.reloaded("kept");
                Seen::Kept(error)
            }
        }
    }

    fn read_again(&self, now_ms: u64) -> Result<Loaded, TlsError> {
        let loaded = files::load(&self.settings, Some(&self.current()))?;
        loaded.validity.check(&self.settings.certificate, now_ms)?;
        Ok(loaded)
    }
}
