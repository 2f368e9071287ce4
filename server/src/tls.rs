//! TLS of the doors: certificates read, checked, and read again while the server runs.
//!
//! The doors ask for the configuration of each new connection, so a new certificate is in use from
//! the next one on and connections that stand are not touched. Session tickets outlive a new
//! certificate, so that a reload makes nobody shake hands in full; new authorities of clients end
//! them, since a ticket carries a login. No socket here: the event loops and the API have those.
//!
//! - [`files`]: from PEM files to configurations
//! - [`name`]: the user that a client's certificate names
//! - `reload`: looks at the files while the server runs

mod files;
mod metrics;
mod name;
mod reload;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::ServerConfig;

use crate::clock;
use crate::config::TlsConfig;
use files::Loaded;

pub use files::{TlsError, Validity};
pub use metrics::TlsMetrics;
pub use name::{NotNamed, user_of};
pub use reload::reload;

/// The certificate in use, and how to get a new one.
pub struct Tls {
    settings: TlsConfig,
    current: RwLock<Loaded>,
    metrics: TlsMetrics,
}

impl Tls {
    /// Reads the files that `settings` name.
    ///
    /// # Errors
    /// If one of them cannot be read or is not what it should be. A certificate out of its time is
    /// only logged: the doors without TLS are still worth opening.
    pub fn load(settings: &TlsConfig, metrics: TlsMetrics) -> Result<Self, TlsError> {
        let loaded = files::load(settings, None)?;
        if let Err(error) = loaded
            .validity
            .check(&settings.certificate, clock::unix_ms())
        {
            tracing::error!("{error}");
        }
        metrics.not_after(loaded.validity);
        Ok(Self {
            settings: settings.clone(),
            current: RwLock::new(loaded),
            metrics,
        })
    }

    /// How MQTT clients are spoken to.
    #[must_use]
    pub fn for_clients(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().clients)
    }

    /// How callers of the HTTP API are spoken to: their key is their login, so no certificate is
    /// asked for.
    #[must_use]
    pub fn for_api(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().api)
    }

    /// What is set.
    #[must_use]
    pub fn settings(&self) -> &TlsConfig {
        &self.settings
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &TlsMetrics {
        &self.metrics
    }

    fn current(&self) -> std::sync::RwLockReadGuard<'_, Loaded> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and checks the files as a start would, dates included; makes nothing of them.
///
/// # Errors
/// As [`Tls::load`], and if the certificate is out of its time.
pub fn check(settings: &TlsConfig) -> Result<Validity, TlsError> {
    let loaded = files::load(settings, None)?;
    loaded
        .validity
        .check(&settings.certificate, clock::unix_ms())?;
    Ok(loaded.validity)
}
