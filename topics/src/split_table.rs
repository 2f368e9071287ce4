//! A hash table of numbers whose growth never rehashes more than one shard.
//!
//! An ordinary hash table of a million entries rehashes them all when it grows, which is a pause
//! of many milliseconds for whoever inserts. [`SplitTable`] grows by linear hashing: its entries
//! lie in shards of about [`SHARD_ENTRIES`], and when there are more than that per shard, the
//! next shard in turn is split in two.
//!
//! The table holds ids only; the caller brings hashes and compares the keys, which live
//! elsewhere. With keys that strangers choose, the hash must be keyed with a secret.
//!
//! Entries have an order that splits never change: by their position, which is
//! `hash.reverse_bits()`. Every shard is one range of positions, because shards go by the low
//! bits of the hash. [`SplitTable::shard_from`] walks along it, shard by shard, and the table may
//! change between two steps.

use hashbrown::HashTable;

/// The mean number of entries per shard at which a shard is split.
///
/// Shards then hold 400 to 800 entries: a split looks at no more than about 800 keys, which is what
/// bounds the time of an insert. Just under 896, where hashbrown's own table would double.
pub const SHARD_ENTRIES: usize = 400;

/// A set of `u32` ids with hashes and equality supplied by the caller.
#[derive(Debug, Default)]
pub struct SplitTable {
    /// None at all while the table is empty.
    shards: Vec<HashTable<u32>>,
    len: usize,
}

impl SplitTable {
    /// An empty table, which holds no memory.
    pub const fn new() -> Self {
        Self {
            shards: Vec::new(),
            len: 0,
        }
    }

    /// The id with this hash for which `eq` holds.
    pub fn find(&self, hash: u64, mut eq: impl FnMut(u32) -> bool) -> Option<u32> {
        let (shard, _) = self.address(hash);
        let table = self.shards.get(shard)?;
        table.find(spread(hash), |&id| eq(id)).copied()
    }

    /// Adds `id` under `hash`. An equal entry must not be there already.
    ///
    /// `hasher` gives the hash of any id in the table; it is asked when a shard grows or splits.
    pub fn insert(&mut self, hash: u64, id: u32, hasher: impl Fn(u32) -> u64) {
        if self.shards.is_empty() {
            // Most tables are small and never need a second shard.
            self.shards.reserve_exact(1);
            self.shards.push(HashTable::new());
        }
        let (shard, _) = self.address(hash);
        self.shards[shard].insert_unique(spread(hash), id, |&id| spread(hasher(id)));
        self.len += 1;
        if self.len > self.shards.len() * SHARD_ENTRIES {
            self.split(hasher);
        }
    }

    /// Takes out the id with this hash for which `eq` holds.
    ///
    /// A shard that has become empty gives its memory back.
    pub fn remove(&mut self, hash: u64, mut eq: impl FnMut(u32) -> bool) -> Option<u32> {
        let (shard, _) = self.address(hash);
        let table = self.shards.get_mut(shard)?;
        let entry = table.find_entry(spread(hash), |&id| eq(id)).ok()?;
        let (id, _) = entry.remove();
        if table.is_empty() {
            *table = HashTable::new();
        }
        self.len -= 1;
        if self.len == 0 {
            self.shards = Vec::new();
        }
        Some(id)
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes allocated.
    pub fn heap_bytes(&self) -> usize {
        let shards = self.shards.iter().map(HashTable::allocation_size);
        self.shards.capacity() * size_of::<HashTable<u32>>() + shards.sum::<usize>()
    }

    /// One step of an ordered walk: calls `each` with every id of the shard that holds `position`,
    /// in no order, and returns the position at which the next shard begins, `None` after the
    /// last.
    ///
    /// A walk begins at 0 and goes on at the position returned. The table may change in between,
    /// and the shard then found may begin before `position`: the caller must drop the ids whose
    /// `hash.reverse_bits()` is less. Sorted by it, the ids of the whole walk are in order, and
    /// one that is in the table throughout comes exactly once.
    pub fn shard_from(&self, position: u64, mut each: impl FnMut(u32)) -> Option<u64> {
        let (shard, bits) = self.address(position.reverse_bits());
        let table = self.shards.get(shard)?;
        table.iter().for_each(|&id| each(id));
        // The high `bits` of a position name the shard.
        let width = 1u64.checked_shl(u64::BITS - bits)?;
        (position & !(width - 1)).checked_add(width)
    }

    /// The shard of a hash, and how many of the low bits of the hash decide that.
    fn address(&self, hash: u64) -> (usize, u32) {
        let (round, split_count) = self.round();
        let low = hash & ((1 << round) - 1);
        if low < split_count {
            ((hash & ((2 << round) - 1)) as usize, round + 1)
        } else {
            (low as usize, round)
        }
    }

    /// The table began this round of splits with 2^`.0` shards, and `.1` of them are split by now.
    fn round(&self) -> (u32, u64) {
        let shards = self.shards.len().max(1) as u64;
        let round = shards.ilog2();
        (round, shards - (1 << round))
    }

    /// Splits the next shard in turn: the entries with the next bit set go to a new last shard.
    fn split(&mut self, hasher: impl Fn(u32) -> u64) {
        let (round, split_count) = self.round();
        let source = split_count as usize;
        let old = std::mem::take(&mut self.shards[source]);
        // Each hash is computed once: it costs a look at the key, far away in memory.
        let hashed = old.into_iter().map(|id| (hasher(id), id));
        let (upper, lower): (Vec<_>, Vec<_>) =
            hashed.partition(|(hash, _)| hash & (1 << round) != 0);
        self.shards[source] = shard_of(&lower, &hasher);
        self.shards.push(shard_of(&upper, &hasher));
    }
}

fn shard_of(hashed: &[(u64, u32)], hasher: impl Fn(u32) -> u64) -> HashTable<u32> {
    let mut table = HashTable::with_capacity(hashed.len());
    for &(hash, id) in hashed {
        table.insert_unique(spread(hash), id, |&id| spread(hasher(id)));
    }
    table
}

/// The hash within a shard, where the low bits are all the same: hashbrown takes the bucket from
/// the low bits and a tag from the top 7, so both must come from others.
fn spread(hash: u64) -> u64 {
    hash.rotate_right(32)
}

#[cfg(test)]
mod tests;
