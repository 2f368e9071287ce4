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
use super::name::username_between;
use super::problem::Problem;
use super::query::ListQuery;
use super::view::{Answer, Record, timestamp};
use crate::accounts::OrgIndex;

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
pub(super) async fn user(
    State(state): State<Arc<AppState>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Problem> {
    let username = username_between(&uri, LIST_PATH, "")?;
    let record = record(&state, caller.org, username.clone()).await?;
    let display_name = state
        .accounts
        .display_name(caller.org, &username)
        .map(|name| name.to_string());
    let listing = Listing::of_user(&username);
    let answer = Answer::User {
        username,
        display_name,
        record,
    };
    respond(Gathering::new(state, caller.org, listing, answer, None)).await
}

/// What the views have on a user.
async fn record(state: &AppState, org: OrgIndex, username: String) -> Result<Record, Problem> {
    let org = state.accounts.org_id(org).to_owned();
    let facts = state
        .readers
        .look_up(move |reader| reader.user(&org, &username))
        .await?;
    Ok(facts.map_or_else(Record::default, |facts| Record {
        push_suspended: facts.push_suspended,
        last_seen: timestamp(facts.last_seen_ms),
    }))
}
