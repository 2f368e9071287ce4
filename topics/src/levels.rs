//! Comparing sequences of levels, for filters and for the labels of the trie.
//!
//! A sequence is text with `/` between its levels: `""` is one empty level, `/` is two. No levels
//! at all is not a text but `None`. Nothing here checks validity: `#` is taken to be last.
//!
//! [`take`] compares levels of a filter with a name, [`meet`] with those of another filter. Both
//! accept the beginning of a filter and tell what is left, so the trie can go on below a node.

/// The first level, and the levels after it.
pub(crate) fn split_first(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    }
}

/// How many bytes the whole levels take that both texts begin with.
///
/// The first levels must be equal, so 0 means that the one level in common is empty.
pub(crate) fn shared_len(a: &str, b: &str) -> usize {
    let pairs = a.split('/').zip(b.split('/'));
    let shared = pairs.take_while(|(a, b)| a == b);
    let len_with_slashes = shared.map(|(level, _)| level.len() + 1).sum::<usize>();
    len_with_slashes
        .checked_sub(1)
        .expect("the first levels are equal")
}

/// What levels of a filter make of a name.
pub(crate) enum Taken<'n> {
    /// Some level differs, or the name ends too early.
    Differs,
    /// A `#` has taken the rest of the name.
    All,
    /// Every level fits, and these levels of the name are left.
    Leaves(Option<&'n str>),
}

/// Compares `levels` of a filter with a name, or with what is left of one.
///
/// The `$` rule is the caller's: here wildcards take everything.
pub(crate) fn take<'n>(levels: &str, name: &'n str) -> Taken<'n> {
    let mut rest = Some(name);
    for level in levels.split('/') {
        if level == "#" {
            return Taken::All;
        }
        let Some(text) = rest else {
            return Taken::Differs;
        };
        let (first, after) = split_first(text);
        if level != "+" && level != first {
            return Taken::Differs;
        }
        rest = after;
    }
    Taken::Leaves(rest)
}

/// What the comparison of two filters has come to.
pub(crate) enum Met<'f> {
    /// No name suits both.
    Apart,
    /// A `#` in one takes everything the other can still say.
    Hash,
    /// Every level has met its like, and these levels of the other filter are left.
    Ended(Option<&'f str>, Prefix),
}

/// Compares `levels` of a filter with the levels left of another, where `prefix` has gone before.
pub(crate) fn meet<'f>(levels: &str, other: &'f str, mut prefix: Prefix) -> Met<'f> {
    let mut rest = Some(other);
    for level in levels.split('/') {
        let split = rest.map(split_first);
        let first = split.map(|(first, _)| first);
        if level == "#" || first == Some("#") {
            let opposite = if level == "#" { first } else { Some(level) };
            return if prefix.hash_takes(opposite) {
                Met::Hash
            } else {
                Met::Apart
            };
        }
        let Some((first, after)) = split else {
            return Met::Apart;
        };
        match prefix.and(level, first) {
            Some(longer) => prefix = longer,
            None => return Met::Apart,
        }
        rest = after;
    }
    Met::Ended(rest, prefix)
}

/// Whether `levels` of a filter match all that the levels left of another match, where `prefix` has
/// gone before. The `$` rule is the caller's.
pub(crate) fn covers(levels: &str, other: &str, mut prefix: Prefix) -> bool {
    let mut rest = Some(other);
    let mut own = levels.split('/').peekable();
    while let Some(level) = own.next() {
        if level == "#" {
            return true;
        }
        let Some(text) = rest else {
            return false;
        };
        let (first, after) = split_first(text);
        if first == "#" {
            // It also takes no level at all, unless an empty name would be left; `+/#` takes one
            // or more.
            let takes_none = prefix == Prefix::Inner;
            return !takes_none && level == "+" && own.peek() == Some(&"#");
        }
        if level != "+" && level != first {
            return false;
        }
        let is_empty = prefix == Prefix::Start && first.is_empty();
        prefix = if is_empty {
            Prefix::EmptyLevel
        } else {
            Prefix::Inner
        };
        rest = after;
    }
    rest.is_none()
}

/// What the levels compared so far say about the names that suit both filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Nothing compared yet: here the `$` rule holds (MQTT 5 §4.7.2).
    Start,
    /// One level, which is empty: a name must not end here, for it would be empty (§4.7.3).
    EmptyLevel,
    /// Anything else.
    Inner,
}

impl Prefix {
    /// The prefix with one more level that suits both `a` and `b`, neither of which is `#`.
    fn and(self, a: &str, b: &str) -> Option<Self> {
        let suits = match (a, b) {
            ("+", level) | (level, "+") => self != Self::Start || !level.starts_with('$'),
            _ => a == b,
        };
        let empty = self == Self::Start && (a.is_empty() || b.is_empty());
        suits.then_some(if empty { Self::EmptyLevel } else { Self::Inner })
    }

    /// Whether `#` after this prefix has a name in common with a filter that goes on with `level`,
    /// or ends for `None`.
    pub(crate) fn hash_takes(self, level: Option<&str>) -> bool {
        match level {
            Some(level) => self != Self::Start || !level.starts_with('$'),
            None => self != Self::EmptyLevel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_levels_are_whole_and_may_be_empty() {
        assert_eq!(shared_len("a/b/c", "a/b/d"), 3);
        assert_eq!(shared_len("a/bc", "a/bd"), 1);
        assert_eq!(shared_len("a", "a/b"), 1);
        assert_eq!(shared_len("/x", "/y"), 0);
        assert_eq!(shared_len("", "/y"), 0);
        assert_eq!(shared_len("//x", "//y"), 1);
    }
}
