//! Topic names and filters of MQTT: parse, match, overlap, and a trie of filters.
//!
//! Everything here is pure: no I/O, no clock, no knowledge of sessions or organisations. The
//! rules are those of MQTT 5 §4.7 (names, filters, `$`) and §4.8.2 (`$share`).
//!
//! # Layout
//!
//! - `name`: [`TopicName`], what a client publishes to.
//! - `filter`: [`TopicFilter`], what a client subscribes to; [`TopicFilterBuf`] keeps one.
//! - `levels`: the comparisons of level sequences that filters and the trie share.
//! - `trie`: [`FilterTrie`], the one index of filters, for routing and for queries.
//! - [`slab`]: numbered slots whose growth never copies more than one chunk.
//! - [`split_table`]: a hash table whose growth never rehashes more than one shard.

mod filter;
mod levels;
mod name;
pub mod slab;
pub mod split_table;
#[cfg(test)]
mod testing;
mod trie;

pub use filter::{TopicFilter, TopicFilterBuf, TopicFilterError};
pub use name::{TopicName, TopicNameError};
pub use trie::{BudgetSpent, FilterTrie, NodeId};

/// The most bytes a topic name or filter can have: its length travels as two bytes (MQTT 5 §1.5.4).
pub const TOPIC_BYTES_MAX: usize = 65_535;
