//! The one place where sessions open and end, whatever the reason: in the journal, in one order.
//!
//! Event loops and the API *ask* ([`Lifecycle`]); one thread, the sequencer, *decides* what that
//! means (`plan`), writes it down, and only when it is durable changes who is online and tells the
//! event loops. So a session is online from the moment that its opening is on disk; order per user
//! is the journal's order; and nobody but the sequencer waits for a disk. Requests that come while
//! it syncs share the next sync.
//!
//! - `requests`: what may be asked, and the queue of it
//! - `plan`: what requests come to, given who is online: facts and changes, without I/O
//! - `rush`: whether a commit waits for more
//! - `sequencer`: the thread: plan, commit, apply, tell

mod plan;
mod requests;
mod rush;
mod sequencer;

use presence::{EndReason, Ended, Org};

pub use requests::{Busy, Client, Lifecycle, OpenRequest};
pub use sequencer::{Failing, Parts, Sequencer, end_crashed};

/// Somebody came or went.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// The organisation.
    pub org: Box<str>,
    /// The user, without the organisation's suffix.
    pub username: Box<str>,
    /// MQTT client identifier.
    pub client_id: Box<str>,
    /// Sessions the user has now.
    pub online_sessions: u32,
    /// What happened.
    pub what: What,
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It began.
    Came,
    /// It ended.
    Went(EndReason),
}

impl Occurrence {
    fn came(request: &OpenRequest, online_sessions: u32) -> Self {
        Self {
            org: request.org.id().into(),
            username: request.username.as_str().into(),
            client_id: request.client_id.as_str().into(),
            online_sessions,
            what: What::Came,
        }
    }

    fn went(org: &Org, ended: &Ended, reason: EndReason) -> Self {
        Self {
            org: org.id().into(),
            username: ended.facts.username.as_str().into(),
            client_id: ended.facts.client_id.as_str().into(),
            online_sessions: ended.online_sessions,
            what: What::Went(reason),
        }
    }
}
