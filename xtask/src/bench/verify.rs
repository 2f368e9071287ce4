//! Whether the server really knows the sessions it was measured with.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::http::Api;
use super::whosthere::SECRET_KEY;

/// The client that is asked about by name.
const WITNESS: usize = 77;

/// Fails unless the presence list has every session, and one user's entry has its topic.
pub(super) fn all_sessions_are_known(http: SocketAddr, connection_count: usize) -> Result<()> {
    let api = Api::new(http, SECRET_KEY);
    let list = api.get_json("/v2/utilities/presence")?;
    let rows = list["users"]
        .as_array()
        .context("the presence list has no users")?;
    let expected = json!(connection_count);
    ensure!(
        rows.len() == connection_count && list["online_count"] == expected,
        "of {connection_count} sessions the presence list has {} rows, online_count {}",
        rows.len(),
        list["online_count"],
    );
    witness_has_its_topic(&api, connection_count)
}

fn witness_has_its_topic(api: &Api, connection_count: usize) -> Result<()> {
    if connection_count <= WITNESS {
        return Ok(());
    }
    let user: Value = api.get_json(&format!("/v2/utilities/presence/user-{WITNESS}"))?;
    let topics = &user["sessions"][0]["subscribed_topics"];
    ensure!(
        *topics == json!([format!("dev/{WITNESS}/cmd")]),
        "user-{WITNESS} is shown as {user}"
    );
    Ok(())
}
