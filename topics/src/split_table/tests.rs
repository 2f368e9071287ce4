//! The table against a set, and the ordered walk while the table changes.

use std::collections::{BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;

/// A fixed mixing of bits (splitmix64), so that failures can be repeated.
fn hash(id: u32) -> u64 {
    let mut z = (u64::from(id) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn insert(table: &mut SplitTable, id: u32) {
    table.insert(hash(id), id, hash);
}

fn remove(table: &mut SplitTable, id: u32) -> Option<u32> {
    table.remove(hash(id), |found| found == id)
}

fn find(table: &SplitTable, id: u32) -> Option<u32> {
    table.find(hash(id), |found| found == id)
}

/// One step of the walk as callers take it: the ids of a shard from `position` on, in order.
fn step(table: &SplitTable, position: u64) -> (Vec<u32>, Option<u64>) {
    let mut keyed = Vec::new();
    let next = table.shard_from(position, |id| keyed.push((hash(id).reverse_bits(), id)));
    keyed.retain(|&(key, _)| key >= position);
    keyed.sort_unstable();
    (keyed.into_iter().map(|(_, id)| id).collect(), next)
}

/// The whole walk; `change` is called between two steps.
fn walk(table: &mut SplitTable, mut change: impl FnMut(&mut SplitTable)) -> Vec<u32> {
    let (mut seen, mut position) = (Vec::new(), Some(0));
    while let Some(at) = position {
        let (ids, next) = step(table, at);
        seen.extend(ids);
        position = next;
        change(table);
    }
    seen
}

/// A run of ids, put in or taken out.
fn run() -> impl Strategy<Value = (bool, std::ops::Range<u32>)> {
    let range = (0u32..6000, 1u32..3000).prop_map(|(start, count)| start..start + count);
    (any::<bool>(), range)
}

fn apply(
    table: &mut SplitTable,
    model: &mut HashSet<u32>,
    (add, ids): (bool, std::ops::Range<u32>),
) {
    for id in ids {
        if add && model.insert(id) {
            insert(table, id);
        } else if !add {
            assert_eq!(remove(table, id).is_some(), model.remove(&id));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_table_behaves_like_a_set(runs in prop::collection::vec(run(), 1..8)) {
        let (mut table, mut model) = (SplitTable::new(), HashSet::new());
        for run in runs {
            apply(&mut table, &mut model, run);
            prop_assert_eq!(table.len(), model.len());
            for id in 0..9100 {
                prop_assert_eq!(find(&table, id).is_some(), model.contains(&id));
            }
            let walked = walk(&mut table, |_| {});
            prop_assert_eq!(walked.len(), model.len());
            prop_assert_eq!(walked.into_iter().collect::<HashSet<_>>(), model.clone());
        }
    }

    #[test]
    fn a_walk_visits_what_stays_exactly_once_while_the_table_changes(
        start in 0u32..4000,
        stays in prop::collection::btree_set(100_000u32..110_000, 0..300),
        runs in prop::collection::vec(run(), 1..12),
    ) {
        let (mut table, mut model) = (SplitTable::new(), HashSet::new());
        apply(&mut table, &mut model, (true, 0..start));
        stays.iter().for_each(|&id| insert(&mut table, id));
        let mut runs = runs.into_iter();
        let seen = walk(&mut table, |table| {
            if let Some(run) = runs.next() {
                apply(table, &mut model, run);
            }
        });
        prop_assert!(seen.is_sorted_by_key(|&id| hash(id).reverse_bits()));
        let once = seen.iter().copied().collect::<BTreeSet<_>>();
        prop_assert_eq!(once.len(), seen.len());
        prop_assert!(stays.is_subset(&once));
    }
}

#[test]
fn shards_keep_to_their_size() {
    let mut table = SplitTable::new();
    (0..50_000).for_each(|id| insert(&mut table, id));
    assert_eq!(table.shards.len(), 50_000_usize.div_ceil(SHARD_ENTRIES));
    let largest = table.shards.iter().map(HashTable::len).max().unwrap();
    assert!(largest < 896, "{largest}");
    let bytes_per_id = table.heap_bytes() / table.len();
    assert!((4..10).contains(&bytes_per_id), "{bytes_per_id}");
    assert!(!table.is_empty());
}

#[test]
fn ids_with_one_hash_are_told_apart() {
    let mut table = SplitTable::new();
    (0..10).for_each(|id| table.insert(7, id, |_| 7));
    assert_eq!(table.find(7, |id| id == 4), Some(4));
    assert_eq!(table.remove(7, |id| id == 4), Some(4));
    assert_eq!(table.find(7, |id| id == 4), None);
    assert_eq!(table.len(), 9);
}

#[test]
fn an_emptied_table_holds_no_memory() {
    let mut table = SplitTable::new();
    assert_eq!(table.heap_bytes(), 0);
    (0..20_000).for_each(|id| insert(&mut table, id));
    (0..20_000).for_each(|id| _ = remove(&mut table, id));
    assert!(table.is_empty());
    assert_eq!(table.heap_bytes(), 0);
    assert_eq!(step(&table, 0), (vec![], None));
}

#[test]
fn a_small_table_is_small() {
    let mut table = SplitTable::new();
    insert(&mut table, 1);
    assert!(table.heap_bytes() < 100, "{}", table.heap_bytes());
}
