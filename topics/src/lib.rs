//! Topic names and filters of MQTT: parse, match, overlap, and a trie of filters.
//!
//! # Layout
//!
//! - [`slab`]: numbered slots whose growth never copies more than one chunk.
//! - [`split_table`]: a hash table whose growth never rehashes more than one shard.

pub mod slab;
pub mod split_table;
