//! Keys that are fetched, from a URL or a file, and kept until the next fetch succeeds.
//!
//! They are fetched at the start, whenever their lifetime is over, and when a token names a key
//! that is not among them, but then not more often than every few seconds, whoever asks. Logins
//! that can be decided with the keys at hand never wait for a fetch.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use webhook::deliver::{Document, FetchError};
use webhook::outcome::DownReason;

use super::keys::KeySet;
use crate::accounts::AccountMetrics;
use crate::clock::unix_ms;
use crate::config::AccountsConfig;
use crate::small_file;

/// Where keys are.
pub(super) enum Place {
    Url(Document),
    File(PathBuf),
}

/// For the log: without what may be secret in a URL.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(document) => f.write_str(document.host()),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Keys that are fetched.
pub(crate) struct KeySource {
    place: Place,
    bytes_max: usize,
    lifetime_secs: u64,
    retry_secs: u64,
    state: Mutex<State>,
    /// Rung when a token asks for keys.
    wanted: Notify,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// How many fetches have ended, well or not.
    fetches: u64,
    is_under_way: bool,
    tried_at_secs: u64,
}

impl KeySource {
    /// Keys that are not here yet.
    pub(super) fn new(place: Place, limits: &AccountsConfig) -> Self {
        Self {
            place,
            bytes_max: limits.jwks_bytes_max,
            lifetime_secs: limits.jwks_lifetime_secs,
            retry_secs: limits.jwks_retry_secs,
            // The first fetch begins with the server; whoever comes before its end waits for it.
            state: Mutex::new(State {
                is_under_way: true,
                ..State::default()
            }),
            wanted: Notify::new(),
        }
    }

    /// Keys of a file, which is read at once.
    ///
    /// # Errors
    ///
    /// Why the file does not hold keys, as the rest of a sentence.
    pub(super) fn of_file(place: Place, limits: &AccountsConfig) -> Result<Self, String> {
        let source = Self::new(place, limits);
        if let Place::File(path) = &source.place {
            let keys = KeySet::from_jwks(&read(path, source.bytes_max)?)?;
            source.lock().keys = Some(Arc::new(keys));
        }
        Ok(source)
    }

    /// The keys that were fetched last; none before the first fetch has succeeded.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        self.lock().keys.clone()
    }

    /// Asks for new keys. Gives how many fetches have ended so far, if another is under way or
    /// begins; none if the last one was too short a time ago.
    pub(super) fn request(&self, now_secs: u64) -> Option<u64> {
        let mut state = self.lock();
        if !state.is_under_way {
            if now_secs.saturating_sub(state.tried_at_secs) < self.retry_secs {
                return None;
            }
            state.is_under_way = true;
            self.wanted.notify_one();
        }
        Some(state.fetches)
    }

    /// Fetches now, or once more after the fetch that is under way.
    pub(crate) fn reload(&self) {
        self.wanted.notify_one();
    }

    /// How many fetches have ended.
    pub(crate) fn fetches(&self) -> u64 {
        self.lock().fetches
    }

    /// Fetches now and then, for as long as the server runs; calls `done` after each fetch.
    pub(crate) async fn run(&self, metrics: &AccountMetrics, done: impl Fn()) {
        loop {
            self.lock().is_under_way = true;
            let fetched = self.fetch().await;
            let is_well = self.take_in(fetched, unix_ms() / 1000, metrics);
            done();
            let pause_secs = if is_well {
                self.lifetime_secs
            } else {
                self.retry_secs
            };
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(pause_secs)) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let text = match &self.place {
            Place::Url(document) => document
                .fetch()
                .await
                .map_err(|error| explained(&error))?
                .to_vec(),
            Place::File(path) => {
                let (path, bytes_max) = (path.clone(), self.bytes_max);
                tokio::task::spawn_blocking(move || read(&path, bytes_max))
                    .await
                    .map_err(|error| error.to_string())??
            }
        };
        KeySet::from_jwks(&text)
    }

    /// Keeps what was fetched, or what was there before. Answers whether it went well.
    fn take_in(
        &self,
        fetched: Result<KeySet, String>,
        now_secs: u64,
        metrics: &AccountMetrics,
    ) -> bool {
        let mut state = self.lock();
        state.fetches += 1;
        state.is_under_way = false;
        state.tried_at_secs = now_secs;
        match fetched {
            Ok(keys) => {
                state.keys = Some(Arc::new(keys));
                metrics.key_fetches.inc();
                true
            }
            Err(why) => {
                metrics.key_fetch_failures.inc();
                let is_empty = state.keys.is_none();
                let place = &self.place;
                tracing::warn!(%place, why, is_empty, "cannot fetch the keys that verify tokens");
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySource").finish_non_exhaustive()
    }
}

/// Why there is no document, and what to do about it where a setting stands in the way.
fn explained(error: &FetchError) -> String {
    match error {
        FetchError::Down(DownReason::Address(_)) => {
            format!("{error}, see accounts.jwks_allow_addresses")
        }
        _ => error.to_string(),
    }
}

/// A file of at most `bytes_max` bytes.
fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    small_file::read(path, bytes_max).map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> KeySource {
        KeySource::new(Place::File("none".into()), &AccountsConfig::default())
    }

    fn keys() -> KeySet {
        KeySet::default()
    }

    #[test]
    fn whoever_comes_before_the_first_fetch_waits_for_it() {
        let source = source();
        assert!(source.current().is_none());
        assert_eq!(source.request(100), Some(0));
        assert!(source.take_in(Ok(keys()), 100, &AccountMetrics::default()));
        assert!(source.current().is_some());
        assert_eq!(source.fetches(), 1);
    }

    #[test]
    fn an_unknown_key_is_asked_for_at_most_once_per_pause() {
        let source = source();
        source.take_in(Ok(keys()), 100, &AccountMetrics::default());
        assert_eq!(source.request(109), None);
        assert_eq!(source.request(110), Some(1));
        assert_eq!(source.request(110), Some(1), "it is under way");
        source.take_in(Ok(keys()), 111, &AccountMetrics::default());
        assert_eq!(source.request(120), None);
    }

    #[test]
    fn keys_outlive_a_fetch_that_fails() {
        let (source, metrics) = (source(), AccountMetrics::default());
        source.take_in(Ok(keys()), 100, &metrics);
        assert!(!source.take_in(Err("down".to_owned()), 200, &metrics));
        assert!(source.current().is_some());
        assert_eq!(source.fetches(), 2);
        assert_eq!(
            (metrics.key_fetches.get(), metrics.key_fetch_failures.get()),
            (1, 1)
        );
    }
}
