//! Taking a filter out, and with it every node that is no longer needed.

use compact_str::CompactString;

use super::{FilterTrie, NONE, NodeId};

impl FilterTrie {
    /// Takes the filter out: its value becomes [`NO_VALUE`](Self::NO_VALUE), and `node` is no
    /// longer valid.
    ///
    /// The node goes if nothing hangs below it. A node that no longer branches and has no value is
    /// merged into its child, which keeps its id.
    ///
    /// # Panics
    ///
    /// May panic when the filter of `node` has been released before.
    pub fn release(&mut self, node: NodeId) {
        let value = std::mem::replace(&mut self.nodes[node.0].value, Self::NO_VALUE);
        self.filter_count -= usize::from(value != Self::NO_VALUE);
        let mut id = node.0;
        while id != NONE && self.nodes[id].value == Self::NO_VALUE {
            let mut children = self.children(id);
            match (children.next(), children.next()) {
                (None, _) => {
                    drop(children);
                    id = self.remove_leaf(id);
                }
                (Some(child), None) => {
                    drop(children);
                    return self.merge(id, child);
                }
                (Some(_), Some(_)) => return,
            }
        }
    }

    /// Removes a node without children and returns its parent.
    fn remove_leaf(&mut self, id: u32) -> u32 {
        let parent = self.nodes[id].parent;
        self.unlink(id);
        self.remove_from_index(id);
        self.remove_node(id);
        parent
    }

    /// Merges `upper` into its only child, which takes its place.
    fn merge(&mut self, upper: u32, child: u32) {
        self.remove_from_index(upper);
        self.remove_from_index(child);
        self.relink(upper, child);
        let upper_label = self.remove_node(upper);
        let label = join(&upper_label, &self.nodes[child].label);
        self.set_label(child, label);
        self.add_to_index(child);
    }
}

fn join(upper: &str, lower: &str) -> CompactString {
    let mut label = CompactString::with_capacity(upper.len() + 1 + lower.len());
    label.push_str(upper);
    label.push('/');
    label.push_str(lower);
    label
}
