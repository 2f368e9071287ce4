//! Passwords that were checked not long ago, so that a rush of reconnects pays each hash once.
//!
//! What is kept of a success is a digest of the stored hash, the user and the password, keyed with
//! random bytes of this process: of no use to whoever reads the memory but not the key, and void
//! when the configured hash changes. Failures are not kept. The memory is bounded by two
//! generations: when the young one is full it becomes the old one, and the old one is forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::OrgIndex;

/// A success by its digest.
pub(super) type Fingerprint = [u8; 32];

/// The successes of the last while.
pub(super) struct Known {
    key: [u8; 32],
    /// Half of the entries; 0 keeps none.
    generation_max: usize,
    lifetime_secs: u64,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    /// When each was checked, seconds.
    young: HashMap<Fingerprint, u64>,
    old: HashMap<Fingerprint, u64>,
}

impl Known {
    /// Keeps up to `entries_max` for `lifetime_secs` each.
    pub(super) fn new(entries_max: usize, lifetime_secs: u64, key: [u8; 32]) -> Self {
        Self {
            key,
            generation_max: entries_max / 2,
            lifetime_secs,
            generations: Mutex::default(),
        }
    }

    /// Names a check. Each part is preceded by its length, so that no two checks share a text.
    pub(super) fn fingerprint(
        &self,
        org: OrgIndex,
        username: &str,
        stored: &str,
        password: &[u8],
    ) -> Fingerprint {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes any key");
        mac.update(&(org.get() as u64).to_be_bytes());
        for part in [username.as_bytes(), stored.as_bytes(), password] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether this check has succeeded within the lifetime.
    pub(super) fn has(&self, fingerprint: &Fingerprint, now_secs: u64) -> bool {
        let mut generations = self.lock();
        let Generations { young, old } = &mut *generations;
        let checked_at = young.get(fingerprint).or_else(|| old.get(fingerprint));
        let Some(&checked_at) = checked_at else {
            return false;
        };
        if now_secs.saturating_sub(checked_at) < self.lifetime_secs {
            return true;
        }
        young.remove(fingerprint);
        old.remove(fingerprint);
        false
    }

    /// Keeps a success.
    pub(super) fn keep(&self, fingerprint: Fingerprint, now_secs: u64) {
        if self.generation_max == 0 {
            return;
        }
        let mut generations = self.lock();
        if generations.young.len() >= self.generation_max {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(fingerprint, now_secs);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let generations = self.lock();
        generations.young.len() + generations.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(known: &Known, username: &str, stored: &str, password: &str) -> Fingerprint {
        known.fingerprint(OrgIndex(0), username, stored, password.as_bytes())
    }

    #[test]
    fn a_success_is_known_for_its_lifetime() {
        let known = Known::new(10, 60, [7; 32]);
        let alice = print(&known, "alice", "$hash", "p");
        assert!(!known.has(&alice, 100));
        known.keep(alice, 100);
        assert!(known.has(&alice, 159));
        assert!(!known.has(&alice, 160));
        assert!(!known.has(&alice, 100), "what has expired is forgotten");
    }

    #[test]
    fn another_user_password_hash_organisation_or_process_is_another_success() {
        let known = Known::new(10, 60, [7; 32]);
        let alice = print(&known, "alice", "$hash", "p");
        let others = [
            print(&known, "alicf", "$hash", "p"),
            print(&known, "alice", "$hasi", "p"),
            print(&known, "alice", "$hash", "q"),
            print(&known, "alice$", "hash", "p"),
            print(&known, "alic", "e$hash", "p"),
            known.fingerprint(OrgIndex(1), "alice", "$hash", b"p"),
            print(&Known::new(10, 60, [8; 32]), "alice", "$hash", "p"),
        ];
        assert!(others.iter().all(|other| *other != alice));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let known = Known::new(10, 60, [7; 32]);
        let prints: Vec<_> = (0..100)
            .map(|n| print(&known, &n.to_string(), "h", "p"))
            .collect();
        for fingerprint in &prints {
            known.keep(*fingerprint, 0);
            assert!(known.len() <= 10);
        }
        let kept = prints[95..].iter().filter(|kept| known.has(kept, 1));
        assert_eq!(kept.count(), 5);
    }

    #[test]
    fn a_cache_of_no_entries_keeps_none() {
        let known = Known::new(0, 60, [7; 32]);
        known.keep([1; 32], 0);
        assert!(!known.has(&[1; 32], 0));
    }
}
