//! Organisations and their users as the configuration file writes them.

use std::fmt;

use serde::{Deserialize, Deserializer};

use super::{Effect, EndpointConfig, JwtConfig, OrgQuotaConfig, RuleConfig};

/// One `[[org]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrgConfig {
    /// What follows the last `@` of a login: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub id: String,
    /// Keys of the HTTP API, each `sk_…`; any of them selects this organisation.
    #[serde(default)]
    pub secret_keys: Vec<Secret>,
    /// Lets any name in, whatever its password.
    #[serde(default)]
    pub open_auth: bool,
    /// How many sessions a user may have at the same time.
    #[serde(default)]
    pub multi_device: MultiDevice,
    /// The `[[org.user]]` tables.
    #[serde(default, rename = "user")]
    pub users: Vec<UserConfig>,
    /// The `[org.quota]` table: what it gets instead of what all get.
    #[serde(default)]
    pub quota: OrgQuotaConfig,
    /// What no rule decides; none: allow without rules, deny with some.
    #[serde(default)]
    pub rules_default: Option<Effect>,
    /// The `[[org.rule]]` tables, in their order.
    #[serde(default, rename = "rule")]
    pub rules: Vec<RuleConfig>,
    /// The `[[org.jwt]]` tables: whose tokens are taken as passwords.
    #[serde(default, rename = "jwt")]
    pub jwts: Vec<JwtConfig>,
    /// The `[[org.webhook]]` tables.
    #[serde(default, rename = "webhook")]
    pub webhooks: Vec<EndpointConfig>,
}

impl OrgConfig {
    /// What no rule decides.
    #[must_use]
    pub fn default_effect(&self) -> Effect {
        self.rules_default.unwrap_or(match self.rules.is_empty() {
            true => Effect::Allow,
            false => Effect::Deny,
        })
    }
}

/// How many sessions a user may have. When there is one too many, the older goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MultiDevice {
    /// As many as there are client identifiers.
    #[default]
    Unlimited,
    /// One of each platform, as the client tells it (`os`) or by the way it comes.
    OnePerPlatform,
    /// One.
    One,
}

/// One `[[org.user]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// Name without suffix, 1 to 65,535 bytes; may contain `@`.
    pub username: String,
    /// Password in plain text; only its digest is kept once the server runs. This or
    /// `password_hash`.
    pub password: Option<Secret>,
    /// Password as an argon2id hash in PHC form.
    pub password_hash: Option<Secret>,
    /// Name for people, shown in presence answers.
    pub display_name: Option<String>,
}

/// Text that must not appear in logs. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; whoever calls this keeps it out of logs and messages.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Reads text where empty means "not set": TOML and the environment have no null.
pub(super) fn empty_as_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    Ok((!text.is_empty()).then_some(text))
}
