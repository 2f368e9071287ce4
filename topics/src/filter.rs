//! Topic filters: what a client subscribes to.
//!
//! A [`TopicFilter`] is borrowed text that has passed the rules of MQTT 5 §4.7, with the
//! `$share/{group}/` of a shared subscription (§4.8.2) set apart. Two questions are answered
//! here for single filters: which names a filter matches, and whether two filters have a name in
//! common. [`FilterTrie`](crate::FilterTrie) answers them for many at once.

mod owned;

use thiserror::Error;

pub use self::owned::TopicFilterBuf;
use crate::levels::{Met, Prefix, Taken, covers, meet, take};
use crate::{TOPIC_BYTES_MAX, TopicName};

const SHARE_PREFIX: &str = "$share/";

/// A valid topic filter (MQTT 5 §4.7), perhaps of a shared subscription (§4.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter<'a> {
    text: &'a str,
    /// The tail of `text` that names are compared with.
    matched: &'a str,
}

impl<'a> TopicFilter<'a> {
    /// Checks `text` against the rules for topic filters (MQTT 5 §4.7, §4.8.2).
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks, as a [`TopicFilterError`].
    pub fn parse(text: &'a str) -> Result<Self, TopicFilterError> {
        if text.is_empty() {
            return Err(TopicFilterError::Empty);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicFilterError::TooLong { bytes: text.len() });
        }
        if text.contains('\0') {
            return Err(TopicFilterError::NullCharacter);
        }
        let matched = match text.strip_prefix(SHARE_PREFIX) {
            Some(shared) => filter_of_share(shared)?,
            None => text,
        };
        check_wildcards(matched)?;
        Ok(Self { text, matched })
    }

    /// The filter as the client wrote it, `$share/{group}/` included.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// The group of a shared subscription, `None` for an ordinary one (MQTT 5 §4.8.2).
    pub fn share_group(self) -> Option<&'a str> {
        let group_end = self.text.len() - self.matched.len();
        (group_end > 0).then(|| &self.text[SHARE_PREFIX.len()..group_end - 1])
    }

    /// The filter without `$share/{group}/`: the part that names are compared with.
    pub fn matched(self) -> &'a str {
        self.matched
    }

    /// The levels of [`matched`](Self::matched), at least one; a level may be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        self.matched.split('/')
    }

    /// How many [`levels`](Self::levels) there are.
    pub fn level_count(self) -> usize {
        self.levels().count()
    }

    /// Whether the filter matches `name` (MQTT 5 §4.7.1, §4.7.2).
    ///
    /// `a/#` also matches `a`, and a filter that begins with a wildcard matches no name that
    /// begins with `$`.
    pub fn matches(self, name: TopicName<'_>) -> bool {
        if name.is_dollar() && self.matched.starts_with(['+', '#']) {
            return false;
        }
        match take(self.matched, name.as_str()) {
            Taken::Differs => false,
            Taken::All => true,
            Taken::Leaves(rest) => rest.is_none(),
        }
    }

    /// Whether some topic name is matched by both filters.
    ///
    /// The same whichever filter comes first. Since no topic name is empty, `+` and `/#` do not
    /// overlap: only the empty name would suit both.
    pub fn overlaps(self, other: TopicFilter<'_>) -> bool {
        match meet(self.matched, other.matched, Prefix::Start) {
            Met::Apart => false,
            Met::Hash => true,
            Met::Ended(None, _) => true,
            Met::Ended(Some(rest), prefix) => rest == "#" && prefix.hash_takes(None),
        }
    }

    /// Whether every topic name that `other` matches is matched by this filter too.
    ///
    /// What an access rule asks: a subscription may be allowed only if all that it can bring is.
    pub fn covers(self, other: TopicFilter<'_>) -> bool {
        let hides_dollar = self.matched.starts_with(['+', '#']);
        if hides_dollar && other.matched.starts_with('$') {
            return false;
        }
        covers(self.matched, other.matched, Prefix::Start)
    }
}

/// The filter in `{group}/{filter}`, which is what follows `$share/`.
fn filter_of_share(shared: &str) -> Result<&str, TopicFilterError> {
    let (group, filter) = shared.split_once('/').ok_or(TopicFilterError::Share)?;
    if group.is_empty() || group.contains(['+', '#']) || filter.is_empty() {
        return Err(TopicFilterError::Share);
    }
    Ok(filter)
}

fn check_wildcards(matched: &str) -> Result<(), TopicFilterError> {
    let mut levels = matched.split('/').zip(1..).peekable();
    while let Some((text, level)) = levels.next() {
        match text {
            "+" => {}
            "#" if levels.peek().is_some() => return Err(TopicFilterError::HashNotLast),
            "#" => {}
            _ if text.contains(['+', '#']) => {
                return Err(TopicFilterError::WildcardInLevel { level });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Why a text is not a topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TopicFilterError {
    /// No character at all (MQTT 5 §4.7.3).
    #[error("topic filter is empty")]
    Empty,
    /// More than [`TOPIC_BYTES_MAX`] bytes, `$share/{group}/` included (MQTT 5 §4.7.3).
    #[error("topic filter has {bytes} bytes, more than {TOPIC_BYTES_MAX}")]
    TooLong {
        /// The length of the text in bytes.
        bytes: usize,
    },
    /// U+0000 somewhere in the text (MQTT 5 §4.7.3).
    #[error("topic filter contains the null character")]
    NullCharacter,
    /// A level after `#`, as in `a/#/b` (MQTT 5 §4.7.1.2).
    #[error("`#` is not the last level")]
    HashNotLast,
    /// A wildcard shares its level with other characters, as in `a+` (MQTT 5 §4.7.1.2, §4.7.1.3).
    #[error("wildcard is not alone in level {level}")]
    WildcardInLevel {
        /// Which level, counted from 1, without `$share/{group}/`.
        level: usize,
    },
    /// `$share/` with an empty group, a group with a wildcard, or no filter (MQTT 5 §4.8.2).
    #[error("shared subscription is not of the form `$share/group/filter`")]
    Share,
}

#[cfg(test)]
mod tests;
