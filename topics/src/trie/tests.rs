//! The trie against a plain list of filters, and its shape after any history.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::TopicName;
use crate::testing::{filter, filters, name, names};

/// A trie and the filters that should be in it, each with its node and value.
#[derive(Default)]
struct Pair {
    trie: FilterTrie,
    filters: BTreeMap<String, (NodeId, u32)>,
    next_value: u32,
}

impl Pair {
    fn with(filters: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut pair = Self::default();
        for text in filters {
            pair.insert(text.as_ref());
        }
        pair
    }

    fn insert(&mut self, text: &str) {
        let node = self.trie.entry(filter(text));
        if let Some((known, _)) = self.filters.get(text) {
            return assert_eq!(node, *known, "{text}");
        }
        assert_eq!(self.trie.value(node), FilterTrie::NO_VALUE);
        self.trie.set_value(node, self.next_value);
        self.filters
            .insert(text.to_owned(), (node, self.next_value));
        self.next_value += 1;
    }

    fn release(&mut self, text: &str) {
        let known = self.filters.remove(text).map(|(node, _)| node);
        assert_eq!(self.trie.get(filter(text)), known, "{text}");
        if let Some(node) = known {
            self.trie.release(node);
        }
    }

    fn check(&self) {
        for (text, &(node, value)) in &self.filters {
            assert_eq!(self.trie.get(filter(text)), Some(node), "{text}");
            assert_eq!(self.trie.value(node), value, "{text}");
            let mut written = String::new();
            self.trie.write_filter(node, &mut written);
            assert_eq!(&written, text);
        }
        assert_eq!(self.trie.filter_count(), self.filters.len());
        self.check_shape();
    }

    /// What the trie's header promises about nodes and links.
    fn check_shape(&self) {
        let trie = &self.trie;
        let (mut seen, mut label_bytes, mut open) = (0, 0, vec![NONE]);
        while let Some(parent) = open.pop() {
            let mut prev = NONE;
            for id in trie.children(parent) {
                let node = &trie.nodes[id];
                let branches = trie.children(id).count() > 1;
                assert!(branches || node.value != FilterTrie::NO_VALUE);
                assert_eq!((node.parent, node.prev_sibling), (parent, prev));
                assert_eq!(trie.child(parent, split_first(&node.label).0), Some(id));
                if node.label.is_heap_allocated() {
                    label_bytes += node.label.capacity();
                }
                seen += 1;
                prev = id;
                open.push(id);
            }
        }
        assert_eq!((seen, trie.index.len()), (trie.node_count(), seen));
        assert_eq!(label_bytes, trie.label_heap_bytes);
    }

