//! Tokens as passwords: JWT (RFC 7519) signed by an issuer whom the organisation trusts.
//!
//! An [`Issuer`] is one `[[org.jwt]]`: its keys, the algorithms they may be used with, and what a
//! token must say. A signature takes tens of microseconds, so it is verified on the event loop;
//! only a token of a key that is not here yet waits for the keys to be fetched ([`source`]).

mod claims;
mod keys;
mod provider;
mod source;

use std::str::FromStr;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use webhook::deliver::Client;

use self::claims::{Claims, Fault};
pub use self::claims::{TokenFacts, TokenTopics};
use self::keys::KeySet;
pub(crate) use self::source::KeySource;
use self::source::Place;
use crate::config::{AccountsConfig, JwtConfig};

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// Whom an organisation trusts to say who somebody is.
pub struct Issuer {
    /// What is checked of a token of each algorithm that is allowed.
    validations: Vec<(Algorithm, Validation)>,
    keys: Keys,
    user_claim: String,
    name_claim: String,
    topics_claim: String,
    topics_max: usize,
    leeway_secs: u64,
    require_expiry: bool,
}

enum Keys {
    Fixed(Arc<KeySet>),
    Source(Arc<KeySource>),
}

/// What became of a token.
pub(super) enum Verdict {
    /// It is the user's.
    Right(String, TokenFacts),
    /// No key of this issuer has signed it.
    Wrong,
    /// It names a key that this issuer does not have.
    UnknownKey,
    /// It is signed, and not valid now.
    OutOfTime,
    /// It is signed, and does not say what is asked for.
    Claims,
    /// Its key may be among those that are being fetched, the fetch after so many others.
    Awaits(Arc<KeySource>, u64),
    /// There are no keys to verify it with.
    NoKeys,
}

/// What is wrong with an issuer: the key of the configuration, and the rest of the sentence.
pub(crate) type IssuerFault = (&'static str, String);

impl Issuer {
    /// Reads one `[[org.jwt]]`, and its file of keys if it has one. `client` fetches from a URL,
    /// which does not happen yet.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub(crate) fn new(
        config: &JwtConfig,
        limits: &AccountsConfig,
        client: &Client,
    ) -> Result<Self, IssuerFault> {
        provider::install();
        let keys = keys_of(config, limits, client)?;
        let allowed = allowed(config, &keys)?;
        for (key, claim) in [
            ("user_claim", &config.user_claim),
            ("name_claim", &config.name_claim),
            ("topics_claim", &config.topics_claim),
        ] {
            if claim.is_empty() {
                return Err((key, "is empty".to_owned()));
            }
        }
        let validation = |algorithm| (algorithm, validation(config, algorithm));
        Ok(Self {
            validations: allowed.into_iter().map(validation).collect(),
            keys,
            user_claim: config.user_claim.clone(),
            name_claim: config.name_claim.clone(),
            topics_claim: config.topics_claim.clone(),
            topics_max: limits.token_topics_max,
            leeway_secs: config.leeway_secs,
            require_expiry: config.require_expiry,
        })
    }

    /// Where its keys are fetched from, if they are.
    pub(super) fn source(&self) -> Option<&Arc<KeySource>> {
        match &self.keys {
            Keys::Source(source) => Some(source),
            Keys::Fixed(_) => None,
        }
    }

    /// Judges a token at `now_secs`. `may_wait`: for keys that are not here yet.
    pub(super) fn judge(
        &self,
        token: &[u8],
        header: &Header,
        now_secs: u64,
        may_wait: bool,
    ) -> Verdict {
        let allowed = self.validations.iter().find(|(a, _)| *a == header.alg);
        let Some((algorithm, validation)) = allowed else {
            return Verdict::Wrong;
        };
        // RFC 7515 §4.1.11: extensions that must be understood, of which we know none.
        if header.crit.is_some() {
            return Verdict::Wrong;
        }
        let keys = match &self.keys {
            Keys::Fixed(keys) => Some(Arc::clone(keys)),
            Keys::Source(source) => source.current(),
        };
        let key_id = header.kid.as_deref();
        let mut is_key_unknown = true;
        for key in keys
            .iter()
            .flat_map(|keys| keys.candidates(*algorithm, key_id))
        {
            is_key_unknown = false;
            match decode::<Claims>(token, &key.decoding, validation) {
                Ok(decoded) => return self.read(&decoded.claims, now_secs),
                Err(error) if claims::fault_of(&error).is_some() => return Verdict::Claims,
                Err(_) => {}
            }
        }
        match (&self.keys, keys) {
            (Keys::Source(source), keys) if is_key_unknown => {
                match source.request(now_secs).filter(|_| may_wait) {
                    Some(fetches) => Verdict::Awaits(Arc::clone(source), fetches),
                    None if keys.is_none() => Verdict::NoKeys,
                    None => Verdict::UnknownKey,
                }
            }
            _ => Verdict::Wrong,
        }
    }

    /// Reads the claims of a token whose signature is right.
    fn read(&self, claims: &Claims, now_secs: u64) -> Verdict {
        match self.facts(claims, now_secs) {
            Ok((user, facts)) => Verdict::Right(user, facts),
            Err(Fault::OutOfTime) => Verdict::OutOfTime,
            Err(Fault::Claims) => Verdict::Claims,
        }
    }

    fn facts(&self, claims: &Claims, now_secs: u64) -> Result<(String, TokenFacts), Fault> {
        let (leeway, must_end) = (self.leeway_secs, self.require_expiry);
        let ends_at_secs = claims::check_time(claims, leeway, must_end, now_secs)?;
        let user = claims::user(claims, &self.user_claim).ok_or(Fault::Claims)?;
        let facts = TokenFacts {
            ends_at_secs,
            topics: claims::topics(claims, &self.topics_claim, self.topics_max)?,
            display_name: claims::display_name(claims, &self.name_claim),
        };
        Ok((user, facts))
    }
}

