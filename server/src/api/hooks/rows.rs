//! Webhooks as JSON.

use serde::Serialize;
use views::{DeadLetter, DeadLetters};
use webhook::outcome::{DownReason, Outcome};

use crate::api::event::EventRow;
use crate::api::view::timestamp;
use crate::webhooks::{Hook, HookState, HookStatus};

#[derive(Serialize)]
pub(super) struct HookList {
    pub(super) webhooks: Vec<HookRow>,
}

/// One webhook and how it does. Counts are since the start of the server, but for what is kept.
#[derive(Serialize)]
pub(super) struct HookRow {
    id: String,
    url: String,
    state: &'static str,
    backlog: u64,
    oldest_waiting_since: Option<String>,
    last_error: Option<String>,
    last_delivered_at: Option<String>,
    delivered: u64,
    attempts: u64,
    dead_letters: u64,
    paused_until: Option<String>,
}

impl HookRow {
    pub(super) fn new(hook: &Hook, status: HookStatus, dead_letters: u64) -> Self {
        Self {
            id: hook.id.clone(),
            url: hook.url.clone(),
            state: match status.state {
                HookState::Open => "open",
                HookState::Paused => "paused",
                HookState::Disabled => "disabled",
            },
            backlog: status.backlog,
            oldest_waiting_since: status.oldest_waiting_ms.and_then(timestamp),
            last_error: status.last_error,
            last_delivered_at: status.last_delivered_ms.and_then(timestamp),
            delivered: status.delivered,
            attempts: status.attempts,
            dead_letters,
            paused_until: status.paused_until_ms.and_then(timestamp),
        }
    }
}

/// A page of dead letters, in the order in which they were given up.
#[derive(Serialize)]
pub(super) struct DeadLetterList<'a> {
    dead_letters: Vec<DeadLetterRow<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct DeadLetterRow<'a> {
    username: &'a str,
    #[serde(flatten)]
    event: EventRow<'a>,
    attempts: u32,
    /// In Unix milliseconds, as the event's times.
    given_up_at: u64,
    last_error: &'a str,
}

impl<'a> DeadLetterList<'a> {
    pub(super) fn new(page: &'a DeadLetters, next_cursor: Option<String>) -> Self {
        let row = |letter: &'a DeadLetter| DeadLetterRow {
            username: &letter.event.username,
            event: EventRow::new(&letter.event),
            attempts: letter.attempts,
            given_up_at: letter.buried_at_ms,
            last_error: &letter.last_error,
        };
        Self {
            dead_letters: page.letters.iter().map(row).collect(),
            next_cursor,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Queued {
    pub(super) queued: usize,
}

/// What became of a test.
#[derive(Serialize)]
pub(super) struct TestResult {
    delivered: bool,
    status: Option<u16>,
    error: Option<String>,
}

impl TestResult {
    pub(super) fn new(outcome: &Outcome) -> Self {
        let (status, error) = match outcome {
            Outcome::Delivered { status } => (Some(*status), None),
            Outcome::Refused { status } => (Some(*status), Some(format!("status {status}"))),
            Outcome::Gone => (Some(410), Some("status 410".to_owned())),
            Outcome::Down { why, .. } => {
                let status = match why {
                    DownReason::Status(status) => Some(*status),
                    _ => None,
                };
                (status, Some(why.to_string()))
            }
        };
        Self {
            delivered: error.is_none(),
            status,
            error,
        }
    }
}
