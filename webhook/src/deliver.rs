//! One attempt: one POST, under one deadline from the first look-up to the last byte.
//!
//! A [`Client`] holds what all endpoints share (resolver, address policy, TLS); an [`Endpoint`]
//! holds one receiver's URL, signatures and idle connections. An attempt that fails on a
//! connection that had been idle is made once more on a new one, because the receiver may have
//! closed the old one in that moment; deliveries are at least once, so that is allowed. Redirects
//! are not followed and no proxy is taken from the environment.
//!
//! An answer counts once it is complete, or once [`ClientSettings::answer_bytes_max`] of it have
//! been read; the rest is never read.

mod answer;
mod dial;
mod endpoint;
mod fetch;
mod pool;
mod target;
mod tls;

use std::{sync::Arc, time::Duration};

pub use dial::{Resolve, Resolving, SystemResolver};
pub use endpoint::{Endpoint, Signing};
pub use fetch::{Document, FetchError};
pub use target::UrlError;
pub use tls::AuthorityError;

use crate::address::AddressPolicy;
use dial::Dialer;
use target::Target;

/// What requests call themselves.
const AGENT: &str = concat!("whosthere/", env!("CARGO_PKG_VERSION"));

/// The limits of attempts.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// One attempt's time for everything. Default 15 s.
    pub deadline: Duration,
    /// The time to connect to one address; then the name's next address is tried, if it has one.
    /// Default 5 s.
    pub connect_timeout: Duration,
    /// How much of an answer's body is read. Default 4 KiB.
    pub answer_bytes_max: usize,
    /// How many idle connections are kept per endpoint. Default 16, the default concurrency.
    pub idle_max: usize,
    /// How long a connection may be idle before it is not used again. Default 30 s.
    pub idle_timeout: Duration,
    /// How old a connection may get before it is not used again, so that a change of the
    /// receiver's address is followed and checked. Default 5 min.
    pub connection_age_max: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            answer_bytes_max: 4096,
            idle_max: 16,
            idle_timeout: Duration::from_secs(30),
            connection_age_max: Duration::from_mins(5),
        }
    }
}

/// What the endpoints of a server share.
#[derive(Clone)]
pub struct Client {
    settings: ClientSettings,
    dialer: Arc<Dialer>,
}

impl Client {
    /// Resolves names as the system does and dials what `policy` allows. TLS trusts the public
    /// authorities and those in `authorities_pem` (PEM, may be empty).
    ///
    /// # Errors
    ///
    /// If `authorities_pem` is not PEM with certificates of authorities.
    pub fn new(
        settings: ClientSettings,
        policy: AddressPolicy,
        authorities_pem: &[u8],
    ) -> Result<Self, AuthorityError> {
        Self::with_resolver(settings, policy, authorities_pem, Arc::new(SystemResolver))
    }

    /// As [`new`](Self::new), with names resolved by `resolver`. Its answers are not trusted: they
    /// pass the same policy.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_resolver(
        settings: ClientSettings,
        policy: AddressPolicy,
        authorities_pem: &[u8],
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, AuthorityError> {
        let dialer = Dialer {
            resolver,
            policy,
            connect_timeout: settings.connect_timeout,
            tls: tls::connector(authorities_pem)?,
        };
        Ok(Self {
            settings,
            dialer: Arc::new(dialer),
        })
    }

    /// Prepares one receiver. Nothing is dialled.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with `url`.
    pub fn endpoint(&self, url: &str, signing: Signing) -> Result<Endpoint, UrlError> {
        let target = Target::parse(url)?;
        Ok(Endpoint::new(
            target,
            signing,
            Arc::clone(&self.dialer),
            self.settings.clone(),
        ))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
