//! Queries, names, cursors, times and bodies of requests: anything reads as something or is refused.

use ::presence::Position;

use super::cursor::Cursors;
use super::hooks::replay;
use super::name::decode;
use super::query::{parameter, row_count};
use super::time::Time;

const ROWS_MAX: usize = 10_000;

/// `bytes` as the query of an address, and as a body.
pub fn query(bytes: &[u8]) {
    let _ = replay::read(bytes);
    let Ok(raw) = std::str::from_utf8(bytes) else {
        return;
    };
    let cursors = Cursors::of_this_process().expect("the system gives random bytes");
    for name in ["topic", "limit", "cursor", "from", ""] {
        let Ok(Some(text)) = parameter(raw, name) else {
            continue;
        };
        if let Ok(rows) = row_count(&text, ROWS_MAX) {
            assert!((1..=ROWS_MAX).contains(&rows));
        }
        // The tag is new in every process and sixteen digits long.
        assert!(cursors.read(&text).is_err(), "a cursor was guessed");
        let _ = Time::parse(&text);
        let _ = topics::TopicFilter::parse(&text).map(|filter| filter.level_count());
        assert_eq!(decode(&percent(&text)).as_deref(), Ok(&text[..]));
    }
    let position = Position {
        user: bytes.len() as u64,
        session: u64::from(bytes.first().copied().unwrap_or(0)),
    };
    let read = cursors.read(&cursors.write(position)).expect("it is ours");
    assert_eq!((read.user, read.session), (position.user, position.session));
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
