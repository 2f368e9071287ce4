//! Pairs of events that must be read together after a restart: an ending that was held back and the
//! return that took it back. Kept as intervals in which a restart must not begin; those that overlap
//! become one, so that their number stays small however often somebody flaps.

use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Bonds {
    /// First position of each interval, and the last. They do not overlap.
    intervals: BTreeMap<u64, u64>,
}

impl Bonds {
    /// Binds the events at `first` and `last`, which is the later one.
    pub(super) fn add(&mut self, mut first: u64, mut last: u64) {
        while let Some((start, end)) = self.overlapping(first, last) {
            self.intervals.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.intervals.insert(first, last);
    }

    fn overlapping(&self, first: u64, last: u64) -> Option<(u64, u64)> {
        let (start, end) = self.intervals.range(..=last).next_back()?;
        (*end >= first).then_some((*start, *end))
    }

    /// The highest position, at most `settled`, after which a restart may begin. Forgets what lies
    /// before it.
    pub(super) fn before(&mut self, settled: u64) -> u64 {
        let before = match self.intervals.range(..=settled).next_back() {
            Some((first, last)) if *last > settled => first - 1,
            _ => settled,
        };
        self.intervals.retain(|_, last| *last > before);
        before
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::Bonds;

    #[test]
    fn a_restart_begins_before_both_or_after_both() {
        let mut bonds = Bonds::default();
        bonds.add(10, 20);
        for (settled, expected) in [(9, 9), (10, 9), (15, 9), (19, 9), (20, 20), (25, 25)] {
            let mut bonds_now = Bonds {
                intervals: bonds.intervals.clone(),
            };
            assert_eq!(
                bonds_now.before(settled),
                expected,
                "settled up to {settled}"
            );
        }
    }

    proptest! {
        #[test]
        fn intervals_say_the_same_as_all_pairs(
            pairs in vec((1u64..60, 1u64..20), 0..20),
            settled in 0u64..90,
        ) {
            let mut bonds = Bonds::default();
            for (first, length) in &pairs {
                bonds.add(*first, first + length);
            }
            let mut expected = settled;
            while let Some((first, _)) = pairs
                .iter()
                .find(|(first, length)| *first <= expected && expected < first + length)
            {
                expected = first - 1;
            }
            prop_assert_eq!(bonds.before(settled), expected);
        }
    }
}
