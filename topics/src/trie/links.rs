//! How nodes hang together: labels, the index of children, the lists of siblings.
//!
//! The index hashes a node by its parent and label, so a node must be out of the index while
//! either changes. The callers, `insert` and `release`, keep to that.

use std::hash::{BuildHasher, Hasher, RandomState};

use compact_str::CompactString;

use super::{FilterTrie, NONE, Node};
use crate::levels::split_first;
use crate::slab::ChunkedSlab;

impl FilterTrie {
    /// The child of `parent` whose label begins with `level`.
    pub(super) fn child(&self, parent: u32, level: &str) -> Option<u32> {
        // Most nodes are leaves; asking the index about them would be a look far away for nothing.
        some(self.first_child(parent))?;
        let hash = hash_key(&self.hash_state, parent, level);
        self.index.find(hash, |id| {
            let node = &self.nodes[id];
            node.parent == parent && split_first(&node.label).0 == level
        })
    }

    /// All children of `parent`, the newest first.
    pub(super) fn children(&self, parent: u32) -> impl Iterator<Item = u32> {
        let first = some(self.first_child(parent));
        std::iter::successors(first, |&id| some(self.nodes[id].next_sibling))
    }

    /// Makes a node that is in no list and not in the index.
    pub(super) fn add_node(&mut self, parent: u32, label: CompactString) -> u32 {
        self.label_heap_bytes += heap_bytes(&label);
        let id = self.nodes.insert(Node {
            label,
            parent,
            value: Self::NO_VALUE,
            first_child: NONE,
            next_sibling: NONE,
            prev_sibling: NONE,
        });
        debug_assert_ne!(id, NONE, "the last number stands for no node");
        id
    }

    /// Takes out a node that is in no list and not in the index, and returns its label.
    pub(super) fn remove_node(&mut self, id: u32) -> CompactString {
        let label = self.nodes.remove(id).label;
        self.label_heap_bytes -= heap_bytes(&label);
        label
    }

    pub(super) fn set_label(&mut self, id: u32, label: CompactString) {
        self.label_heap_bytes += heap_bytes(&label);
        let old = std::mem::replace(&mut self.nodes[id].label, label);
        self.label_heap_bytes -= heap_bytes(&old);
    }

    pub(super) fn add_to_index(&mut self, id: u32) {
        let hasher = |id| hash_node(&self.hash_state, &self.nodes, id);
        self.index.insert(hasher(id), id, hasher);
    }

    pub(super) fn remove_from_index(&mut self, id: u32) {
        let hash = hash_node(&self.hash_state, &self.nodes, id);
        let removed = self.index.remove(hash, |found| found == id);
        debug_assert_eq!(removed, Some(id), "every linked node is in the index");
    }

    /// Makes the node the first in its parent's list.
    pub(super) fn link(&mut self, id: u32) {
        let parent = self.nodes[id].parent;
        let next = std::mem::replace(self.first_child_mut(parent), id);
        self.nodes[id].next_sibling = next;
        if next != NONE {
            self.nodes[next].prev_sibling = id;
        }
    }

    /// Takes the node out of its parent's list.
    pub(super) fn unlink(&mut self, id: u32) {
        let Node {
            parent,
            prev_sibling,
            next_sibling,
            ..
        } = self.nodes[id];
        self.link_after(parent, prev_sibling, next_sibling);
        if next_sibling != NONE {
            self.nodes[next_sibling].prev_sibling = prev_sibling;
        }
    }

    /// Puts `new` in the place of `old` in the list of `old`'s parent, which becomes its own.
    pub(super) fn relink(&mut self, old: u32, new: u32) {
        let Node {
            parent,
            prev_sibling,
            next_sibling,
            ..
        } = self.nodes[old];
        let node = &mut self.nodes[new];
        node.parent = parent;
        node.prev_sibling = prev_sibling;
        node.next_sibling = next_sibling;
        self.link_after(parent, prev_sibling, new);
        if next_sibling != NONE {
            self.nodes[next_sibling].prev_sibling = new;
        }
    }

    /// Lets `prev`, or without one the parent, point to `id`.
    fn link_after(&mut self, parent: u32, prev: u32, id: u32) {
        match prev {
            NONE => *self.first_child_mut(parent) = id,
            _ => self.nodes[prev].next_sibling = id,
        }
    }

    fn first_child(&self, parent: u32) -> u32 {
        match parent {
            NONE => self.first_child,
            _ => self.nodes[parent].first_child,
        }
    }

    fn first_child_mut(&mut self, parent: u32) -> &mut u32 {
        match parent {
            NONE => &mut self.first_child,
            _ => &mut self.nodes[parent].first_child,
        }
    }
}

fn some(id: u32) -> Option<u32> {
    (id != NONE).then_some(id)
}

fn hash_node(state: &RandomState, nodes: &ChunkedSlab<Node>, id: u32) -> u64 {
    let node = &nodes[id];
    hash_key(state, node.parent, split_first(&node.label).0)
}

fn hash_key(state: &RandomState, parent: u32, level: &str) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u32(parent);
    hasher.write(level.as_bytes());
    hasher.finish()
}

fn heap_bytes(label: &CompactString) -> usize {
    if label.is_heap_allocated() {
        label.capacity()
    } else {
        0
    }
}
