//! Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`.
//!
//! During a rotation an endpoint has several secrets; every request then carries one signature of
//! each, so that a receiver may change over at any moment. A key is prepared once; signing an
//! event copies that state instead of hashing the secret again.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use super::{VerifyError, within};

/// The header with the event's id.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the time of signing, in Unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// One secret, ready to sign with.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl Secret {
    /// Reads `whsec_` and base64 of [`SECRET_BYTES_MIN`] to [`SECRET_BYTES_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks; the error does not hold the secret.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let bytes = BASE64
            .decode(encoded.as_bytes())
            .map_err(|_| SecretError::Base64)?;
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(SecretError::Length { bytes: bytes.len() });
        }
        let key = Hmac::new_from_slice(&bytes).expect("HMAC takes a key of any length");
        Ok(Self(key))
    }

    /// The text of a secret made of `bytes`, which should be random.
    #[must_use]
    pub fn encode(bytes: &[u8; 32]) -> String {
        format!("{PREFIX}{}", BASE64.encode(bytes))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The secrets of one endpoint, one or, during a rotation, more.
#[derive(Clone, Debug)]
pub struct StandardKeys(Vec<Secret>);

impl StandardKeys {
    /// Signs with all of `secrets`.
    ///
    /// # Errors
    ///
    /// [`SecretError::None`] if there is none: a request without a signature must not look signed.
    pub fn new(secrets: Vec<Secret>) -> Result<Self, SecretError> {
        if secrets.is_empty() {
            return Err(SecretError::None);
        }
        Ok(Self(secrets))
    }

    /// The value of [`SIGNATURE_HEADER`]: `v1,` and base64 for each secret. `timestamp` is the
    /// value of [`TIMESTAMP_HEADER`].
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut header = String::with_capacity(self.0.len() * SIGNATURE_CHARS);
        for secret in &self.0 {
            if !header.is_empty() {
                header.push(' ');
            }
            header.push_str(VERSION);
            let digest = secret.mac(id, timestamp, body).finalize().into_bytes();
            BASE64.encode_append(&digest, &mut header);
        }
        header
    }

    /// Whether the request with these three headers and this body was signed with one of the
    /// secrets, at most `tolerance_secs` from `now_secs` (the specification suggests 300).
    /// Compares in constant time.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn verify(
        &self,
        signed: &StandardHeaders<'_>,
        body: &[u8],
        now_secs: u64,
        tolerance_secs: u64,
    ) -> Result<(), VerifyError> {
        let timestamp = signed
            .timestamp
            .parse()
            .map_err(|_| VerifyError::Timestamp)?;
        within(timestamp, now_secs, tolerance_secs)?;
        let known = signed
            .signature
            .split(' ')
            .filter_map(|one| one.strip_prefix(VERSION));
        let genuine = known.take(SIGNATURES_MAX).any(|encoded| {
            let Ok(digest) = BASE64.decode(encoded.as_bytes()) else {
                return false;
            };
            let mac = |secret: &Secret| secret.mac(signed.id, signed.timestamp, body);
            self.0
                .iter()
                .any(|secret| mac(secret).verify_slice(&digest).is_ok())
        });
        if genuine {
            Ok(())
        } else {
            Err(VerifyError::Signature)
        }
    }
}

/// The three headers of a signed request.
#[derive(Clone, Copy, Debug)]
pub struct StandardHeaders<'a> {
    /// [`ID_HEADER`]
    pub id: &'a str,
    /// [`TIMESTAMP_HEADER`]
    pub timestamp: &'a str,
    /// [`SIGNATURE_HEADER`]
    pub signature: &'a str,
}

/// Why a text is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SecretError {
    /// It does not begin with `whsec_`.
    #[error("secret does not begin with whsec_")]
    Prefix,
    /// What follows is not base64 of the standard alphabet, with padding.
    #[error("secret is not base64 after whsec_")]
    Base64,
    /// Too short to be safe, or longer than the specification allows.
    #[error("secret has {bytes} bytes, not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
    Length {
        /// How many bytes it has.
        bytes: usize,
    },
    /// There is no secret at all.
    #[error("no secret to sign with")]
    None,
}

/// The shortest secret that the specification allows.
pub const SECRET_BYTES_MIN: usize = 24;
/// The longest secret that the specification allows.
pub const SECRET_BYTES_MAX: usize = 64;

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
/// `v1,`, 44 characters of base64 and the space before the next.
const SIGNATURE_CHARS: usize = 48;
/// Bounds the work that a request with a very long header can ask for.
const SIGNATURES_MAX: usize = 16;

#[cfg(test)]
mod tests;
