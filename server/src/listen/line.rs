//! What is printed: one line for each event, for eyes.

use chrono::DateTime;

use super::message::Change;
use super::verify::{Judgement, Verdict};

/// Characters of a session's name that are shown: its end tells sessions apart.
const SESSION_CHARS: usize = 8;

/// The line of an event.
pub(super) fn of_event(change: &Change, verdict: &Verdict, is_duplicate: bool) -> String {
    let (sign, what) = match change.status.as_str() {
        "0" => ('+', "came"),
        "1" => ('-', "went"),
        "2" => ('-', "logged out"),
        _ => ('?', "unknown"),
    };
    let mut line = format!(
        "{}  {sign} {:<16} {what:<10}  {:<9}  {:<21}  {:<9}  {}",
        time(change.time),
        printable(&change.user_id),
        session(&change.session_id),
        or_dash(&change.client_ip),
        or_dash(&change.os),
        signatures(verdict)
    );
    if !change.reason.is_empty() {
        line += "  ";
        line += &printable(&change.reason);
    }
    if is_duplicate {
        line += "  duplicate";
    }
    line
}

/// The line of a request that is no event.
pub(super) fn of_nonsense(why: &str, verdict: &Verdict, now_ms: u64) -> String {
    let (time, why) = (time(now_ms), printable(why));
    format!("{time}  ! {why}  {}", signatures(verdict))
}

/// The moment of a day, UTC.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    time.map_or_else(
        || "??:??:??.???".to_owned(),
        |time| time.format("%H:%M:%S%.3f").to_string(),
    )
}

fn session(id: &str) -> String {
    let skipped = id.chars().count().saturating_sub(SESSION_CHARS);
    let end: String = id.chars().skip(skipped).collect();
    match skipped {
        0 => printable(&end),
        _ => format!("…{}", printable(&end)),
    }
}

fn signatures(verdict: &Verdict) -> String {
    let said: Vec<_> = verdict
        .families()
        .into_iter()
        .filter_map(|(family, judgement)| match judgement {
            Judgement::Genuine => Some(format!("✓ {family}")),
            Judgement::Wrong(why) => Some(format!("✗ {family}: {why}")),
            Judgement::NoKey => Some(format!("? {family}")),
            Judgement::Absent => None,
        })
        .collect();
    match said.is_empty() {
        true => "unsigned".to_owned(),
        false => said.join("  "),
    }
}

/// Optional text.
fn or_dash(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        _ => printable(text),
    }
}

/// Text that cannot move the cursor or change colours: names are chosen by anybody.
fn printable(text: &str) -> String {
    let shown = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    text.chars().map(shown).collect()
}
