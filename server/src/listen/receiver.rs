//! What is done with a request: judged, shown, recorded, answered.
//!
//! Requests are shown and recorded in the order in which their bodies were complete.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::json;
use tokio::time::sleep;

use super::message::Message;
use super::verify::{Keys, Verdict};
use super::{Answer, Settings, line};
use crate::clock::unix_ms;

/// Far above the largest event: names are at most 64 KiB each.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Ids that are remembered to recognise duplicates.
const SEEN_MAX: usize = 100_000;

/// The receiver, shared by all requests.
pub(super) struct Receiver {
    keys: Keys,
    delay: Duration,
    answer: Answer,
    desk: Mutex<Desk>,
}

/// What requests take turns with.
struct Desk {
    seen: Seen,
    record: Option<File>,
    out: Box<dyn Write + Send>,
}

/// Ids of late.
#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Receiver {
    /// Prints to `out`.
    pub(super) fn new(settings: Settings, out: impl Write + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            keys: settings.keys,
            delay: settings.delay,
            answer: settings.answer,
            desk: Mutex::new(Desk {
                seen: Seen::default(),
                record: settings.record,
                out: Box::new(out),
            }),
        })
    }

    /// Everything at every path comes here.
    pub(super) fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(receive).with_state(self)
    }

    /// Shows and records a request, and says what it deserves.
    fn take(
        &self,
        verdict: &Verdict,
        body: &[u8],
        now_ms: u64,
    ) -> Result<StatusCode, std::io::Error> {
        let message: Result<Message, _> = serde_json::from_slice(body);
        let status = match (&message, verdict.is_wrong(), self.answer) {
            (.., Answer::Always(status)) => {
                StatusCode::from_u16(status).unwrap_or(StatusCode::NO_CONTENT)
            }
            (_, true, _) => StatusCode::UNAUTHORIZED,
            (Err(_), ..) => StatusCode::BAD_REQUEST,
            (Ok(_), ..) => StatusCode::NO_CONTENT,
        };
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        // A forger cannot make a genuine event look like a duplicate.
        let id = message.as_ref().ok().filter(|_| !verdict.is_wrong());
        let is_duplicate = id.is_some_and(|message| !desk.seen.is_new(&message.id));
        match &message {
            Ok(message) => {
                for change in &message.data {
                    let line = line::of_event(change, verdict, is_duplicate);
                    writeln!(desk.out, "{line}")?;
                }
            }
            Err(error) => {
                let line = line::of_nonsense(&format!("not an event: {error}"), verdict, now_ms);
                writeln!(desk.out, "{line}")?;
            }
        }
        desk.out.flush()?;
        let answered = (self.answer != Answer::Never).then_some(status.as_u16());
        if let Some(file) = &mut desk.record {
            let line = record(body, verdict, is_duplicate, answered, now_ms);
            file.write_all(line.as_bytes())?;
        }
        Ok(status)
    }
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> StatusCode {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let body: Bytes = body;
    let now_ms = unix_ms();
    let query = parts.uri.query();
    let verdict = receiver.keys.judge(&parts.headers, query, &body, now_ms);
    let status = match receiver.take(&verdict, &body, now_ms) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("whosthere: cannot show or record what came: {error}");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    if receiver.answer == Answer::Never {
        return std::future::pending().await;
    }
    sleep(receiver.delay).await;
    status
}

/// The line of a record: when it came, what was made of it, and the body as it is.
fn record(
    body: &[u8],
    verdict: &Verdict,
    is_duplicate: bool,
    answered: Option<u16>,
    now_ms: u64,
) -> String {
    let verified: Vec<_> = verdict
        .families()
        .into_iter()
        .filter(|(_, judgement)| **judgement == super::verify::Judgement::Genuine)
        .map(|(family, _)| family)
        .collect();
    let body =
        serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)));
    let line = json!({
        "arrived_at": now_ms,
        "genuine": !verified.is_empty() && !verdict.is_wrong(),
        "verified": verified,
        "duplicate": is_duplicate,
        "answered": answered,
        "body": body,
    });
    format!("{line}\n")
}

impl Seen {
    /// Remembers an id. False if it is known.
    fn is_new(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}
