//! One index of many filters, for routing a PUBLISH and for presence queries alike.
//!
//! A trie by levels, in which a run of levels without a branch is one node: its label holds one or
//! more whole levels, as in `77/cmd`. Assumptions and consequences:
//!
//! - The root is no node. Every node's label has at least one level, so the label `""` is one
//!   empty level, and a filter's text is the labels on its path joined by `/`.
//! - `+` and `#` are ordinary levels of a label. `#` is the last level of its filter, so the node
//!   whose label ends with it has no children. `a/#` matches `a` also when it is one label.
//! - Siblings differ in the first level of their labels. One hash table for the whole trie finds
//!   a child by its parent and that level; a list of siblings is for queries with wildcards.
//! - A node without a value has at least two children, or waits for its value after
//!   [`entry`](FilterTrie::entry).
//! - A node that carries a filter keeps its [`NodeId`] when nodes around it are split or merged.
//! - Nothing grows by copying everything, see [`slab`](crate::slab) and
//!   [`split_table`](crate::split_table).
//!
//! Walks recurse once per node on a path, so their depth is bounded by the level count of the
//! longest filter inserted. Limiting that is up to the caller.

use std::hash::RandomState;

use compact_str::CompactString;

use crate::TopicFilter;
use crate::levels::{shared_len, split_first};
use crate::slab::ChunkedSlab;
use crate::split_table::SplitTable;

mod insert;
mod links;
mod matching;
mod overlapping;
mod release;

pub use overlapping::BudgetSpent;

/// Filters, each with a value of the caller's, to be asked by topic name or by filter.
#[derive(Debug)]
pub struct FilterTrie {
    nodes: ChunkedSlab<Node>,
    /// Every node, by its parent and the first level of its label.
    index: SplitTable,
    /// Levels are chosen by strangers, so the hash is keyed.
    hash_state: RandomState,
    /// The newest child of the root.
    first_child: u32,
    filter_count: usize,
    /// What labels too long for their node have allocated.
    label_heap_bytes: usize,
}

/// A filter's place in a [`FilterTrie`], valid until the filter is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The number of the place, for who keeps it among other numbers.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The inverse of [`number`](Self::number).
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }
}

#[derive(Debug)]
struct Node {
    label: CompactString,
    /// `NONE` below the root.
    parent: u32,
    value: u32,
    first_child: u32,
    next_sibling: u32,
    prev_sibling: u32,
}

/// No node; as a parent, the root.
const NONE: u32 = u32::MAX;

impl FilterTrie {
    /// The value of a node that carries no filter.
    pub const NO_VALUE: u32 = u32::MAX;

    /// An empty trie, which holds no memory.
    pub fn new() -> Self {
        Self {
            nodes: ChunkedSlab::new(),
            index: SplitTable::new(),
            hash_state: RandomState::new(),
            first_child: NONE,
            filter_count: 0,
            label_heap_bytes: 0,
        }
    }

    /// The node of this filter, by its [`matched`](TopicFilter::matched) part, if it has a value.
    pub fn get(&self, filter: TopicFilter<'_>) -> Option<NodeId> {
        let (mut parent, mut rest) = (NONE, filter.matched());
        loop {
            let id = self.child(parent, split_first(rest).0)?;
            let node = &self.nodes[id];
            let shared = shared_len(&node.label, rest);
            if shared < node.label.len() {
                return None;
            }
            match rest.get(shared + 1..) {
                Some(after) => (parent, rest) = (id, after),
                None => return (node.value != Self::NO_VALUE).then_some(NodeId(id)),
            }
        }
    }

    /// The node's value, [`NO_VALUE`](Self::NO_VALUE) until it is set and after its release. The
    /// node of a released filter may since be another filter's.
    pub fn value(&self, node: NodeId) -> u32 {
        self.nodes
            .get(node.0)
            .map_or(Self::NO_VALUE, |node| node.value)
    }

    /// Gives the node a value other than [`NO_VALUE`](Self::NO_VALUE), which is what
    /// [`release`](Self::release) is for.
    ///
    /// # Panics
    ///
    /// May panic when the filter of `node` has been released.
    pub fn set_value(&mut self, node: NodeId, value: u32) {
        debug_assert_ne!(value, Self::NO_VALUE, "a value is taken away by release");
        let old = std::mem::replace(&mut self.nodes[node.0].value, value);
        self.filter_count += usize::from(old == Self::NO_VALUE);
    }

    /// Appends the text of the node's filter, without any `$share/{group}/`.
    ///
    /// # Panics
    ///
    /// May panic when the filter of `node` has been released.
    pub fn write_filter(&self, node: NodeId, text: &mut String) {
        let node = &self.nodes[node.0];
        if node.parent != NONE {
            self.write_filter(NodeId(node.parent), text);
            text.push('/');
        }
        text.push_str(&node.label);
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many nodes there are, with and without a value.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// How many filters have a value.
    pub fn filter_count(&self) -> usize {
        self.filter_count
    }

    /// Bytes allocated, up to what the allocator adds.
    ///
    /// Looks once at every 1024 nodes, so it is cheap enough for a metric but not for every call.
    pub fn heap_bytes(&self) -> usize {
        self.nodes.heap_bytes() + self.index.heap_bytes() + self.label_heap_bytes
    }
}

impl Default for FilterTrie {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
