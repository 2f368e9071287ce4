//! One issuer of tokens of an organisation as the configuration file writes it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Deserialize;

use super::Secret;

/// One `[[org.jwt]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// `HS256`, `RS256`, `ES256`, `EdDSA`; empty: whatever the keys are for.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// Key of HS256; at least 32 bytes.
    pub secret: Option<Secret>,
    /// A public key in PEM form.
    pub public_key: Option<String>,
    /// A file with a JWK set; read again now and then.
    pub jwks_file: Option<PathBuf>,
    /// Where a JWK set is fetched from.
    pub jwks_url: Option<String>,
    /// The claim that names the user.
    #[serde(default = "user_claim")]
    pub user_claim: String,
    /// The claim with the name for people.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// The claim with the topics allowed.
    #[serde(default = "topics_claim")]
    pub topics_claim: String,
    /// What `iss` must be; none: anything.
    pub issuer: Option<String>,
    /// What `aud` must hold; none: anything.
    pub audience: Option<String>,
    /// How far clocks may be apart, seconds.
    #[serde(default = "leeway_secs")]
    pub leeway_secs: u64,
    /// Whether a token must have `exp`.
    #[serde(default = "require_expiry")]
    pub require_expiry: bool,
}

impl JwtConfig {
    /// Whether keys come over a network without TLS: whoever is on the way can send keys of their
    /// own, and with them log in as anybody.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let url = self.jwks_url.as_deref().unwrap_or_default();
        let url = url.to_ascii_lowercase();
        let Some(rest) = url.strip_prefix("http://") else {
            return false;
        };
        let host = rest.split(['/', ':', '?']).next().unwrap_or_default();
        let is_loopback = || host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
        !(host == "localhost" || rest.starts_with("[::1]") || is_loopback())
    }
}

fn user_claim() -> String {
    "sub".to_owned()
}

fn name_claim() -> String {
    "name".to_owned()
}

fn topics_claim() -> String {
    "topics".to_owned()
}

fn leeway_secs() -> u64 {
    30
}

fn require_expiry() -> bool {
    true
}
