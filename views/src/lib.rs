//! What is looked up by key: SQLite views folded from the journal.
//!
//! One thread reads committed facts in the order of the journal and calls [`Views::fold`]; each
//! fact becomes one numbered [`Event`], which is what a webhook tells and what a history shows.
//! Nothing here is the truth: a view keeps the position up to which it was folded beside its rows,
//! in one transaction, and one that is behind, or was deleted, is folded again to the same result.
//! Only what receivers have and have not been told ([`Deliveries`]) exists nowhere else, and so has
//! a file of its own. No clock: time is an argument. Neighbours: `journal` below, `server` above.
//!
//! # Layout
//! - [`event`]: [`Event`], what a fact means for the user
//! - [`views`]: [`Views`], facts in, events out, rows to the disk
//! - [`reader`]: [`Reader`], the questions: a user's history, a user's state, events in order
//! - [`deliveries`]: [`Deliveries`], how far each endpoint has been told, and what it refused
//! - [`checkpoint`]: [`Checkpointer`], which keeps the write-ahead log short
//! - [`error`]: what can go wrong, as a sentence
//! - [`schema`]: opening a file of SQLite, for `messages` too
//! - `user`, `users`, `tail`: the state in memory; `progress`, `people`, `history`, `row`:
//!   the tables

pub mod checkpoint;
pub mod deliveries;
pub mod error;
pub mod event;
pub mod reader;
pub mod schema;
pub mod views;

mod history;
mod people;
mod progress;
mod row;
mod tail;
mod user;
mod users;

pub use checkpoint::Checkpointer;
pub use deliveries::{
    DeadLetter, DeadLetters, Deliveries, DeliveryCursor, Disabled, Parked, Revival,
};
pub use error::{DeliveryError, FlushError, FoldError, OpenError, ReadError};
pub use event::{Event, EventId, Kind};
pub use reader::{Cursor, EventsPage, HistoryPage, Reader, UserFacts};
pub use views::Views;

#[cfg(test)]
mod tests;
