//! Limits of logins. `whosthere.default.toml` says why each default is what it is and what happens
//! at the limit.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use webhook::address::AddressPolicy;
use webhook::deliver::ClientSettings;

use super::webhook::prefixes;
use crate::accounts::{GuessLimits, HashBounds};

/// The `[accounts]` table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountsConfig {
    /// Threads that check stored passwords; 0 means one per core.
    pub verifiers: usize,
    /// Logins waiting for a verifier.
    pub verify_waiting_max: usize,
    /// Memory of one check of a stored password, KiB.
    pub hash_memory_kib_max: u32,
    /// Least work of a stored password, KiB of memory times passes.
    pub hash_work_kib_min: u64,
    /// Most work of a stored password, KiB of memory times passes.
    pub hash_work_kib_max: u64,
    /// Successful checks that are remembered.
    pub known_passwords_max: usize,
    /// How long one is remembered, seconds.
    pub known_password_secs: u64,
    /// Wrong passwords, and wrong API keys, of one address in the window.
    pub guess_address_max: u32,
    /// Wrong passwords for one user in the window.
    pub guess_user_max: u32,
    /// The window, seconds.
    pub guess_window_secs: u32,
    /// Addresses and users whose wrong guesses are remembered.
    pub guess_entries_max: usize,
    /// Topic filters in one token.
    pub token_topics_max: usize,
    /// Names for people, out of tokens, that are remembered.
    pub token_names_max: usize,
    /// Time to fetch a set of keys, seconds.
    pub jwks_deadline_secs: u64,
    /// Largest set of keys, bytes.
    pub jwks_bytes_max: usize,
    /// How long a set of keys is used before it is fetched again, seconds.
    pub jwks_lifetime_secs: u64,
    /// Shortest time between two fetches, seconds.
    pub jwks_retry_secs: u64,
    /// Where sets of keys may be fetched from besides public addresses.
    #[serde(deserialize_with = "prefixes")]
    pub jwks_allow_addresses: Vec<IpNet>,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        Self {
            verifiers: 0,
            verify_waiting_max: 16_384,
            hash_memory_kib_max: 65_536,
            hash_work_kib_min: 35_840,
            hash_work_kib_max: 1_048_576,
            known_passwords_max: 100_000,
            known_password_secs: 3600,
            guess_address_max: 30,
            guess_user_max: 10,
            guess_window_secs: 300,
            guess_entries_max: 65_536,
            token_topics_max: 1000,
            token_names_max: 100_000,
            jwks_deadline_secs: 10,
            jwks_bytes_max: 262_144,
            jwks_lifetime_secs: 3600,
            jwks_retry_secs: 10,
            jwks_allow_addresses: Vec::new(),
        }
    }
}

impl AccountsConfig {
    /// The limits of fetching a set of keys.
    #[must_use]
    pub fn client_settings(&self) -> ClientSettings {
        ClientSettings {
            deadline: Duration::from_secs(self.jwks_deadline_secs),
            answer_bytes_max: self.jwks_bytes_max,
            ..ClientSettings::default()
        }
    }

    /// Where sets of keys may be fetched from.
    #[must_use]
    pub fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::allowing(self.jwks_allow_addresses.clone())
    }

    /// The limits of guessing.
    #[must_use]
    pub fn guess_limits(&self) -> GuessLimits {
        GuessLimits {
            address_max: self.guess_address_max,
            user_max: self.guess_user_max,
            window_secs: self.guess_window_secs,
            entries_max: self.guess_entries_max,
        }
    }

    /// What a stored password may cost.
    #[must_use]
    pub fn hash_bounds(&self) -> HashBounds {
        HashBounds {
            memory_kib_max: self.hash_memory_kib_max,
            work_kib_min: self.hash_work_kib_min,
            work_kib_max: self.hash_work_kib_max,
        }
    }
}
