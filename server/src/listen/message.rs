//! What stands in a request, as far as a line about it needs it. Lenient: what is not there is not
//! shown.

use serde::Deserialize;

/// The body of a request.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) data: Vec<Change>,
}

/// One change of a user's status.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    pub(super) status: String,
    pub(super) user_id: String,
    pub(super) time: u64,
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) client_ip: String,
    #[serde(default)]
    pub(super) session_id: String,
    /// In extended payloads.
    #[serde(default)]
    pub(super) reason: String,
}
