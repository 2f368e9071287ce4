//! Percent-encoded text in addresses, read without losing or guessing anything.
//!
//! Strict where libraries are lenient: an escape that is none, bytes that are not UTF-8 and NUL
//! are errors, since each of them would silently ask about somebody else. `+` is `+`: in a topic
//! filter it is the wildcard, and a path has no form encoding.

use axum::http::Uri;
use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// Decodes `raw`.
///
/// The error is what is wrong, as a sentence.
pub(super) fn decode(raw: &str) -> Result<String, &'static str> {
    if has_broken_escape(raw.as_bytes()) {
        return Err("A % must be followed by two hexadecimal digits; a % itself is %25.");
    }
    let text = percent_decode_str(raw).decode_utf8();
    let text = text.map_err(|_| "The percent-encoded bytes are not UTF-8.")?;
    Ok(text.into_owned())
}

/// Decodes a user name.
///
/// The error is what is wrong, as a sentence.
fn decode_username(raw: &str) -> Result<String, &'static str> {
    let name = decode(raw)?;
    if name.contains('\0') {
        return Err("No user name contains the null character.");
    }
    Ok(name)
}

/// The user name in a path, between what comes before it, a slash, and what comes after it.
///
/// Taken from the raw path: a router that decodes it first cannot tell `%2F` in a name from a
/// slash between two.
pub(super) fn username_between(uri: &Uri, before: &str, after: &str) -> Result<String, Problem> {
    let raw = uri
        .path()
        .strip_prefix(before)
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|rest| rest.strip_suffix(after))
        .filter(|raw| !raw.is_empty());
    decode_username(raw.ok_or(Problem::NotFound)?).map_err(Problem::BadName)
}

fn has_broken_escape(bytes: &[u8]) -> bool {
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut escapes = bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'%');
    escapes.any(|(at, _)| !is_hex(at + 1) || !is_hex(at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_exactly_once() {
        let table = [
            ("alice", "alice"),
            ("a%2Fb%2fc", "a/b/c"),
            ("100%25", "100%"),
            ("%252F", "%2F"),
            ("ann%40home", "ann@home"),
            ("ann@home", "ann@home"),
            ("%C3%BC", "ü"),
            ("%F0%9F%A6%80", "🦀"),
            ("a+b%20c", "a+b c"),
            ("..", ".."),
        ];
        for (raw, name) in table {
            assert_eq!(decode_username(raw).as_deref(), Ok(name), "{raw}");
        }
    }

    #[test]
    fn impossible_names_are_errors() {
        for raw in [
            "%",
            "%2",
            "%G0",
            "a%2",
            "%%41",
            "%FF",
            "%C3",
            "%ED%A0%80",
            "a%00",
        ] {
            assert!(decode_username(raw).is_err(), "{raw}");
        }
    }
}
