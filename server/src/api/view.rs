//! Presence as JSON: the only place that knows the field names of the API.
//!
//! Rows are written straight from the index's own data, without a copy of a session. An answer
//! that fits into one buffer has its counts before the rows, in the order of the published
//! examples; a longer one has them after the rows, because they are not known earlier.

use std::net::{IpAddr, SocketAddr};

use chrono::{DateTime, SecondsFormat};
use presence::{Protocol, SessionView};
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

/// Counts of the rows written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Totals {
    /// Rows, each a session.
    pub(super) sessions: usize,
    /// Distinct users among them.
    pub(super) users: usize,
    /// `None`: not asked for pages. `Some(None)`: this is the last page.
    pub(super) next_cursor: Option<Option<String>>,
}

/// Which of the two answers is written.
#[derive(Debug)]
pub(super) enum Answer {
    /// Everybody, or those subscribed to something.
    Users,
    /// One user.
    User {
        /// The name that was asked for.
        username: String,
        /// Its name for people.
        display_name: Option<String>,
        /// What happened to it before.
        record: Record,
    },
}

/// What is known of a user from its events. It follows the sessions within moments.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Logged out, and not connected since.
    pub(super) push_suspended: bool,
    /// When its last event happened; `None` if there was none.
    pub(super) last_seen: Option<String>,
}

impl Answer {
    /// The whole of a short answer.
    pub(super) fn whole(&self, rows: &[u8], totals: &Totals) -> Vec<u8> {
        let mut json = self.begin();
        self.counts(&mut json, totals);
        self.open_rows(&mut json);
        json.extend_from_slice(rows);
        json.push(b']');
        next_cursor(&mut json, totals);
        json.push(b'}');
        json
    }

    /// What comes before the rows of a long answer.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut json = self.begin();
        self.open_rows(&mut json);
        json
    }

    /// What comes after the rows of a long answer.
    pub(super) fn tail(&self, totals: &Totals) -> Vec<u8> {
        let mut json = vec![b']'];
        self.counts(&mut json, totals);
        next_cursor(&mut json, totals);
        json.push(b'}');
        json
    }

    /// Adds one row, with a comma before all but the first. `display_name` is the user's.
    pub(super) fn row(
        &self,
        rows: &mut Vec<u8>,
        is_first: bool,
        view: &SessionView<'_>,
        display_name: Option<&str>,
    ) {
        if !is_first {
            rows.push(b',');
        }
        match self {
            Self::Users => write(rows, &UsersRow::new(view, display_name)),
            Self::User { .. } => write(rows, &UserRow::new(view)),
        }
    }

    fn begin(&self) -> Vec<u8> {
        let mut json = vec![b'{'];
        if let Self::User {
            username,
            display_name,
            ..
        } = self
        {
            field(&mut json, "username", username);
            field(&mut json, "display_name", display_name);
        }
        json
    }

    fn counts(&self, json: &mut Vec<u8>, totals: &Totals) {
        match self {
            Self::Users => field(json, "online_count", &totals.users),
            Self::User { .. } => field(json, "is_online", &(totals.sessions > 0)),
        }
        field(json, "session_count", &totals.sessions);
        if let Self::User { record, .. } = self {
            field(json, "push_suspended", &record.push_suspended);
            if totals.sessions == 0 {
                field(json, "last_seen", &record.last_seen);
            }
        }
    }

    fn open_rows(&self, json: &mut Vec<u8>) {
        let name = match self {
            Self::Users => "users",
            Self::User { .. } => "sessions",
        };
        name_field(json, name);
        json.push(b'[');
    }
}

/// A row of the list.
#[derive(Serialize)]
struct UsersRow<'a> {
    username: &'a str,
    display_name: Option<&'a str>,
    client_id: &'a str,
    peer_host: Option<IpAddr>,
    connected_since: Option<String>,
    subscribed_topics: Topics<'a>,
}

impl<'a> UsersRow<'a> {
    fn new(view: &'a SessionView<'_>, display_name: Option<&'a str>) -> Self {
        Self {
            username: view.username,
            display_name,
            client_id: view.client_id(),
            peer_host: view.peer().map(host),
            connected_since: timestamp(view.connected_at_ms()),
            subscribed_topics: Topics(view),
        }
    }
}

