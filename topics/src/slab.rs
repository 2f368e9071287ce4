//! Numbered slots whose growth never copies more than one chunk.
//!
//! A `Vec` of a million entries copies them all when it grows, which is a pause of milliseconds
//! for whoever inserts. [`ChunkedSlab`] keeps chunks of [`CHUNK_SLOTS`] slots instead. The first
//! chunk grows like a `Vec`, so that a small slab is small; later ones are allocated whole, and
//! from then on nothing moves. A chunk that has become vacant gives its memory back.

use std::ops::{Index, IndexMut};

/// How many slots a chunk has.
pub const CHUNK_SLOTS: usize = 1024;

/// Values under numbers that it hands out; the number of a removed value is used again.
#[derive(Debug)]
pub struct ChunkedSlab<T> {
    chunks: Vec<Chunk<T>>,
    /// The chunks with room, each once; the last one gets the next value.
    roomy: Vec<u32>,
    len: usize,
}

impl<T> ChunkedSlab<T> {
    /// An empty slab, which holds no memory.
    pub const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            roomy: Vec::new(),
            len: 0,
        }
    }

    /// Stores `value` and returns its number, which stays the same until it is removed.
    ///
    /// # Panics
    ///
    /// When all 2^32 numbers are taken.
    pub fn insert(&mut self, value: T) -> u32 {
        let number = match self.roomy.last() {
            Some(&number) => number,
            None => self.add_chunk(),
        };
        let chunk = &mut self.chunks[number as usize];
        let offset = chunk.insert(value, number == 0);
        if !chunk.has_room() {
            self.roomy.pop();
        }
        self.len += 1;
        number * CHUNK_SLOTS as u32 + u32::from(offset)
    }

    /// Takes the value out of its slot.
    ///
    /// # Panics
    ///
    /// When there is no value under this number.
    pub fn remove(&mut self, number: u32) -> T {
        let (chunk_number, offset) = place(number);
        let chunk = &mut self.chunks[chunk_number];
        let had_room = chunk.has_room();
        let value = chunk.remove(offset);
        if !had_room {
            self.roomy.push(number / CHUNK_SLOTS as u32);
        }
        self.len -= 1;
        if self.len == 0 {
            *self = Self::new();
        }
        value
    }

    /// The value under this number, if there is one.
    pub fn get(&self, number: u32) -> Option<&T> {
        let (chunk, offset) = place(number);
        self.chunks.get(chunk)?.slots.get(offset)?.as_ref()
    }

    /// The value under this number, if there is one, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (chunk, offset) = place(number);
        self.chunks.get_mut(chunk)?.slots.get_mut(offset)?.as_mut()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes allocated for the slots and their administration, not what values allocate.
    pub fn heap_bytes(&self) -> usize {
        let chunks = self.chunks.capacity() * size_of::<Chunk<T>>();
        let roomy = self.roomy.capacity() * size_of::<u32>();
        chunks + roomy + self.chunks.iter().map(Chunk::heap_bytes).sum::<usize>()
    }

    fn add_chunk(&mut self) -> u32 {
        let number = self.chunks.len();
        assert!(number <= u32::MAX as usize / CHUNK_SLOTS, "slab is full");
        if number == 0 {
            // Most slabs are small and never need a second chunk.
            self.chunks.reserve_exact(1);
        }
        self.chunks.push(Chunk::default());
        let number = u32::try_from(number).expect("checked above");
        self.roomy.push(number);
        number
    }
}

impl<T> Default for ChunkedSlab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Index<u32> for ChunkedSlab<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        self.get(number).expect("the slot is taken")
    }
}

impl<T> IndexMut<u32> for ChunkedSlab<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.get_mut(number).expect("the slot is taken")
    }
}

/// The chunk of a number, and the slot in it.
fn place(number: u32) -> (usize, usize) {
    let number = number as usize;
    (number / CHUNK_SLOTS, number % CHUNK_SLOTS)
}

#[derive(Debug)]
struct Chunk<T> {
    slots: Vec<Option<T>>,
    /// The vacant ones among `slots`.
    free: Vec<u16>,
}

impl<T> Chunk<T> {
    fn has_room(&self) -> bool {
        !self.free.is_empty() || self.slots.len() < CHUNK_SLOTS
    }

    /// Stores `value` in a vacant slot, of which there must be one.
    fn insert(&mut self, value: T, is_first: bool) -> u16 {
        if let Some(offset) = self.free.pop() {
            self.slots[usize::from(offset)] = Some(value);
            return offset;
        }
        if self.slots.capacity() == 0 && !is_first {
            self.slots.reserve_exact(CHUNK_SLOTS);
        }
        self.slots.push(Some(value));
        u16::try_from(self.slots.len() - 1).expect("a chunk has 1024 slots")
    }