/// The header of a password that is a token: three parts of base64url, the first of which is a
/// header with an algorithm that is known. `none` is not.
pub(super) fn header_of(password: &[u8]) -> Option<Header> {
    // Every JSON object begins like this; so most passwords cost one comparison.
    password
        .starts_with(b"ey")
        .then(|| decode_header(password).ok())
        .flatten()
}

fn keys_of(
    config: &JwtConfig,
    limits: &AccountsConfig,
    client: &Client,
) -> Result<Keys, IssuerFault> {
    let fixed = |keys| Keys::Fixed(Arc::new(keys));
    let given = (
        &config.secret,
        &config.public_key,
        &config.jwks_file,
        &config.jwks_url,
    );
    match given {
        (Some(secret), None, None, None) => KeySet::from_secret(secret.expose().as_bytes())
            .map(fixed)
            .map_err(|why| ("secret", why)),
        (None, Some(pem), None, None) => KeySet::from_pem(pem)
            .map(fixed)
            .map_err(|why| ("public_key", why)),
        (None, None, Some(path), None) => {
            let place = Place::File(path.clone());
            KeySource::of_file(place, limits)
                .map(|source| Keys::Source(Arc::new(source)))
                .map_err(|why| ("jwks_file", why))
        }
        (None, None, None, Some(url)) => match client.document(url) {
            Ok(document) => {
                let source = KeySource::new(Place::Url(document), limits);
                Ok(Keys::Source(Arc::new(source)))
            }
            Err(error) => Err(("jwks_url", format!("cannot be used: {error}"))),
        },
        (None, None, None, None) => Err((
            "secret",
            "is missing; set it, `public_key`, `jwks_file` or `jwks_url`".to_owned(),
        )),
        _ => Err((
            "secret",
            "must be the only one of `secret`, `public_key`, `jwks_file` and `jwks_url`".to_owned(),
        )),
    }
}

/// The algorithms that tokens may have: those of the keys, or those that the configuration names
/// among them.
fn allowed(config: &JwtConfig, keys: &Keys) -> Result<Vec<Algorithm>, IssuerFault> {
    let possible: Vec<Algorithm> = match keys {
        Keys::Fixed(keys) => keys.algorithms().collect(),
        // A set that is fetched may hold other keys tomorrow, but never a secret.
        Keys::Source(_) => ALGORITHMS[1..].to_vec(),
    };
    if config.algorithms.is_empty() {
        return Ok(possible);
    }
    let mut named = Vec::new();
    for name in &config.algorithms {
        let known = Algorithm::from_str(name).ok();
        let Some(algorithm) = known.filter(|known| ALGORITHMS.contains(known)) else {
            return Err((
                "algorithms",
                "may hold HS256, RS256, ES256 and EdDSA".to_owned(),
            ));
        };
        if !possible.contains(&algorithm) {
            let why = format!("holds {name}, which the key is not for");
            return Err(("algorithms", why));
        }
        named.push(algorithm);
    }
    Ok(named)
}

/// What the library checks: algorithm, signature, issuer and audience. The times are checked here,
/// since the library looks at the system's clock by itself.
fn validation(config: &JwtConfig, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    if let Some(issuer) = &config.issuer {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    match &config.audience {
        Some(audience) => {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        None => validation.validate_aud = false,
    }
    validation
}
