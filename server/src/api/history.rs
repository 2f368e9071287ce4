//! What happened to one user: `GET /v2/utilities/presence/{username}/history`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use journal::Position;
use serde::Serialize;
use views::Cursor;

use super::AppState;
use super::event::EventRow;
use super::key::Caller;
use super::listing::json_response;
use super::name::username_between;
use super::presence::LIST_PATH;
use super::problem::Problem;
use super::query::{limit_or, parameter, time};
use super::view::to_json;

/// Events of a page, unless `limit=` says otherwise.
const LIMIT: usize = 100;

#[derive(Serialize)]
struct History<'a> {
    username: &'a str,
    /// Newest first.
    events: Vec<EventRow<'a>>,
    next_cursor: Option<String>,
}

/// What is asked for.
struct HistoryQuery {
    from_ms: Option<u64>,
    to_ms: Option<u64>,
    limit: usize,
    cursor: Option<Cursor>,
}

/// Answers with one page of the user's events.
pub(super) async fn history(
    State(state): State<Arc<AppState>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let username = username_between(&uri, LIST_PATH, "/history")?;
    let query = HistoryQuery::read(uri.query().unwrap_or_default(), &state)?;
    let org = state.accounts.org_id(caller.org).to_owned();
    let name = username.clone();
    let HistoryQuery {
        from_ms,
        to_ms,
        limit,
        cursor,
    } = query;
    let ask = state
        .readers
        .ask(move |reader| reader.history(&org, &name, from_ms, to_ms, limit, cursor));
    let page = ask.await?;
    let history = History {
        username: &username,
        events: page
            .events
            .iter()
            .map(|event| EventRow::new(event))
            .collect(),
        next_cursor: page.next.map(write_cursor),
    };
    Ok(json_response(to_json(&history).into()))
}

impl HistoryQuery {
    fn read(raw: &str, state: &AppState) -> Result<Self, Problem> {
        Ok(Self {
            from_ms: time(raw, "from")?,
            to_ms: time(raw, "to")?,
            limit: limit_or(raw, LIMIT, state)?,
            cursor: parameter(raw, "cursor")?
                .map(|text| read_cursor(&text))
                .transpose()?,
        })
    }
}

// A place in the journal means the same for ever, so these cursors survive a restart.

fn write_cursor(cursor: Cursor) -> String {
    format!("{:016x}", cursor.0.0)
}

fn read_cursor(text: &str) -> Result<Cursor, Problem> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    number
        .map(|number| Cursor(Position(number)))
        .ok_or(Problem::BadCursor)
}
