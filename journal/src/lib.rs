//! Facts made durable and read back in order: the truth that every view is folded from.
//!
//! One writer appends facts to a batch and commits it; readers follow what is committed from any
//! position; maintenance makes restarts short and removes what is too old. A replicated stream can
//! stand in for it: append facts in order, learn when they are durable, read committed facts from a
//! position. There is no clock, no thread and no runtime inside. Neighbours: `presence` below, for
//! its words; `server` above.
//!
//! # Layout
//! - [`fact`]: what is told: [`Fact`], [`Opened`], [`Ended`], and its [`Position`]
//! - [`log`]: the single writer: [`Log`]
//! - [`reader`]: committed facts from a position: [`Reader`]
//! - [`maintenance`]: checkpoints and retention: [`Maintenance`]
//! - [`fault`]: what can be wrong with a file: [`Fault`]
//! - `recovery`, `tail`: opening what a former process left; `checkpoint`: which sessions were open
//!   when a segment began; `history`: which segments there are
//! - [`record`], `block`, `segment`: the format on disk, from the inside out; [`wire`]: the parts of
//!   a record; `storage`: the files
//!
//! The log is one of any [`Record`]: `messages` keeps its own in another directory. Facts alone have
//! checkpoints and retention.

pub mod fact;
pub mod fault;
pub mod log;
pub mod maintenance;
pub mod reader;
pub mod record;
pub mod wire;

mod block;
mod checkpoint;
mod history;
mod recovery;
mod segment;
mod storage;
mod tail;

pub use fact::{Ended, Fact, Opened, Os, Position, SessionId};
pub use fault::Fault;
pub use log::{CommitError, End, Log, RecordLog, Recovered, Settings};
pub use maintenance::{Maintenance, Report, Retention};
pub use reader::{ReadError, Reader, RecordReader};
pub use record::Record;

#[cfg(test)]
mod tests;
