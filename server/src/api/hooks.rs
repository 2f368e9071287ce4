//! Webhooks of the caller's organisation: how they do, what they refused, and what can be done.

pub(super) mod replay;
mod rows;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use views::{DeliveryCursor, DeliveryError};

use super::AppState;
use super::body::WholeBody;
use super::key::Caller;
use super::listing::json_response;
use super::problem::Problem;
use super::query::{limit_or, parameter};
use super::view::to_json;
use crate::webhooks::Hook;
use rows::{DeadLetterList, HookList, HookRow, Queued, TestResult};

/// Dead letters of a page, unless `limit=` says otherwise.
const LIMIT: usize = 100;

/// The webhook that the path names, of the caller's organisation.
pub(super) struct Named(Arc<Hook>);

impl FromRequestParts<Arc<AppState>> for Named {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, Self::Rejection> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = path.map_err(|_| Problem::NotFound)?;
        let hook = state.webhooks.find(caller.org, &id);
        hook.cloned().map(Self).ok_or(Problem::NotFound)
    }
}

/// `GET /v2/webhooks`
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    caller: Caller,
) -> Result<Response, Problem> {
    let mut webhooks = Vec::new();
    for hook in state.webhooks.of_org(caller.org) {
        let dead_letters = hook.dead_letter_count().await;
        let dead_letters = dead_letters.map_err(|error| storage(&error))?;
        webhooks.push(HookRow::new(hook, hook.status(), dead_letters));
    }
    let answer = HookList { webhooks };
    Ok(json_response(to_json(&answer).into()))
}

/// `GET /v2/webhooks/{id}/dead-letters`
pub(super) async fn dead_letters(
    State(state): State<Arc<AppState>>,
    Named(hook): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = uri.query().unwrap_or_default();
    let limit = limit_or(query, LIMIT, &state)?;
    let cursor = parameter(query, "cursor")?
        .map(|text| read_cursor(&text))
        .transpose()?;
    let page = hook.dead_letters(limit, cursor).await;
    let page = page.map_err(|error| storage(&error))?;
    let answer = DeadLetterList::new(&page, page.next.map(write_cursor));
    Ok(json_response(to_json(&answer).into()))
}

/// `POST /v2/webhooks/{id}/replay`
pub(super) async fn replay(
    Named(hook): Named,
    Extension(body): Extension<WholeBody>,
) -> Result<Response, Problem> {
    let which = replay::read(&body.0).map_err(Problem::BadBody)?;
    let queued = hook.replay_dead(which).await;
    let queued = queued.map_err(|error| storage(&error))?;
    Ok(json_response(to_json(&Queued { queued }).into()))
}

/// `POST /v2/webhooks/{id}/test`
pub(super) async fn test(Named(hook): Named) -> Result<Response, Problem> {
    let outcome = hook.test().await.ok_or(Problem::TestUnderWay)?;
    Ok(json_response(to_json(&TestResult::new(&outcome)).into()))
}

/// `POST /v2/webhooks/{id}/enable`: nothing changes if it was not disabled.
pub(super) async fn enable(Named(hook): Named) -> StatusCode {
    hook.enable().await;
    StatusCode::NO_CONTENT
}

fn storage(error: &DeliveryError) -> Problem {
    tracing::error!(%error, "a question about deliveries has no answer");
    Problem::Storage
}

fn write_cursor(cursor: DeliveryCursor) -> String {
    format!("{:016x}", cursor.0)
}

fn read_cursor(text: &str) -> Result<DeliveryCursor, Problem> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = i64::from_str_radix(text, 16).ok().filter(|_| digits);
    number.map(DeliveryCursor).ok_or(Problem::BadCursor)
}
