//! Stored passwords: argon2id hashes in PHC form (`$argon2id$v=19$m=19456,t=2,p=1$…`).
//!
//! Checking one takes milliseconds and megabytes on purpose, so it happens on a verifier's thread
//! (see [`crate::verifiers`]), and what one check may cost is bounded before the server starts.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier, Version};

/// Longest PHC text, bytes. Salt and hash have at most 64 bytes each.
const TEXT_BYTES_MAX: usize = 512;

/// Bytes of a salt that [`hash`] makes, as the PHC recommends.
const SALT_BYTES: usize = 16;

/// Lanes of one hash. They are computed one after the other here.
const LANES_MAX: u32 = 64;

/// What a hash may cost, and what it has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashBounds {
    /// Memory of one check, KiB.
    pub memory_kib_max: u32,
    /// Least work, KiB of memory times passes.
    pub work_kib_min: u64,
    /// Most work, KiB of memory times passes.
    pub work_kib_max: u64,
}

/// A stored password that can be checked within bounds. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash {
    text: Box<str>,
    parsed: PasswordHash,
}

impl StoredHash {
    /// Reads a PHC text.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence that does not repeat it.
    pub fn parse(text: &str, bounds: &HashBounds) -> Result<Self, String> {
        let no_phc = || "is not an argon2id hash in PHC form ($argon2id$v=19$m=…,t=…,p=…$…$…)";
        if text.len() > TEXT_BYTES_MAX {
            return Err(no_phc().to_owned());
        }
        let parsed = PasswordHash::new(text).map_err(|_| no_phc().to_owned())?;
        match parsed.algorithm.as_str() {
            "argon2id" => {}
            "argon2i" | "argon2d" => {
                return Err("is of another kind of argon2; only argon2id is taken".to_owned());
            }
            _ => return Err(no_phc().to_owned()),
        }
        if parsed.version != Some(Version::V0x13.into()) {
            return Err("is not of version 19 (v=19) of argon2".to_owned());
        }
        let params = Params::try_from(&parsed).map_err(|_| no_phc().to_owned())?;
        if parsed.salt.is_none() || parsed.hash.is_none() {
            return Err("has no salt or no hash at its end".to_owned());
        }
        check_cost(&params, bounds)?;
        Ok(Self {
            text: text.into(),
            parsed,
        })
    }

    /// Whether `password` is the one that was hashed. Takes as long whatever the answer.
    pub fn is_of(&self, password: &[u8]) -> bool {
        let argon2 = Argon2::default();
        argon2.verify_password(password, &self.parsed).is_ok()
    }

    /// The text that was read.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredHash(hidden)")
    }
}

fn check_cost(params: &Params, bounds: &HashBounds) -> Result<(), String> {
    let (memory_kib, passes) = (params.m_cost(), params.t_cost());
    let work_kib = u64::from(memory_kib) * u64::from(passes);
    if memory_kib > bounds.memory_kib_max {
        return Err(format!(
            "needs {memory_kib} KiB for each check, more than `accounts.hash_memory_kib_max` ({})",
            bounds.memory_kib_max
        ));
    }
    if work_kib > bounds.work_kib_max {
        return Err(format!(
            "is too costly: memory times passes is {work_kib} KiB, more than \
             `accounts.hash_work_kib_max` ({})",
            bounds.work_kib_max
        ));
    }
    if work_kib < bounds.work_kib_min {
        return Err(format!(
            "is too weak: memory times passes is {work_kib} KiB, less than \
             `accounts.hash_work_kib_min` ({}); make it anew with `whosthere hash-password`",
            bounds.work_kib_min
        ));
    }
    if params.p_cost() > LANES_MAX {
        return Err(format!("has more than {LANES_MAX} lanes (p)"));
    }
    Ok(())
}

/// The PHC text of a password: argon2id with 19 MiB and two passes, as OWASP recommends, and a
/// salt of its own.
///
/// # Errors
///
/// When the system has no random numbers, or no memory.
pub fn hash(password: &[u8]) -> Result<String, HashError> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| HashError(error.to_string()))?;
    let hashed = Argon2::default().hash_password_with_salt(password, &salt);
    let hashed = hashed.map_err(|error| HashError(error.to_string()))?;
    Ok(hashed.to_string())
}

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash the password: {0}")]
pub struct HashError(String);

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HashBounds = HashBounds {
        memory_kib_max: 65_536,
        work_kib_min: 35_840,
        work_kib_max: 1_048_576,
    };
    const SALT_AND_HASH: &str = "c29tZXNhbHQxMjM0NTY$iWh06vD8Fy27wf9npn6FXWiCX4K6pW6Ue1Bnzz07Z8A";

    #[track_caller]
    fn check_refused(parameters: &str, why: &str) {
        let text = format!("{parameters}${SALT_AND_HASH}");
        let refused = StoredHash::parse(&text, &BOUNDS).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }

    #[test]
    fn a_password_is_known_again_and_another_is_not() {
        let text = hash(b"correct horse").unwrap();
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        let stored = StoredHash::parse(&text, &BOUNDS).unwrap();
        assert!(stored.is_of(b"correct horse"));
        assert!(!stored.is_of(b"correct horse "));
        assert!(!stored.is_of(b""));
        assert_ne!(hash(b"correct horse").unwrap(), text, "each has its salt");
        assert!(!format!("{stored:?}").contains("argon2id"));
    }

    #[test]
    fn the_reference_implementation_s_hash_is_known() {
        // Made with `argon2` of the reference implementation: echo -n password | argon2 somesalt
        // -id -t 2 -m 16 -p 1 (its own test vector).
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$\
                    CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let stored = StoredHash::parse(text, &BOUNDS).unwrap();
        assert!(stored.is_of(b"password"));
        assert!(!stored.is_of(b"Password"));
    }

    #[test]
    fn a_hash_that_is_weak_costly_or_none_is_refused_with_a_reason() {
        check_refused("$argon2id$v=19$m=19456,t=1,p=1", "too weak");
        check_refused("$argon2id$v=19$m=65537,t=1,p=1", "hash_memory_kib_max");
        check_refused("$argon2id$v=19$m=65536,t=17,p=1", "too costly");
        check_refused("$argon2id$v=19$m=65536,t=2,p=65", "lanes");
        check_refused("$argon2i$v=19$m=19456,t=2,p=1", "only argon2id");
        check_refused("$argon2id$v=16$m=19456,t=2,p=1", "version 19");
        check_refused("$argon2id$m=19456,t=2,p=1", "version 19");
        check_refused("$2b$12$abc", "PHC form");
        for text in [
            "",
            "secret",
            "$argon2id$v=19$m=19456,t=2,p=1",
            &"$".repeat(600),
        ] {
            assert!(StoredHash::parse(text, &BOUNDS).is_err(), "{text}");
        }
    }
}
