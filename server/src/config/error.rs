//! What is wrong with a configuration: one sentence per problem, all problems together.

use std::fmt;

/// Why a configuration was refused. Displays one sentence per line and no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    sentences: Vec<String>,
}

impl ConfigError {
    /// Collects sentences in the order they are to be shown.
    pub(super) fn new(sentences: impl IntoIterator<Item = String>) -> Self {
        Self {
            sentences: sentences.into_iter().collect(),
        }
    }

    /// The problems, one sentence each.
    pub fn sentences(&self) -> &[String] {
        &self.sentences
    }
}

impl From<String> for ConfigError {
    fn from(sentence: String) -> Self {
        Self::new([sentence])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
