//! Settings: what `whosthere serve` does, from a file and the environment.
//!
//! The order is defaults, then the file, then `WHOSTHERE_…` variables, then validation of the
//! whole. `whosthere.default.toml` documents every key; a test keeps it equal to
//! [`Config::default`]. Nothing here opens a port or touches the data directory.

mod accounts;
mod endpoint;
mod env;
mod error;
mod file;
mod http;
mod journal;
mod jwt;
mod listen;
mod log;
mod mqtt;
mod org;
mod proxy;
mod quota;
mod rule;
mod sessions;
mod tls;
mod validate;
mod webhook;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use self::accounts::AccountsConfig;
pub use self::endpoint::{EndpointConfig, EventLevel, Payload, Sha1In};
pub use self::env::{Environment, process_environment};
pub use self::error::ConfigError;
pub use self::http::HttpConfig;
pub use self::journal::JournalConfig;
pub use self::jwt::JwtConfig;
pub use self::listen::Listen;
pub use self::log::{LogConfig, LogFormat};
pub use self::mqtt::MqttConfig;
pub use self::org::{MultiDevice, OrgConfig, Secret, UserConfig};
pub use self::proxy::ProxyConfig;
pub use self::quota::{OrgQuotaConfig, QuotaConfig};
pub use self::rule::{Effect, RuleAction, RuleConfig};
pub use self::sessions::{RetainedConfig, SessionsConfig};
pub use self::tls::{ClientCertificates, ClientName, TlsConfig, TlsVersion};
pub use self::webhook::WebhookConfig;

/// The commented file with every key at its default.
pub const DEFAULT_FILE: &str = include_str!("../whosthere.default.toml");

/// All settings, validated when they come from [`Config::load`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the server keeps what outlives it; created when missing.
    pub data_dir: PathBuf,
    /// Organisation id of logins without a suffix.
    #[serde(deserialize_with = "org::empty_as_none")]
    pub default_org: Option<String>,
    /// Event loops; 0 means one per core but one, and at least one.
    pub workers: usize,
    /// Addresses to listen on.
    pub listen: Listen,
    /// Quotas of each organisation.
    pub quota: QuotaConfig,
    /// Limits of logins.
    pub accounts: AccountsConfig,
    /// What load balancers say before anything else.
    pub proxy_protocol: ProxyConfig,
    /// Certificates of the doors that speak TLS.
    pub tls: TlsConfig,
    /// Limits of MQTT connections and sessions.
    pub mqtt: MqttConfig,
    /// Limits of the HTTP API.
    pub http: HttpConfig,
    /// The journal.
    pub journal: JournalConfig,
    /// Stored sessions.
    pub sessions: SessionsConfig,
    /// Retained messages.
    pub retained: RetainedConfig,
    /// Delivery to webhooks.
    pub webhook: WebhookConfig,
    /// Logging.
    pub log: LogConfig,
    /// Organisations; empty means that one is generated in the data directory.
    #[serde(rename = "org")]
    pub orgs: Vec<OrgConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("whosthere-data"),
            default_org: None,
            workers: 0,
            listen: Listen::default(),
            quota: QuotaConfig::default(),
            accounts: AccountsConfig::default(),
            proxy_protocol: ProxyConfig::default(),
            tls: TlsConfig::default(),
            mqtt: MqttConfig::default(),
            http: HttpConfig::default(),
            journal: JournalConfig::default(),
            sessions: SessionsConfig::default(),
            retained: RetainedConfig::default(),
            webhook: WebhookConfig::default(),
            log: LogConfig::default(),
            orgs: Vec::new(),
        }
    }
}

impl Config {
    /// Reads `file` (none: the defaults), lays `environment` over it, and validates the result.
    ///
    /// # Errors
    ///
    /// Every problem found, each as a sentence that names the key and where it was set: a file
    /// that cannot be read or is no TOML, an unknown key or variable, a value of the wrong kind
    /// or out of range, settings that contradict each other.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => file::read(path)?,
            None => String::new(),
        };
        let name = file.map_or_else(
            || "the defaults".to_owned(),
            |path| path.display().to_string(),
        );
        Self::from_text(&text, &name, environment)
    }

    /// As [`Config::load`], from the text of a file called `name` in messages.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn from_text(
        text: &str,
        name: &str,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let table = file::parse(text, name)?;
        let (config, overridden) = env::overlay(table, environment)?;
        validate::check(&config).map_err(|problems| {
            ConfigError::new(
                problems
                    .iter()
                    .map(|problem| problem.sentence(name, &overridden)),
            )
        })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
