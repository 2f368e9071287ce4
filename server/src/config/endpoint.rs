//! One webhook endpoint of an organisation as the configuration file writes it.

use serde::{Deserialize, Deserializer};
use webhook::deliver::Signing;
use webhook::level::Level;
use webhook::payload::Shape;
use webhook::signature::app_key::{AppKey, AppKeyError};
use webhook::signature::standard::{self, SecretError, StandardKeys};

use super::Secret;

/// One `[[org.webhook]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// Names it in its organisation: 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub id: String,
    /// Where events are posted to. Hidden like a secret, because its query may hold one.
    pub url: Secret,
    /// Keys of the Standard Webhooks signature, each `whsec_…`; several during a rotation.
    #[serde(default, rename = "secret", deserialize_with = "one_or_several")]
    pub secrets: Vec<Secret>,
    /// The key of the SHA1 signature; with `app_secret` or not at all.
    pub app_key: Option<String>,
    /// The secret of the SHA1 signature.
    pub app_secret: Option<Secret>,
    /// Where the SHA1 signature goes.
    #[serde(default)]
    pub sha1_in: Sha1In,
    /// How much is told.
    #[serde(default)]
    pub payload: Payload,
    /// Which events are told.
    #[serde(default)]
    pub level: EventLevel,
    /// How long an offline event may be taken back, seconds; at level `user` only.
    #[serde(default)]
    pub grace_seconds: u64,
}

/// Where the SHA1 signature goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sha1In {
    /// `App-Key`, `Nonce`, `Timestamp` and `Signature`.
    #[default]
    Headers,
    /// `appKey`, `nonce`, `timestamp` and `signature`.
    Query,
}

/// How much an endpoint is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The published fields and no other.
    #[default]
    Contract,
    /// Six more.
    Extended,
}

/// Which events an endpoint is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventLevel {
    /// Every session's beginning and end.
    #[default]
    Session,
    /// A user's first session's beginning and last one's end.
    User,
}

impl EndpointConfig {
    /// The Standard Webhooks keys; `None` without any.
    ///
    /// # Errors
    ///
    /// The place of the first secret that is none, and why.
    pub fn standard_keys(&self) -> Result<Option<StandardKeys>, (usize, SecretError)> {
        let parse = |(at, secret): (usize, &Secret)| {
            standard::Secret::parse(secret.expose()).map_err(|error| (at, error))
        };
        let keys: Vec<_> = self
            .secrets
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<_, _>>()?;
        // Without keys there is no signature to make, which is not an error here.
        Ok(StandardKeys::new(keys).ok())
    }

    /// Key and secret of the SHA1 signature; `None` unless both are there.
    ///
    /// # Errors
    ///
    /// Why they cannot be used.
    pub fn app_key(&self) -> Result<Option<AppKey>, AppKeyError> {
        let (Some(key), Some(secret)) = (&self.app_key, &self.app_secret) else {
            return Ok(None);
        };
        AppKey::new(key, secret.expose()).map(Some)
    }

    /// How requests are signed. Of a validated endpoint: at least in one way.
    #[must_use]
    pub fn signing(&self) -> Signing {
        let standard = self.standard_keys().ok().flatten();
        let app_key = self.app_key().ok().flatten();
        match self.sha1_in {
            Sha1In::Headers => Signing {
                standard,
                app_key_headers: app_key,
                app_key_query: None,
            },
            Sha1In::Query => Signing {
                standard,
                app_key_headers: None,
                app_key_query: app_key,
            },
        }
    }

    /// How much is told, in the words of the sender.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match self.payload {
            Payload::Contract => Shape::Contract,
            Payload::Extended => Shape::Extended,
        }
    }

    /// Which events are told, in the words of the sender.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.level {
            EventLevel::Session => Level::Session,
            EventLevel::User => Level::User {
                grace_ms: self.grace_seconds.saturating_mul(1000),
            },
        }
    }
}

/// Reads one text or a list of them.
fn one_or_several<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text or a list of texts")]
    enum Either {
        One(Secret),
        Several(Vec<Secret>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(secret) => vec![secret],
        Either::Several(secrets) => secrets,
    })
}
