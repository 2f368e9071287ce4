//! Who is online: the sessions, users and subscriptions of an organisation in one index that
//! answers queries and routes messages alike.
//!
//! No sockets, no clock, no serialisation: time comes in as an argument and views go out as
//! borrowed data. Neighbours: `topics` below, `server` above.
//!
//! # Layout
//! - [`id`]: the small words: [`SessionRef`], [`SessionId`], [`Address`], [`Protocol`], [`Os`]
//! - [`change`]: what happens to a session: [`Opening`], [`Opened`], [`Ended`],
//!   [`SessionFacts`], [`EndReason`]
//! - [`org`]: [`Org`], the index of one organisation, and how it is changed and routed by
//! - [`listing`]: [`Listing`], queries that read the index in short pieces

pub mod change;
pub mod id;
pub mod listing;
pub mod org;

pub use change::{EndReason, Ended, Opened, Opening, SessionFacts};
pub use id::{Address, Os, Protocol, SessionId, SessionRef};
pub use listing::{Listing, Piece, Position, SessionView};
pub use org::{Counts, Org, Recipient, ShareRef, SubscribeError};

#[cfg(test)]
mod tests;
