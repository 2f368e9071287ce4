//! Reads a configuration file and says where in it something is wrong.
//!
//! Values are never repeated in messages: the line that is wrong may hold a password or a key,
//! and messages end up in logs.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Config, ConfigError, DEFAULT_FILE};

/// Largest configuration file in bytes; well above thousands of organisations.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The text of the file at `path`.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let sentence =
        |why: &dyn std::fmt::Display| format!("{}: cannot read this file: {why}.", path.display());
    let file = File::open(path).map_err(|error| sentence(&error))?;
    let mut text = String::new();
    let limited = &mut file.take(FILE_BYTES_MAX + 1);
    limited
        .read_to_string(&mut text)
        .map_err(|error| sentence(&error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(sentence(&"it is larger than 64 MiB").into());
    }
    Ok(text)
}

/// Parses `text` into a table that is known to hold a [`Config`].
///
/// The typed reading happens here and not only after the environment is laid over it, because
/// only here an error still knows its line.
pub(super) fn parse(text: &str, name: &str) -> Result<toml::Table, ConfigError> {
    let describe = |error: toml::de::Error| ConfigError::from(describe(&error, text, name));
    toml::from_str::<Config>(text).map_err(describe)?;
    toml::from_str::<toml::Table>(text).map_err(describe)
}

/// One sentence: file, line, key, and what is wrong with it.
fn describe(error: &toml::de::Error, text: &str, name: &str) -> String {
    let message = without_value(error.message());
    let Some(span) = error.span() else {
        return format!("{name}: {message}.");
    };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    match key_on_line(text, line, &message) {
        Some(key) => format!("{name}, line {line}, `{key}`: {message}."),
        None => format!("{name}, line {line}: {message}."),
    }
}

/// Cuts the offending value out of a message of serde, which quotes it.
pub(super) fn without_value(message: &str) -> String {
    let message = message.trim_end().replace('\n', "; ");
    if !message.starts_with("invalid type: ") && !message.starts_with("invalid value: ") {
        return message;
    }
    // The expectation is ours and comes last; the value before it may contain anything.
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return "the value has the wrong type".to_owned();
    };
    let kind = found.split(['"', '`']).next().unwrap_or(found).trim_end();
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on, not too large",
        other => other,
    };
    format!("{kind}, expected {expected}")
}

/// The dotted key set on a line, by the nearest table header above it. None if that may be something
/// else: where quotes are missing, or inside a text of several lines, a secret can stand before a `=`.
fn key_on_line(text: &str, line: usize, message: &str) -> Option<String> {
    let mut lines = text.lines().take(line).collect::<Vec<_>>();
    let key = lines.pop()?.split_once('=')?.0.trim();
    if !is_bare(key) || !(is_documented(key) || message.contains(&format!("`{key}`"))) {
        return None;
    }
    let header = lines.iter().rev().find_map(|line| {
        let inner = line.trim().strip_prefix('[')?.trim_start_matches('[');
        let header = inner.split(']').next()?.trim();
        header.split('.').all(is_bare).then_some(header)
    });
    Some(header.map_or_else(|| key.to_owned(), |header| format!("{header}.{key}")))
}

/// Whether a text may be a key without quotes.
fn is_bare(text: &str) -> bool {
    let is_of_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.bytes().all(is_of_key)
}

/// Whether the default file sets a key of this name, or shows how to.
fn is_documented(key: &str) -> bool {
    let setting = format!("{key} =");
    DEFAULT_FILE.match_indices(&setting).any(|(at, _)| {
        let before = DEFAULT_FILE[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_')
    })
}
