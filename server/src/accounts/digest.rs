//! What is kept of a secret: its SHA-256 digest, compared in constant time.
//!
//! A plain hash is enough for keys and generated passwords, which have at least 128 random bits.
//! Configured passwords stand in plain text in the file anyway; hashing them here keeps them out
//! of memory dumps and makes every comparison 32 bytes long, whatever the password.

use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Length of a digest in bytes.
const BYTES: usize = 32;

/// SHA-256 of a secret. `==` and [`ConstantTimeEq`] take the same time wherever two differ.
#[derive(Clone)]
pub struct Digest([u8; BYTES]);

impl Digest {
    /// The digest of a secret.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// A digest that no known secret has.
    pub(super) const fn zero() -> Self {
        Self([0; BYTES])
    }

    /// Reads what [`Digest::to_hex`] has written; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 2 * BYTES || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        let digest = Self(bytes);
        // Only one way to write a digest: `from_str_radix` also takes capitals and a sign.
        (digest.to_hex() == text).then_some(digest)
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        let mut text = String::with_capacity(2 * BYTES);
        for byte in self.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl ConstantTimeEq for Digest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(hidden)")
    }
}