/// A session of one user.
#[derive(Serialize)]
struct UserRow<'a> {
    client_id: &'a str,
    peer_host: Option<IpAddr>,
    peer_port: Option<u16>,
    connected_since: Option<String>,
    protocol: &'static str,
    subscribed_topics: Topics<'a>,
}

impl<'a> UserRow<'a> {
    fn new(view: &'a SessionView<'_>) -> Self {
        Self {
            client_id: view.client_id(),
            peer_host: view.peer().map(host),
            peer_port: view.peer().map(|peer| peer.port()),
            connected_since: timestamp(view.connected_at_ms()),
            protocol: protocol(view.protocol()),
            subscribed_topics: Topics(view),
        }
    }
}

/// The subscriptions of a session, written one by one as they are visited.
struct Topics<'a>(&'a SessionView<'a>);

impl Serialize for Topics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut topics = serializer.serialize_seq(None)?;
        let mut result = Ok(());
        self.0.for_each_topic(|topic| {
            if result.is_ok() {
                result = topics.serialize_element(topic);
            }
        });
        result?;
        topics.end()
    }
}

/// An address without port or brackets; IPv4 as IPv4 also where it came in through IPv6.
pub(super) fn host(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
}

/// Like `2026-03-27T10:00:00Z`. `None` only for times no calendar has.
pub(super) fn timestamp(unix_ms: u64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(i64::try_from(unix_ms).ok()?)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::V31 => "3",
        Protocol::V311 => "4",
        Protocol::V5 => "5",
    }
}

fn next_cursor(json: &mut Vec<u8>, totals: &Totals) {
    if let Some(next_cursor) = &totals.next_cursor {
        field(json, "next_cursor", next_cursor);
    }
}

fn field(json: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    name_field(json, name);
    write(json, value);
}

/// Writes `"name":`, with a comma unless it is the first of its object.
fn name_field(json: &mut Vec<u8>, name: &str) {
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
    write(json, name);
    json.push(b':');
}

/// A value as JSON.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::new();
    write(&mut json, value);
    json
}

fn write<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    let mut serializer = serde_json::Serializer::new(json);
    let result = value.serialize(&mut serializer);
    debug_assert!(
        result.is_ok(),
        "texts, numbers and lists in memory always have a JSON form"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_whole_seconds() {
        assert_eq!(
            timestamp(1_774_605_600_999).as_deref(),
            Some("2026-03-27T10:00:00Z")
        );
        assert_eq!(timestamp(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(timestamp(u64::MAX), None);
    }

    #[test]
    fn hosts_have_no_brackets_and_mapped_ipv4_is_ipv4() {
        let table = [
            ("203.0.113.42:1", "203.0.113.42"),
            ("[2001:db8::1]:1", "2001:db8::1"),
            ("[::ffff:203.0.113.42]:1", "203.0.113.42"),
            ("[::1]:1", "::1"),
        ];
        for (peer, expected) in table {
            assert_eq!(host(peer.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn a_long_answer_has_its_counts_after_the_rows() {
        let totals = Totals {
            sessions: 2,
            users: 1,
            next_cursor: Some(None),
        };
        let text = |json: Vec<u8>| String::from_utf8(json).unwrap();
        assert_eq!(text(Answer::Users.head()), r#"{"users":["#);
        let tail = r#"],"online_count":1,"session_count":2,"next_cursor":null}"#;
        assert_eq!(text(Answer::Users.tail(&totals)), tail);
        let user = Answer::User {
            username: "a\"b".into(),
            display_name: None,
            record: Record::default(),
        };
        let head = r#"{"username":"a\"b","display_name":null,"sessions":["#;
        assert_eq!(text(user.head()), head);
        let totals = Totals {
            next_cursor: None,
            ..totals
        };
        assert_eq!(
            text(user.tail(&totals)),
            r#"],"is_online":true,"session_count":2,"push_suspended":false}"#
        );
    }
}
