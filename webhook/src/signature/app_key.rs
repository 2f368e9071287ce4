//! The contract vendor's own signatures: lower-case hexadecimal `SHA1(secret + nonce + time)`.
//!
//! They tell a receiver that the sender knows the secret, not that the body is untouched; that is
//! the vendor's design. Time is in Unix milliseconds. The four values go as headers or as query
//! parameters.

use data_encoding::HEXLOWER;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::{VerifyError, within};

/// The headers, in the order of [`AppKey::values`].
pub const HEADERS: [&str; 4] = ["app-key", "nonce", "timestamp", "signature"];
/// The query parameters, in the order of [`AppKey::values`].
pub const PARAMETERS: [&str; 4] = ["appKey", "nonce", "timestamp", "signature"];

/// One app's key and secret.
#[derive(Clone)]
pub struct AppKey {
    key: String,
    secret: String,
}

impl AppKey {
    /// Signs as the app `key` with `secret`.
    ///
    /// # Errors
    ///
    /// If either is empty, or the key could not be sent in a header.
    pub fn new(key: &str, secret: &str) -> Result<Self, AppKeyError> {
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AppKeyError::Key);
        }
        if secret.is_empty() {
            return Err(AppKeyError::Secret);
        }
        Ok(Self {
            key: key.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// The signature alone: 40 hexadecimal digits.
    #[must_use]
    pub fn sign(&self, nonce: &str, timestamp_ms: &str) -> String {
        HEXLOWER.encode(&self.digest(nonce, timestamp_ms))
    }

    /// Key, nonce, time and signature, as they stand in the headers [`HEADERS`].
    #[must_use]
    pub fn values(&self, nonce: &str, timestamp_ms: &str) -> [String; 4] {
        let signature = self.sign(nonce, timestamp_ms);
        [
            self.key.clone(),
            nonce.to_owned(),
            timestamp_ms.to_owned(),
            signature,
        ]
    }

    /// Adds the signature to a path with or without a query; what is there stays as it is.
    /// `nonce` and `timestamp_ms` must be letters and digits.
    #[must_use]
    pub fn sign_path(&self, path_and_query: &str, nonce: &str, timestamp_ms: &str) -> String {
        let joint = match path_and_query.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        let key = utf8_percent_encode(&self.key, NON_ALPHANUMERIC);
        let signature = self.sign(nonce, timestamp_ms);
        format!(
            "{path_and_query}{joint}appKey={key}&nonce={nonce}&timestamp={timestamp_ms}\
             &signature={signature}"
        )
    }

    /// Whether these values were made with this key and secret, at most `tolerance_ms` from
    /// `now_ms`. Compares in constant time.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn verify(
        &self,
        signed: &AppKeyValues<'_>,
        now_ms: u64,
        tolerance_ms: u64,
    ) -> Result<(), VerifyError> {
        let timestamp = signed
            .timestamp
            .parse()
            .map_err(|_| VerifyError::Timestamp)?;
        within(timestamp, now_ms, tolerance_ms)?;
        let expected = self.sign(signed.nonce, signed.timestamp);
        let genuine = expected.as_bytes().ct_eq(signed.signature.as_bytes());
        if signed.app_key == self.key && bool::from(genuine) {
            Ok(())
        } else {
            Err(VerifyError::Signature)
        }
    }

    fn digest(&self, nonce: &str, timestamp_ms: &str) -> [u8; 20] {
        let mut hash = Sha1::new();
        for part in [&self.secret, nonce, timestamp_ms] {
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }
}

impl std::fmt::Debug for AppKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppKey")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The four values of a signed request, from its headers or its query, percent-decoded.
#[derive(Clone, Copy, Debug)]
pub struct AppKeyValues<'a> {
    /// Which app.
    pub app_key: &'a str,
    /// Letters and digits that the sender chose.
    pub nonce: &'a str,
    /// Unix milliseconds.
    pub timestamp: &'a str,
    /// 40 hexadecimal digits.
    pub signature: &'a str,
}

/// Why a key or secret cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AppKeyError {
    /// The key is empty or has other characters than printable ASCII without the space.
    #[error("app key is empty or not printable ASCII")]
    Key,
    /// The secret is empty.
    #[error("app secret is empty")]
    Secret,
}

#[cfg(test)]
mod tests;
