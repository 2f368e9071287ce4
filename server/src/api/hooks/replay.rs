//! The body of a replay: which events are sent again.

use serde::Deserialize;
use uuid::Uuid;
use views::EventId;

use crate::api::time::Time;
use crate::webhooks::Replay;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    ids: Option<Vec<String>>,
    from: Option<Time>,
    to: Option<Time>,
    delivered: Option<bool>,
}

/// Reads `{"ids": […]}` or `{"from": …, "to": …, "delivered": …}`.
///
/// The error is what is wrong and where, as a sentence.
pub(in crate::api) fn read(body: &[u8]) -> Result<Replay, String> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| format!("The body of the request cannot be read: {error}."))?;
    match body {
        Body {
            ids: Some(ids),
            from: None,
            to: None,
            delivered: None,
        } => event_ids(&ids).map(Replay::Ids),
        Body {
            ids: None,
            from: Some(Time(from_ms)),
            to: Some(Time(to_ms)),
            delivered,
        } => Ok(Replay::Between {
            from_ms,
            to_ms,
            delivered: delivered.unwrap_or(false),
        }),
        _ => Err(
            "The body must have either `ids`, or `from` and `to` (and with them `delivered`)."
                .into(),
        ),
    }
}

fn event_ids(texts: &[String]) -> Result<Vec<EventId>, String> {
    let id = |(at, text): (usize, &String)| match Uuid::try_parse(text) {
        Ok(id) => Ok(EventId(id.into_bytes())),
        Err(_) => Err(format!("`ids[{at}]` is not the id of an event.")),
    };
    texts.iter().enumerate().map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_or_a_range_are_read() {
        let id = "31b418db-2808-801a-878a-637aa81f02f8";
        let Ok(Replay::Ids(ids)) = read(format!("{{\"ids\":[\"{id}\"]}}").as_bytes()) else {
            panic!("not read as ids");
        };
        assert_eq!(ids[0].to_string(), id);
        let rows = [
            (r#"{"from":1,"to":2}"#, (1, 2, false)),
            (
                r#"{"from":"1970-01-01","to":"1970-01-01T00:00:01Z","delivered":true}"#,
                (0, 1000, true),
            ),
        ];
        for (text, expected) in rows {
            let Ok(Replay::Between {
                from_ms,
                to_ms,
                delivered,
            }) = read(text.as_bytes())
            else {
                panic!("not read as a range: {text}");
            };
            assert_eq!((from_ms, to_ms, delivered), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        let rows = [
            ("", "line 1 column 0"),
            ("{", "line 1 column 1"),
            ("[]", "line 1"),
            ("{}", "either `ids`"),
            (r#"{"from":1}"#, "`from` and `to`"),
            (r#"{"ids":[],"from":1,"to":2}"#, "either `ids`"),
            (r#"{"ids":[],"delivered":true}"#, "either `ids`"),
            (r#"{"ids":["x"]}"#, "`ids[0]`"),
            (r#"{"ids":[7]}"#, "column 9"),
            (r#"{"from":1,"to":"soon"}"#, "ISO 8601"),
            (r#"{"speed":1}"#, "`speed`"),
            ("{\"ids\":[]}x", "column 11"),
        ];
        for (text, part) in rows {
            let why = read(text.as_bytes()).err().unwrap_or_default();
            assert!(why.contains(part), "{part:?} is not in: {why} ({text})");
        }
    }
}
