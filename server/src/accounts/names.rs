//! Names for people that tokens have brought.
//!
//! The last token of a user says what the user is called. Names are kept in memory only, as many
//! as the setting says: at the limit the half that was not named for longest is forgotten.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use compact_str::CompactString;

use super::OrgIndex;

type Generation = HashMap<(OrgIndex, CompactString), Arc<str>>;

/// Names by organisation and user.
#[derive(Default)]
pub(super) struct Names {
    generation_max: usize,
    generations: RwLock<(Generation, Generation)>,
}

impl Names {
    pub(super) fn new(names_max: usize) -> Self {
        Self {
            generation_max: names_max / 2,
            generations: RwLock::default(),
        }
    }

    pub(super) fn set(&self, org: OrgIndex, username: &str, name: &str) {
        if self.generation_max == 0 {
            return;
        }
        let mut generations = self
            .generations
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let (young, old) = &mut *generations;
        if young.len() >= self.generation_max {
            *old = std::mem::take(young);
        }
        young.insert((org, username.into()), name.into());
    }

    pub(super) fn get(&self, org: OrgIndex, username: &str) -> Option<Arc<str>> {
        let generations = self
            .generations
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let (young, old) = &*generations;
        if young.is_empty() {
            return None;
        }
        let key = (org, CompactString::new(username));
        young.get(&key).or_else(|| old.get(&key)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_counts_and_memory_is_bounded() {
        let names = Names::new(4);
        let org = OrgIndex(0);
        names.set(org, "alice", "Alice");
        names.set(org, "alice", "Alice Martin");
        assert_eq!(names.get(org, "alice").as_deref(), Some("Alice Martin"));
        assert_eq!(names.get(OrgIndex(1), "alice"), None);
        for other in 0..100 {
            names.set(org, &other.to_string(), "x");
            let generations = names.generations.read().unwrap();
            assert!(generations.0.len() + generations.1.len() <= 4);
        }
        assert_eq!(names.get(org, "alice"), None);
        assert_eq!(names.get(org, "99").as_deref(), Some("x"));
    }
}
