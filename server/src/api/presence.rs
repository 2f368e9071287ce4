//! The presence endpoints: everybody online, and one user.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use presence::Listing;
use topics::TopicFilter;

use super::AppState;
use super::key::Caller;
use super::listing::{Gathering, respond};
use super::name::decode_username;
use super::problem::Problem;
use super::query::ListQuery;
use super::view::Answer;

/// The path of the list; a user's name follows it after a slash.
pub(super) const LIST_PATH: &str = "/v2/utilities/presence";

/// `GET /v2/utilities/presence`
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = ListQuery::read(uri.query(), &state)?;
    let filter = match &query.topic {
        Some(topic) => {
            Some(TopicFilter::parse(topic).map_err(|error| Problem::BadFilter(error.to_string()))?)
        }
        None => None,
    };
    let listing = Listing::of_org(filter, query.from);
    respond(Gathering::new(
        state,
        caller.org,
        listing,
        Answer::Users,
        query.limit,
    ))
    .await
}

/// `GET /v2/utilities/presence/{username}`
///
/// Takes the name from the raw path: a router that decodes it first cannot tell `%2F` in a name
/// from a slash between two.
pub(super) async fn user(
    State(state): State<Arc<AppState>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let raw = uri
        .path()
        .strip_prefix(LIST_PATH)
        .and_then(|rest| rest.strip_prefix('/'));
    let username = decode_username(raw.ok_or(Problem::NotFound)?).map_err(Problem::BadName)?;
    let display_name = state
        .accounts
        .display_name(caller.org, &username)
        .map(str::to_owned);
    let listing = Listing::of_user(&username);
    let answer = Answer::User {
        username,
        display_name,
    };
    respond(Gathering::new(state, caller.org, listing, answer, None)).await
}
