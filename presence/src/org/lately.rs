//! Who has subscribed lately: for queries that gather subscribers in pieces. A session that exchanges
//! one subscription for another meanwhile qualifies all the time, and might stand in no list when the
//! query comes to it.
//!
//! Noted only after somebody has asked, and for so many subscriptions more: else it costs a counter.

use std::collections::VecDeque;

/// Subscribers that are noted at most, the last ones.
const NOTED_MAX: usize = if cfg!(test) { 8 } else { 16_384 };

/// The users of the last new subscriptions.
#[derive(Default)]
pub(crate) struct Lately {
    /// New subscriptions ever.
    count: u64,
    /// How many there had been when somebody asked last; `None` if that is long ago.
    asked_at: Option<u64>,
    users: VecDeque<u32>,
}

impl Lately {
    /// A user has a new subscription.
    pub(super) fn note(&mut self, user: u32) {
        self.count += 1;
        let Some(asked_at) = self.asked_at else {
            return;
        };
        if self.count - asked_at > NOTED_MAX as u64 {
            self.asked_at = None;
            self.users = VecDeque::new();
            return;
        }
        if self.users.len() == NOTED_MAX {
            self.users.pop_front();
        }
        self.users.push_back(user);
    }

    /// From now on subscribers are noted. Answers what to ask [`since`](Self::since) with.
    pub(crate) fn begin(&mut self) -> u64 {
        self.asked_at = Some(self.count);
        self.count
    }

    /// The users who have subscribed since then, some more than once; `None` if there were too many.
    pub(crate) fn since(&self, begin: u64) -> Option<impl Iterator<Item = u32>> {
        let wanted = usize::try_from(self.count - begin).ok()?;
        let first = self.users.len().checked_sub(wanted)?;
        Some(self.users.iter().skip(first).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribers_are_noted_while_somebody_may_ask() {
        let mut lately = Lately::default();
        let since = |lately: &Lately, begin| lately.since(begin).map(Iterator::collect::<Vec<_>>);
        lately.note(1);
        let first = lately.begin();
        assert_eq!(since(&lately, first), Some(vec![]));
        (2..6).for_each(|user| lately.note(user));
        let second = lately.begin();
        (6..10).for_each(|user| lately.note(user));
        assert_eq!(since(&lately, first), Some((2..10).collect()));
        assert_eq!(since(&lately, second), Some((6..10).collect()));
        lately.note(10);
        assert_eq!(since(&lately, first), None, "too many");
        assert_eq!(since(&lately, second), Some((6..11).collect()));
        (11..20).for_each(|user| lately.note(user));
        assert_eq!(since(&lately, second), None);
        assert!(lately.users.is_empty(), "nobody has asked for long");
        let third = lately.begin();
        lately.note(20);
        assert_eq!(since(&lately, third), Some(vec![20]));
        assert_eq!(since(&lately, second), None);
    }
}
