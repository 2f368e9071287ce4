//! Limits of logins. `whosthere.default.toml` says why each default is what it is and what happens
//! at the limit.

use serde::Deserialize;

use crate::accounts::HashBounds;

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
        }
    }
}

impl AccountsConfig {
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