    fn remove(&mut self, offset: usize) -> T {
        let value = self.slots[offset].take().expect("the slot is taken");
        self.free
            .push(u16::try_from(offset).expect("a chunk has 1024 slots"));
        if self.free.len() == self.slots.len() {
            *self = Self::default();
        }
        value
    }

    fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Option<T>>() + self.free.capacity() * size_of::<u16>()
    }
}

impl<T> Default for Chunk<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        /// Removes the value at this position among those present.
        Remove(prop::sample::Index),
        /// Many at once, so that chunks fill up.
        InsertMany(u16),
        RemoveMany(u16),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            any::<u64>().prop_map(Op::Insert),
            any::<prop::sample::Index>().prop_map(Op::Remove),
            (0u16..1500).prop_map(Op::InsertMany),
            (0u16..1500).prop_map(Op::RemoveMany),
        ]
    }

    fn apply(op: Op, slab: &mut ChunkedSlab<u64>, model: &mut HashMap<u32, u64>) {
        let mut insert = |value| {
            let number = slab.insert(value);
            assert_eq!(model.insert(number, value), None, "the number was free");
        };
        match op {
            Op::Insert(value) => return insert(value),
            Op::InsertMany(count) => return (0..u64::from(count)).for_each(insert),
            Op::Remove(_) | Op::RemoveMany(_) => {}
        }
        let mut numbers = model.keys().copied().collect::<Vec<_>>();
        numbers.sort_unstable();
        if let Op::Remove(index) = op
            && !numbers.is_empty()
        {
            numbers = vec![*index.get(&numbers)];
        } else if let Op::RemoveMany(count) = op {
            numbers.truncate(usize::from(count));
        }
        for number in numbers {
            assert_eq!(Some(slab.remove(number)), model.remove(&number));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_slab_behaves_like_a_map(ops in prop::collection::vec(op(), 0..24)) {
            let (mut slab, mut model) = (ChunkedSlab::new(), HashMap::new());
            for op in ops {
                apply(op, &mut slab, &mut model);
                prop_assert_eq!(slab.len(), model.len());
                for number in 0..5000 {
                    prop_assert_eq!(slab.get(number), model.get(&number));
                }
            }
        }
    }

    #[test]
    fn numbers_are_used_again() {
        let mut slab = ChunkedSlab::new();
        let numbers = (0..3000).map(|n| slab.insert(n)).collect::<Vec<_>>();
        assert_eq!(numbers, (0..3000).collect::<Vec<_>>());
        slab.remove(1500);
        slab.remove(7);
        let mut again = [slab.insert(0), slab.insert(0)];
        again.sort_unstable();
        assert_eq!(again, [7, 1500]);
        assert_eq!(slab.insert(0), 3000);
    }

    #[test]
    fn slots_do_not_move_once_the_first_chunk_is_full() {
        let mut slab = ChunkedSlab::new();
        let addresses = |slab: &ChunkedSlab<usize>, range: std::ops::Range<u32>| {
            range
                .map(|number| std::ptr::from_ref(&slab[number]).addr())
                .collect::<Vec<_>>()
        };
        let slots = CHUNK_SLOTS as u32;
        (0..=CHUNK_SLOTS).for_each(|n| _ = slab.insert(n));
        let before = addresses(&slab, 0..slots + 1);
        (0..10 * CHUNK_SLOTS).for_each(|n| _ = slab.insert(n));
        assert_eq!(addresses(&slab, 0..slots + 1), before);
    }

    #[test]
    fn a_small_slab_is_small() {
        let mut slab = ChunkedSlab::new();
        assert_eq!(slab.heap_bytes(), 0);
        slab.insert(0u64);
        assert!(slab.heap_bytes() < 200, "{}", slab.heap_bytes());
    }

    #[test]
    fn vacant_chunks_give_their_memory_back() {
        let mut slab = ChunkedSlab::new();
        (0..100 * CHUNK_SLOTS).for_each(|n| _ = slab.insert(n));
        let full = slab.heap_bytes();
        assert!(!slab.is_empty());
        assert!(full >= 100 * CHUNK_SLOTS * size_of::<Option<usize>>());
        (1..100 * CHUNK_SLOTS as u32).for_each(|number| _ = slab.remove(number));
        assert!(slab.heap_bytes() < full / 20, "{}", slab.heap_bytes());
        slab.remove(0);
        assert_eq!(slab.heap_bytes(), 0);
    }
}
