//! The filters that have a topic name in common with a given filter.
//!
//! Where the given filter has a literal level, the walk looks for three children as for a name;
//! where it has `+`, at all of them; from its `#` on, at everything below. The last two can mean
//! the whole trie, so every node looked at counts against a budget.

use thiserror::Error;

use super::{FilterTrie, NONE};
use crate::TopicFilter;
use crate::levels::{Met, Prefix, meet, split_first};

impl FilterTrie {
    /// Calls `visit` with the value of every filter that overlaps `filter`, each once, in no
    /// order.
    ///
    /// `steps` is how many nodes the walk may look at. It is counted down, and never by more than
    /// [`node_count`](Self::node_count).
    ///
    /// # Errors
    ///
    /// [`BudgetSpent`] when there was more to look at; `visit` has then seen only some.
    pub fn overlapping(
        &self,
        filter: TopicFilter<'_>,
        steps: &mut u32,
        visit: impl FnMut(u32),
    ) -> Result<(), BudgetSpent> {
        let mut walk = Walk {
            trie: self,
            steps,
            visit,
        };
        walk.below(NONE, Some(filter.matched()), Prefix::Start)
    }
}

/// The walk was given too few steps to look at every node in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("step budget is spent")]
pub struct BudgetSpent;

struct Walk<'t, V> {
    trie: &'t FilterTrie,
    steps: &'t mut u32,
    visit: V,
}

impl<V: FnMut(u32)> Walk<'_, V> {
    /// Goes on below `parent` with what is left of the filter, where `prefix` has gone before.
    fn below(
        &mut self,
        parent: u32,
        rest: Option<&str>,
        prefix: Prefix,
    ) -> Result<(), BudgetSpent> {
        let trie = self.trie;
        let Some(rest) = rest else {
            return match trie.child(parent, "#") {
                Some(id) if prefix.hash_takes(None) => self.subtree(id),
                _ => Ok(()),
            };
        };
        match split_first(rest).0 {
            "+" | "#" => {
                for id in trie.children(parent) {
                    self.node(id, rest, prefix)?;
                }
            }
            literal => {
                for level in [literal, "+", "#"] {
                    if let Some(id) = trie.child(parent, level) {
                        self.node(id, rest, prefix)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, id: u32, rest: &str, prefix: Prefix) -> Result<(), BudgetSpent> {
        match meet(&self.trie.nodes[id].label, rest, prefix) {
            Met::Apart => self.spend_step(),
            Met::Hash => self.subtree(id),
            Met::Ended(rest, prefix) => {
                self.spend_step()?;
                let suits = match rest {
                    None => true,
                    Some(rest) => rest == "#" && prefix.hash_takes(None),
                };
                if suits {
                    self.trie.visit_value(id, &mut self.visit);
                }
                self.below(id, rest, prefix)
            }
        }
    }

    /// Visits the node and everything below it.
    fn subtree(&mut self, id: u32) -> Result<(), BudgetSpent> {
        self.spend_step()?;
        self.trie.visit_value(id, &mut self.visit);
        for child in self.trie.children(id) {
            self.subtree(child)?;
        }
        Ok(())
    }

    fn spend_step(&mut self) -> Result<(), BudgetSpent> {
        *self.steps = self.steps.checked_sub(1).ok_or(BudgetSpent)?;
        Ok(())
    }
}
