//! The filters that match a topic name.
//!
//! At each node the walk looks for three children: the name's next level, `+` and `#`. A node is
//! reached by one path only, so no walk visits more nodes than there are.

use super::{FilterTrie, NONE};
use crate::TopicName;
use crate::levels::{Taken, split_first, take};

impl FilterTrie {
    /// Calls `visit` with the value of every filter that matches `name`, each once, in no order.
    pub fn matching(&self, name: TopicName<'_>, mut visit: impl FnMut(u32)) {
        // Wildcards at the first level do not take names that begin with `$` (MQTT 5 §4.7.2).
        self.match_below(NONE, Some(name.as_str()), !name.is_dollar(), &mut visit);
    }

    /// Goes on below `parent` with what is left of the name.
    fn match_below(
        &self,
        parent: u32,
        rest: Option<&str>,
        wildcards: bool,
        visit: &mut impl FnMut(u32),
    ) {
        if wildcards && let Some(id) = self.child(parent, "#") {
            self.visit_value(id, visit);
        }
        let Some(rest) = rest else {
            return;
        };
        if wildcards && let Some(id) = self.child(parent, "+") {
            self.match_node(id, rest, visit);
        }
        if let Some(id) = self.child(parent, split_first(rest).0) {
            self.match_node(id, rest, visit);
        }
    }

    fn match_node(&self, id: u32, rest: &str, visit: &mut impl FnMut(u32)) {
        match take(&self.nodes[id].label, rest) {
            Taken::Differs => {}
            Taken::All => self.visit_value(id, visit),
            Taken::Leaves(rest) => {
                if rest.is_none() {
                    self.visit_value(id, visit);
                }
                self.match_below(id, rest, true, visit);
            }
        }
    }

    /// Calls `visit` with the node's value, if it has one.
    pub(super) fn visit_value(&self, id: u32, visit: &mut impl FnMut(u32)) {
        let value = self.nodes[id].value;
        if value != Self::NO_VALUE {
            visit(value);
        }
    }
}
