//! Topic names: what a client publishes to.
//!
//! A [`TopicName`] is borrowed text that has passed the rules of MQTT 5 §4.7; it never holds a
//! wildcard. Whether a client may use the name is not decided here.

use thiserror::Error;

use crate::TOPIC_BYTES_MAX;

/// A valid topic name (MQTT 5 §4.7): 1 to [`TOPIC_BYTES_MAX`] bytes, no wildcard, no U+0000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks `text` against the rules for topic names (MQTT 5 §3.3.2.1, §4.7.3).
    ///
    /// # Errors
    ///
    /// The first rule that `text` breaks, as a [`TopicNameError`].
    pub fn parse(text: &'a str) -> Result<Self, TopicNameError> {
        if text.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicNameError::TooLong { bytes: text.len() });
        }
        if text.contains('\0') {
            return Err(TopicNameError::NullCharacter);
        }
        if text.contains(['+', '#']) {
            return Err(TopicNameError::Wildcard);
        }
        Ok(Self(text))
    }

    /// The name as the client wrote it.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the slashes, at least one; a level may be empty (MQTT 5 §4.7.1.1).
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/')
    }

    /// Whether the name begins with `$`, which hides it from filters that begin with a wildcard
    /// (MQTT 5 §4.7.2).
    pub fn is_dollar(self) -> bool {
        self.0.starts_with('$')
    }
}

/// Why a text is not a topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TopicNameError {
    /// No character at all (MQTT 5 §4.7.3).
    #[error("topic name is empty")]
    Empty,
    /// More than [`TOPIC_BYTES_MAX`] bytes (MQTT 5 §4.7.3).
    #[error("topic name has {bytes} bytes, more than {TOPIC_BYTES_MAX}")]
    TooLong {
        /// The length of the text in bytes.
        bytes: usize,
    },
    /// U+0000 somewhere in the text (MQTT 5 §4.7.3).
    #[error("topic name contains the null character")]
    NullCharacter,
    /// `+` or `#` somewhere in the text (MQTT 5 §3.3.2.1).
    #[error("topic name contains a wildcard")]
    Wildcard,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_parse(text: &str, expected: Result<(), TopicNameError>) {
        assert_eq!(TopicName::parse(text).map(|_| ()), expected, "{text:?}");
    }

    #[test]
    fn names_are_checked_against_each_rule() {
        check_parse("a", Ok(()));
        check_parse("/", Ok(()));
        check_parse("a b/ü/$c", Ok(()));
        check_parse("", Err(TopicNameError::Empty));
        check_parse("a\0b", Err(TopicNameError::NullCharacter));
        check_parse("a/+/b", Err(TopicNameError::Wildcard));
        check_parse("a#", Err(TopicNameError::Wildcard));
    }

    #[test]
    fn the_longest_name_has_65535_bytes() {
        check_parse(&"x".repeat(TOPIC_BYTES_MAX), Ok(()));
        let bytes = TOPIC_BYTES_MAX + 1;
        check_parse(&"x".repeat(bytes), Err(TopicNameError::TooLong { bytes }));
    }

    #[test]
    fn empty_levels_count() {
        let levels = |text| TopicName::parse(text).unwrap().levels().collect::<Vec<_>>();
        assert_eq!(levels("a"), ["a"]);
        assert_eq!(levels("/"), ["", ""]);
        assert_eq!(levels("/a//b/"), ["", "a", "", "b", ""]);
    }

    #[test]
    fn only_the_first_character_makes_a_dollar_name() {
        let is_dollar = |text| TopicName::parse(text).unwrap().is_dollar();
        assert!(is_dollar("$SYS/uptime"));
        assert!(is_dollar("$"));
        assert!(!is_dollar("a/$SYS"));
        assert!(!is_dollar("/$SYS"));
    }
}
