//! Ending the sessions of a user from the server's side.
//!
//! The answer comes when the endings are durable, so whoever has it need not ask again.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use presence::EndReason;
use serde::Serialize;
use tokio::time::timeout;

use super::AppState;
use super::health::Phase;
use super::key::Caller;
use super::listing::json_response;
use super::name::username_between;
use super::problem::Problem;
use super::view::to_json;

/// What comes before a user's name.
const USERS_PATH: &str = "/v2/utilities/users";

#[derive(Serialize)]
struct Terminated<'a> {
    username: &'a str,
    sessions_terminated: usize,
}

#[derive(Serialize)]
struct LoggedOut<'a> {
    username: &'a str,
    sessions_logged_out: usize,
}

/// `POST /v2/utilities/users/{username}/terminate`
pub(super) async fn terminate(
    State(state): State<Arc<AppState>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let username = &username_between(&uri, USERS_PATH, "/terminate")?;
    let sessions_terminated = end(&state, &caller, username, EndReason::Terminated).await?;
    let answer = Terminated {
        username,
        sessions_terminated,
    };
    Ok(json_response(to_json(&answer).into()))
}

/// `POST /v2/utilities/users/{username}/logout`
pub(super) async fn log_out(
    State(state): State<Arc<AppState>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let username = &username_between(&uri, USERS_PATH, "/logout")?;
    let sessions_logged_out = end(&state, &caller, username, EndReason::LoggedOut).await?;
    let answer = LoggedOut {
        username,
        sessions_logged_out,
    };
    Ok(json_response(to_json(&answer).into()))
}

async fn end(
    state: &AppState,
    caller: &Caller,
    username: &str,
    reason: EndReason,
) -> Result<usize, Problem> {
    // While the journal cannot be written nothing can end.
    if state.failing.is_set() {
        return Err(Problem::Journal);
    }
    let ending = state
        .lifecycle
        .end_user(state.org(caller.org), username, reason);
    let patience = Duration::from_secs(state.limits.stall_timeout_secs);
    match timeout(patience, ending).await {
        Ok(ended) => ended.ok_or(Problem::NotReady(Phase::Stopping)),
        Err(_) => Err(Problem::Journal),
    }
}
