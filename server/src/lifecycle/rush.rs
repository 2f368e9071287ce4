//! Whether the next commit waits a moment, so that more share it.
//!
//! A commit costs much the same for one fact as for a hundred, and each wakes the event loops and the
//! follower. Who comes alone never waits: only when the last commit held many facts, and the next
//! would hold fewer, is it worth a moment.

use std::time::Duration;

/// So many facts in one commit are a rush.
const RUSH_FACTS: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Rush {
    moment: Duration,
    /// Facts of the last commit.
    last: usize,
}

impl Rush {
    /// `moment`: how long a commit waits at most. Zero: never.
    pub(super) fn new(moment: Duration) -> Self {
        Self { moment, last: 0 }
    }

    /// A commit of so many facts was made.
    pub(super) fn note(&mut self, facts: usize) {
        self.last = facts;
    }

    /// How long to wait when `waiting` requests have come since the last commit.
    pub(super) fn moment(&self, waiting: usize) -> Option<Duration> {
        let is_rush = self.last >= RUSH_FACTS && waiting < self.last;
        (is_rush && !self.moment.is_zero()).then_some(self.moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_micros(500);

    fn after(facts: usize) -> Rush {
        let mut rush = Rush::new(MOMENT);
        rush.note(facts);
        rush
    }

    #[test]
    fn who_comes_alone_never_waits() {
        assert_eq!(Rush::new(MOMENT).moment(1), None);
        assert_eq!(after(1).moment(1), None);
        assert_eq!(after(RUSH_FACTS - 1).moment(1), None);
    }

    #[test]
    fn in_a_rush_a_commit_waits_for_more() {
        assert_eq!(after(RUSH_FACTS).moment(1), Some(MOMENT));
    }

    #[test]
    fn as_many_as_the_last_time_are_enough() {
        assert_eq!(after(100).moment(99), Some(MOMENT));
        assert_eq!(after(100).moment(100), None);
    }

    #[test]
    fn the_first_small_commit_ends_the_rush() {
        let mut rush = after(100);
        rush.note(3);
        assert_eq!(rush.moment(1), None);
    }

    #[test]
    fn a_moment_of_nothing_turns_it_off() {
        let mut rush = Rush::new(Duration::ZERO);
        rush.note(1_000);
        assert_eq!(rush.moment(1), None);
    }
}
