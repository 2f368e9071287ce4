//! What is counted of logins.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of logins. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct AccountMetrics {
    /// Stored passwords that were hashed to be compared, right or wrong.
    pub hashes: Counter,
}

impl AccountMetrics {
    /// Puts the counters into `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "password_hashes",
            "Stored passwords hashed to be compared",
            self.hashes.clone(),
        );
    }
}
