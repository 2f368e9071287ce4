//! The presence list, read row by row while it arrives.
//!
//! Only client ids are kept, and those only until the caller has seen them: the list of a
//! million sessions must not be collected here, in the process whose memory is watched.

use std::fmt;
use std::io::{BufReader, Read};

use anyhow::{Context, Result};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
struct Row {
    client_id: String,
}

/// Reads a whole list from `body`, calls `each` with every client id, and answers how many there
/// were. A list that is cut off or is no JSON is an error.
pub(super) fn read(body: impl Read, mut each: impl FnMut(&str)) -> Result<usize> {
    let mut count = 0;
    let mut counted = |client_id: &str| {
        count += 1;
        each(client_id);
    };
    let body = BufReader::with_capacity(BUFFER_BYTES, body);
    let mut json = serde_json::Deserializer::from_reader(body);
    List(&mut counted)
        .deserialize(&mut json)
        .context("the presence list")?;
    json.end().context("after the presence list")?;
    Ok(count)
}

/// The whole answer: an object whose `users` are the rows.
struct List<'a>(&'a mut dyn FnMut(&str));

/// The array of the rows.
struct Users<'a>(&'a mut dyn FnMut(&str));

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a presence list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "users" {
                map.next_value_seed(Users(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Users<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Users<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rows of a presence list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element::<Row>()? {
            (self.0)(&row.client_id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_seen_wherever_the_counts_stand() {
        let text =
            r#"{"users":[{"username":"a","client_id":"x"},{"client_id":"y"}],"online_count":2}"#;
        let mut seen = Vec::new();
        let count = read(text.as_bytes(), |id| seen.push(id.to_owned())).unwrap();
        assert_eq!((count, seen), (2, vec!["x".to_owned(), "y".to_owned()]));
    }

    #[test]
    fn a_list_cut_off_is_an_error() {
        assert!(read(&br#"{"users":[{"client_id":"x"}"#[..], |_| {}).is_err());
    }
}