    /// The values for which `suits` holds, found one by one.
    fn values(&self, suits: impl Fn(TopicFilter<'_>) -> bool) -> Vec<u32> {
        let suiting = self.filters.iter().filter(|(text, _)| suits(filter(text)));
        let mut values = suiting.map(|(_, &(_, value))| value).collect::<Vec<_>>();
        values.sort_unstable();
        values
    }

    fn check_matching(&self, name: TopicName<'_>) {
        let mut visited = Vec::new();
        self.trie.matching(name, |value| visited.push(value));
        visited.sort_unstable();
        assert_eq!(visited, self.values(|filter| filter.matches(name)));
    }

    fn check_overlapping(&self, query: TopicFilter<'_>) {
        let mut visited = Vec::new();
        // As many steps as there are nodes must always do.
        let mut steps = u32::try_from(self.trie.node_count()).unwrap();
        let walked = self
            .trie
            .overlapping(query, &mut steps, |value| visited.push(value));
        assert_eq!(walked, Ok(()));
        visited.sort_unstable();
        assert_eq!(visited, self.values(|filter| filter.overlaps(query)));
    }
}

proptest! {
    #[test]
    fn a_trie_agrees_with_a_plain_list_after_any_history(
        ops in prop::collection::vec((prop::bool::weighted(0.6), filters()), 1..60),
        names in prop::collection::vec(names(), 1..12),
        queries in prop::collection::vec(filters(), 1..12),
    ) {
        let mut pair = Pair::default();
        for (insert, text) in &ops {
            if *insert {
                pair.insert(text);
            } else {
                pair.release(text);
            }
            pair.check();
        }
        names.iter().for_each(|text| pair.check_matching(name(text)));
        queries.iter().for_each(|text| pair.check_overlapping(filter(text)));
    }

    #[test]
    fn a_trie_whose_filters_are_all_released_holds_no_memory(
        texts in prop::collection::btree_set(filters(), 0..40),
        order in any::<prop::sample::Index>(),
    ) {
        let mut pair = Pair::with(&texts);
        let mut texts = texts.into_iter().collect::<Vec<_>>();
        let turn = order.index(texts.len().max(1));
        texts.rotate_left(turn);
        for text in &texts {
            pair.release(text);
            pair.check();
        }
        prop_assert!(pair.trie.is_empty());
        prop_assert_eq!(pair.trie.heap_bytes(), 0);
    }
}

#[test]
fn a_node_takes_48_bytes() {
    assert_eq!(size_of::<Option<Node>>(), 48);
}

#[test]
fn an_exact_filter_is_one_node() {
    let pair = Pair::with(["dev/77/cmd"]);
    assert_eq!(pair.trie.node_count(), 1);
}

#[test]
fn splitting_and_merging_keep_node_ids() {
    let mut pair = Pair::with(["a/b/c/d"]);
    pair.insert("a/b/x");
    assert_eq!(pair.trie.node_count(), 3);
    pair.check();
    pair.insert("a/b");
    assert_eq!(pair.trie.node_count(), 3);
    pair.check();
    pair.release("a/b/x");
    assert_eq!(pair.trie.node_count(), 2);
    pair.check();
    pair.release("a/b");
    assert_eq!(pair.trie.node_count(), 1);
    pair.check();
}

#[test]
fn splits_and_merges_keep_a_large_index_right() {
    let texts = |last: &'static str| (0..3000).map(move |n| format!("dev/{n}/{last}"));
    let mut pair = Pair::with(texts("cmd"));
    texts("+").for_each(|text| pair.insert(&text));
    pair.check();
    assert_eq!(pair.trie.node_count(), 9001);
    texts("cmd").for_each(|text| pair.release(&text));
    pair.check();
    assert_eq!(pair.trie.node_count(), 3001);
    pair.check_matching(name("dev/77/cmd"));
    pair.check_overlapping(filter("dev/+/x"));
}

#[test]
fn a_branching_node_is_no_filter() {
    let pair = Pair::with(["a/b", "a/c"]);
    assert_eq!(pair.trie.get(filter("a")), None);
    assert_eq!(pair.trie.get(filter("a/b/c")), None);
    assert_eq!(pair.trie.get(filter("x")), None);
}

#[test]
fn a_fresh_node_can_be_released_without_a_value() {
    let mut pair = Pair::with(["a/b", "a/c"]);
    for text in ["a", "a/b/c", "a/d", "x"] {
        let node = pair.trie.entry(filter(text));
        pair.trie.release(node);
        pair.check();
    }
}

#[test]
fn shares_lie_under_their_filter() {
    let mut pair = Pair::with(["a/+"]);
    let node = pair.trie.entry(filter("$share/g/a/+"));
    assert_eq!(pair.filters["a/+"].0, node);
    assert_eq!(pair.trie.get(filter("$share/h/a/+")), Some(node));
    pair.insert("a/b");
    pair.check_overlapping(filter("$share/g/a/b"));
}

#[test]
fn empty_levels_are_kept_apart() {
    let texts = [
        "/", "//", "/a", "a/", "a", "a//b", "/a/b", "//a", "/#", "//#", "+", "/+",
    ];
    let pair = Pair::with(texts);
    pair.check();
    for text in ["/", "//", "///", "/a", "a/", "a", "a//b", "/a/b", "//a"] {
        pair.check_matching(name(text));
    }
    texts
        .iter()
        .for_each(|text| pair.check_overlapping(filter(text)));
}

#[test]
fn a_hash_inside_a_label_matches_its_parent() {
    for texts in [vec!["a/b/#"], vec!["a/b/#", "a/c"], vec!["a/b/#", "a/b/c"]] {
        let pair = Pair::with(texts);
        for text in ["a", "a/b", "a/b/c", "a/b/c/d", "a/c", "b"] {
            pair.check_matching(name(text));
            pair.check_overlapping(filter(text));
        }
    }
}

/// All 1024 filters of ten levels that are `+` or the literal of their depth.
fn plus_or_literal() -> BTreeSet<String> {
    let level = |bits: u32, depth: u32| match bits >> depth & 1 {
        0 => "+".to_owned(),
        _ => format!("l{depth}"),
    };
    let text = |bits| {
        (0..10)
            .map(|depth| level(bits, depth))
            .collect::<Vec<_>>()
            .join("/")
    };
    (0..1024).map(text).collect()
}

#[test]
fn many_wildcards_do_not_make_a_walk_longer_than_the_trie() {
    let mut pair = Pair::with(plus_or_literal());
    pair.check();
    assert_eq!(pair.trie.node_count(), 2046);
    let all_literals = "l0/l1/l2/l3/l4/l5/l6/l7/l8/l9";
    pair.check_matching(name(all_literals));
    // These check that as many steps as nodes are enough.
    for query in [
        all_literals,
        "#",
        "+/+/+/+/+/+/+/+/+/+",
        "+/l1/#",
        "l0/+/+/+",
    ] {
        pair.check_overlapping(filter(query));
    }
    let deep = format!("{all_literals}{}", "/x".repeat(30_000));
    pair.check_matching(name(&deep));
    pair.insert("+/l1/#");
    pair.check_matching(name(&deep));
    pair.check_overlapping(filter(&deep));
}

#[test]
fn a_spent_budget_stops_the_walk() {
    let pair = Pair::with(["a/1", "a/2", "a/3", "b"]);
    let walk = |budget: u32| {
        let (mut steps, mut visited) = (budget, 0);
        let walked = pair
            .trie
            .overlapping(filter("a/+"), &mut steps, |_| visited += 1);
        (walked, steps, visited)
    };
    // The node `a` and its three children; `b` is not looked at below a literal level.
    assert_eq!(walk(10), (Ok(()), 6, 3));
    assert_eq!(walk(4), (Ok(()), 0, 3));
    assert_eq!(walk(3), (Err(BudgetSpent), 0, 2));
    assert_eq!(walk(0), (Err(BudgetSpent), 0, 0));
}
