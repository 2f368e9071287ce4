//! Keys that verify tokens: a secret, a public key out of a PEM text, or a JWK set (RFC 7517).
//!
//! Each key knows the one algorithm that it may be used with, whatever a token says.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;
use serde_json::Value;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo as X509PublicKey;

/// Keys of one set that are kept. The keys of a token that names none are all tried, so this
/// bounds what such a token costs.
const KEYS_MAX: usize = 16;

/// RFC 7518 §3.2: a key as long as the hash.
const SECRET_BYTES_MIN: usize = 32;

/// What `ring` takes, RFC 7518 §3.3 at the least.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// One key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// How a token names it.
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// A JWK set whose keys have not been looked at.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The keys of one issuer.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    /// A secret for HS256.
    ///
    /// # Errors
    ///
    /// When it is too short to be one.
    pub(super) fn from_secret(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!("is shorter than {SECRET_BYTES_MIN} bytes"));
        }
        Ok(Self(vec![Key {
            id: None,
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(secret),
        }]))
    }

    /// A public key in a PEM text: RSA, P-256 or Ed25519.
    ///
    /// # Errors
    ///
    /// Why it is none, as the rest of a sentence.
    pub(super) fn from_pem(text: &str) -> Result<Self, String> {
        let no_key = || "is not a public key in PEM form (-----BEGIN PUBLIC KEY-----)".to_owned();
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| no_key())?;
        let info = SubjectPublicKeyInfoRef::try_from(der.as_ref()).map_err(|_| no_key())?;
        let key = info.subject_public_key.as_bytes().ok_or_else(no_key)?;
        let curve = info.algorithm.parameters_oid();
        check_size(&der)?;
        let (algorithm, decoding) = match (info.algorithm.oid, curve) {
            (RSA, _) => (Algorithm::RS256, DecodingKey::from_rsa_der(key)),
            (EC, Ok(P256)) => (Algorithm::ES256, DecodingKey::from_ec_der(key)),
            (ED25519, _) => (Algorithm::EdDSA, DecodingKey::from_ed_der(key)),
            _ => return Err("is of a kind other than RSA, P-256 and Ed25519".to_owned()),
        };
        Ok(Self(vec![Key {
            id: None,
            algorithm,
            decoding,
        }]))
    }

    /// A JWK set. Keys that cannot verify any of our algorithms are passed over, and so are those
    /// that make no sense (RFC 7517 §5): a set may hold others as well.
    ///
    /// # Errors
    ///
    /// When it is no JWK set, or has no key that can be used.
    pub(super) fn from_jwks(text: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(text)
            .map_err(|_| "is not a JWK set ({\"keys\": […]})".to_owned())?;
        let jwks = set.keys.into_iter();
        let jwks = jwks.filter_map(|jwk| serde_json::from_value::<Jwk>(jwk).ok());
        let keys: Vec<_> = jwks.filter_map(|jwk| key_of(&jwk)).take(KEYS_MAX).collect();
        if keys.is_empty() {
            return Err("has no key for RS256, ES256 or EdDSA".to_owned());
        }
        Ok(Self(keys))
    }

    /// The keys that may have signed a token of this algorithm and key id.
    pub(super) fn candidates<'k>(
        &'k self,
        algorithm: Algorithm,
        id: Option<&'k str>,
    ) -> impl Iterator<Item = &'k Key> {
        self.0.iter().filter(move |key| {
            let is_named = match (id, &key.id) {
                (Some(named), Some(own)) => named == own,
                _ => true,
            };
            is_named && key.algorithm == algorithm
        })
    }

    /// The algorithms of all keys.
    pub(super) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.0.iter().map(|key| key.algorithm)
    }
}

/// A key of RSA that is too short or too long would verify nothing, without a word.
fn check_size(der: &[u8]) -> Result<(), String> {
    let parsed = X509PublicKey::from_der(der);
    match parsed.as_ref().map(|(_, key)| key.parsed()) {
        Ok(Ok(PublicKey::RSA(key))) if !RSA_BITS.contains(&key.key_size()) => Err(format!(
            "has {} bits; keys of RSA have {} to {}",
            key.key_size(),
            RSA_BITS.start(),
            RSA_BITS.end()
        )),
        _ => Ok(()),
    }
}

/// A key of a set, if it is for one of our algorithms. Secrets do not belong into such a set.
fn key_of(jwk: &Jwk) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            // Four characters of the modulus are three bytes.
            let bits = rsa.n.len() * 6;
            (RSA_BITS.start() - 8..=RSA_BITS.end() + 8)
                .contains(&bits)
                .then_some(Algorithm::RS256)?
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    let stated = jwk.common.key_algorithm.map(Algorithm::try_from);
    if stated.is_some_and(|stated| stated.ok() != Some(algorithm)) {
        return None;
    }
    let usage = jwk.common.public_key_use.as_ref();
    let operations = jwk.common.key_operations.as_ref();
    let is_for_verifying = usage.is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    if !is_for_verifying {
        return None;
    }
    Some(Key {
        id: jwk.common.key_id.clone(),
        algorithm,
        decoding: DecodingKey::from_jwk(jwk).ok()?,
    })
}
