//! What outlives a connection: stored sessions with their subscriptions and messages, and retained
//! messages, kept across a restart and a crash.
//!
//! Every change is a record in a log like the journal's, durable before anybody is told; SQLite
//! follows in batches. The deciding part ([`Book`]) knows no disk and no clock; [`Desk`] drives it
//! with a log and SQLite. Neighbours: `journal` below, for the log, `presence` for where connections
//! are, `topics`; `server` above, which has the thread. Nothing here looks into a message.
//!
//! # Layout
//! - [`id`]: which stored session, which of its connections
//! - [`message`]: what is kept of a message and of a will
//! - [`record`]: what the log keeps, and its form on disk
//! - [`request`], [`answer`]: what may be asked and what is said
//! - [`kept`]: what any thread may ask at once: recipients, retained messages, who is known
//! - [`book`]: what requests come to
//! - [`desk`]: log, book and SQLite together; no thread
//! - `state`, `session`: what the records come to; `store`: the tables

pub mod answer;
pub mod book;
pub mod desk;
pub mod id;
pub mod kept;
pub mod message;
pub mod record;
pub mod request;

mod session;
mod state;
mod store;

pub use answer::{Answer, Attached, Letter, NotSubscribed, Outcome, Push, Pushed, Refused};
pub use book::{BodySource, Book, Limits, Quota, Tally};
pub use desk::{Desk, OpenError, Settings};
pub use id::{Attachment, Carrier, StoredRef};
pub use kept::{
    Arrival, Change, Counts, Directory, Kept, RetainedQuery, RetainedRow, StoredRecipient,
};
pub use message::{Message, Will};
pub use record::{NEVER, Retain, Subscription};
pub use request::{
    Attach, Detach, Permit, Publish, ReplyTo, Request, RetainHandling, Subscribe, To, Unsubscribe,
    Wanted,
};
pub use store::{Done, Task, Writer};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
