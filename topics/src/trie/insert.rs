//! Finding or making the node of a filter.

use compact_str::CompactString;

use super::{FilterTrie, NONE, NodeId};
use crate::TopicFilter;
use crate::levels::{shared_len, split_first};

impl FilterTrie {
    /// The node of this filter, by its [`matched`](TopicFilter::matched) part, made if there is
    /// none.
    ///
    /// A fresh node has [`NO_VALUE`](Self::NO_VALUE). The caller must set a value or release the
    /// node before anything else is released.
    pub fn entry(&mut self, filter: TopicFilter<'_>) -> NodeId {
        let (mut parent, mut rest) = (NONE, filter.matched());
        loop {
            let Some(id) = self.child(parent, split_first(rest).0) else {
                return NodeId(self.add_leaf(parent, rest));
            };
            let label = &self.nodes[id].label;
            let shared = shared_len(label, rest);
            let node = if shared < label.len() {
                self.split(id, shared)
            } else {
                id
            };
            match rest.get(shared + 1..) {
                Some(after) => (parent, rest) = (node, after),
                None => return NodeId(node),
            }
        }
    }

    fn add_leaf(&mut self, parent: u32, label: &str) -> u32 {
        let id = self.add_node(parent, CompactString::from(label));
        self.link(id);
        self.add_to_index(id);
        id
    }

    /// Puts a new node above `id` that takes the first `at` bytes of the label, whole levels.
    ///
    /// The new node is the upper one because others know the lower one by its id.
    fn split(&mut self, id: u32, at: usize) -> u32 {
        let label = &self.nodes[id].label;
        let (upper_label, lower_label) = (
            CompactString::from(&label[..at]),
            CompactString::from(&label[at + 1..]),
        );
        self.remove_from_index(id);
        let upper = self.add_node(NONE, upper_label);
        self.relink(id, upper);
        self.set_label(id, lower_label);
        self.nodes[id].parent = upper;
        self.nodes[id].prev_sibling = NONE;
        self.link(id);
        self.add_to_index(upper);
        self.add_to_index(id);
        upper
    }
}
