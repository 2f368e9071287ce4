//! Rules on values and between them, checked on the whole configuration.
//!
//! All problems are collected: whoever fixes a file should not meet them one start at a time.

mod limits;
mod orgs;
mod proxy;
mod tls;
mod tokens;
mod webhooks;

use std::collections::HashMap;

use tracing_subscriber::EnvFilter;

use super::Config;
use super::env::Overridden;

/// A key, and what is wrong with it as the rest of a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    key: String,
    why: String,
}

impl Problem {
    fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            why: why.into(),
        }
    }

    /// The whole sentence: where the key was set, its name, and what is wrong.
    pub(super) fn sentence(&self, file: &str, overridden: &Overridden) -> String {
        let Self { key, why } = self;
        let place = overridden.get(key).map_or(file, String::as_str);
        format!("{place}: `{key}` {why}.")
    }
}

/// Checks every rule.
pub(super) fn check(config: &Config) -> Result<(), Vec<Problem>> {
    let mut problems = limits::check(config);
    problems.extend(check_listen(config));
    problems.extend(proxy::check(config));
    problems.extend(tls::check(config));
    problems.extend(orgs::check(config));
    problems.extend(webhooks::check(config));
    problems.extend(tokens::check(config));
    if config.data_dir.as_os_str().is_empty() {
        problems.push(Problem::new("data_dir", "is empty; expected a path"));
    }
    // The error's text is left out: it repeats the value, and adds little to the key's comment.
    if config.log.filter.trim().is_empty() || EnvFilter::try_new(&config.log.filter).is_err() {
        problems.push(Problem::new(
            "log.filter",
            "is neither a level nor a list of module=level",
        ));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn check_listen(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut taken = HashMap::new();
    for (key, address) in config.listen.open() {
        if let Some(other) = taken.insert(address, key)
            && address.port() != 0
        {
            let why = format!("has the same address as `listen.{other}`");
            problems.push(Problem::new(format!("listen.{key}"), why));
        }
    }
    if taken.is_empty() {
        problems.push(Problem::new(
            "listen",
            "opens no door; set one of mqtt, mqtts, ws, wss, http, https",
        ));
    }
    problems
}
