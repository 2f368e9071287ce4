//! What is counted of logins.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of logins. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct AccountMetrics {
    /// Stored passwords that were hashed to be compared, right or wrong.
    pub hashes: Counter,
    /// Logins and API keys that were not looked at, since too many were wrong.
    pub slowed: Counter,
    /// Sets of keys for tokens that were fetched.
    pub key_fetches: Counter,
    /// Sets of keys that could not be fetched.
    pub key_fetch_failures: Counter,
}

impl AccountMetrics {
    /// Puts the counters into `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "password_hashes",
            "Stored passwords hashed to be compared",
            self.hashes.clone(),
        );
        registry.register(
            "guesses_slowed",
            "Logins and API keys not looked at, since too many were wrong",
            self.slowed.clone(),
        );
        registry.register(
            "token_key_fetches",
            "Sets of keys for tokens that were fetched",
            self.key_fetches.clone(),
        );
        registry.register(
            "token_key_fetch_failures",
            "Sets of keys for tokens that could not be fetched",
            self.key_fetch_failures.clone(),
        );
    }
}
