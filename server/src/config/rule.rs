//! Access rules of an organisation as the configuration file writes them.

use std::fmt;

use serde::Deserialize;

/// One `[[org.rule]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// What it decides.
    pub effect: Effect,
    /// What it is about.
    #[serde(default)]
    pub action: RuleAction,
    /// Topic filters, in which `{username}` and `{client_id}` stand for the client's own.
    pub topics: Vec<String>,
    /// Whom it is about; empty: everybody.
    #[serde(default)]
    pub users: Vec<String>,
}

/// What a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It may be done.
    Allow,
    /// It may not.
    Deny,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// Publishing, wills included.
    Publish,
    /// Subscribing.
    Subscribe,
    /// Both.
    #[default]
    Any,
}
