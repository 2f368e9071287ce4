//! Rules on webhooks: their limits together, and each endpoint. Secrets and URLs are not repeated
//! in messages; an endpoint is named by its id.

use std::collections::HashSet;

use webhook::deliver::{Client, ClientSettings, Signing, UrlError};
use webhook::schedule::ScheduleError;

use super::Problem;
use super::orgs::{fault_of_id, shortened};
use crate::config::{Config, EndpointConfig, EventLevel, OrgConfig, WebhookConfig};

/// A day: a client that was away for longer is not coming back at once.
const GRACE_SECS_MAX: u64 = 86_400;
const REFUSED_TRIES_MAX: usize = 20;
const REFUSED_SECS_MAX: u64 = 86_400;
/// So many secrets of one endpoint are verified by receivers that follow the specification.
const SECRETS_MAX: usize = 8;

/// Every problem with webhooks, apart from single numbers out of range.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = check_limits(&config.webhook);
    for org in &config.orgs {
        let mut ids = HashSet::new();
        for endpoint in &org.webhooks {
            problems.extend(check_id(endpoint, org, &mut ids));
            problems.extend(check_endpoint(endpoint, org));
        }
    }
    problems
}

fn check_limits(limits: &WebhookConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |key: &str, why: &str| {
        problems.push(Problem::new(format!("webhook.{key}"), why));
    };
    if limits.refused_secs.len() > REFUSED_TRIES_MAX {
        report("refused_secs", "has more than 20 entries");
    }
    if limits.refused_secs.last() > Some(&REFUSED_SECS_MAX) {
        report("refused_secs", "ends after more than 86400 seconds");
    }
    if let Some(why) = fault_of_authorities(limits) {
        report("authorities_file", &why);
    }
    match limits.schedule().validate() {
        // A pause of 0 is below its range, which is said there.
        Ok(()) | Err(ScheduleError::NoPause) => {}
        Err(ScheduleError::PauseBounds) => report(
            "pause_secs_min",
            "is longer than `webhook.pause_secs_max` or `webhook.retry_after_secs_max`",
        ),
        Err(ScheduleError::RefusedTries) => report("refused_secs", "must begin with 0 and ascend"),
    }
    problems
}

/// Reads the file of authorities as the sender will.
fn fault_of_authorities(limits: &WebhookConfig) -> Option<String> {
    let pem = match limits.authorities_pem() {
        Ok(pem) => pem,
        Err(error) => return Some(format!("cannot be read: {error}")),
    };
    let client = Client::new(ClientSettings::default(), Default::default(), &pem);
    if let Err(error) = client {
        return Some(format!("cannot be used: {error}"));
    }
    let is_set = !limits.authorities_file.as_os_str().is_empty();
    let holds_some = pem.windows(10).any(|bytes| bytes == b"-----BEGIN");
    (is_set && !holds_some).then(|| "holds no certificate in PEM form".to_owned())
}

fn check_id<'a>(
    endpoint: &'a EndpointConfig,
    org: &OrgConfig,
    ids: &mut HashSet<&'a str>,
) -> Option<Problem> {
    let why = match fault_of_id(&endpoint.id) {
        Some(why) => why,
        None if ids.insert(&endpoint.id) => return None,
        None => "is given twice",
    };
    Some(Problem::new(
        "org.webhook.id",
        format!(
            "{:?} {why} in organisation {:?}",
            shortened(&endpoint.id),
            org.id
        ),
    ))
}

fn check_endpoint(endpoint: &EndpointConfig, org: &OrgConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |key: String, why: String| {
        let place = format!(
            "of webhook {:?} of organisation {:?}",
            shortened(&endpoint.id),
            org.id
        );
        problems.push(Problem::new(
            format!("org.webhook.{key}"),
            format!("{place} {why}"),
        ));
    };
    if let Err(error) = check_url(endpoint.url.expose()) {
        report("url".into(), format!("cannot be used: {error}"));
    }
    if let Err((at, error)) = endpoint.standard_keys() {
        report(format!("secret[{at}]"), format!("cannot be used: {error}"));
    }
    if endpoint.secrets.len() > SECRETS_MAX {
        report("secret".into(), "has more than 8 entries".into());
    }
    match (&endpoint.app_key, &endpoint.app_secret) {
        (Some(_), None) => report("app_key".into(), "needs `app_secret` beside it".into()),
        (None, Some(_)) => report("app_secret".into(), "needs `app_key` beside it".into()),
        (None, None) if endpoint.secrets.is_empty() => report(
            "secret".into(),
            "is missing: without it or `app_key` nobody could tell our requests from others".into(),
        ),
        _ => {}
    }
    if let Err(error) = endpoint.app_key() {
        report("app_key".into(), format!("cannot be used: {error}"));
    }
    if endpoint.grace_seconds > 0 && endpoint.level != EventLevel::User {
        report(
            "grace_seconds".into(),
            "has a meaning only with `level = \"user\"`".into(),
        );
    }
    if endpoint.grace_seconds > GRACE_SECS_MAX {
        let secs = endpoint.grace_seconds;
        report(
            "grace_seconds".into(),
            format!("is {secs}; expected 0 to 86400"),
        );
    }
    problems
}

/// Reads the URL as the sender will.
fn check_url(url: &str) -> Result<(), UrlError> {
    let client = Client::new(ClientSettings::default(), Default::default(), &[]);
    match client {
        Ok(client) => client.endpoint(url, Signing::default()).map(drop),
        // It is about authorities, of which none are given.
        Err(_) => Ok(()),
    }
}
