//! Gathers the users whose subscriptions overlap a filter, in pieces.
//!
//! First the overlapping filters, under one lock: they may not be more than a budget of steps in
//! the tries, share groups counted like filters. Then the subscribers of each, some thousand at a time. Between two pieces the
//! lists change; the walk goes on from the last subscription it saw that is still in its place, or
//! from the list's beginning. New subscriptions enter at the front, and members of share groups that
//! are found gone move towards the end, so nobody who stays is missed, and
//! who is found twice is one candidate all the same. Those who have subscribed meanwhile are candidates,
//! too: they may have left a list before the walk came to it. Nobody is *believed*: whether a session
//! qualifies is asked again when its row is visited.

use topics::TopicFilter;

use super::Candidate;
use crate::org::{List, Session, State};

/// Most nodes of the trie visited for one filter, under one lock. Beyond it, everybody is looked
/// at: an answer that large is not much smaller than everybody.
const TRIE_STEPS_MAX: u32 = 16_384;

/// Most subscriptions walked under one lock.
const SUBSCRIPTIONS_PER_PIECE_MAX: usize = if cfg!(test) { 3 } else { 4_096 };

/// Candidates that are worth gathering, however few users there are.
const FEW: usize = 4_096;

/// Gathering under way.
#[derive(Default)]
pub(super) struct Gather {
    /// Filters and groups whose subscribers are still to be walked; `None` until they are found.
    lists: Option<Vec<List>>,
    /// When those were found, see `Lately`.
    began: u64,
    /// Where the walk through the last of them can go on, the newest last.
    seen: Vec<Mark>,
    found: Vec<Candidate>,
}

/// A subscription that was walked past, and how to know it again.
struct Mark {
    slot: u32,
    serial: u64,
    was_gone: bool,
}

impl Mark {
    fn is_of(&self, session: &Session) -> bool {
        session.serial == self.serial && session.is_gone() == self.was_gone
    }
}

/// What one piece of gathering came to.
pub(super) enum Step {
    More,
    /// Looking at everybody is cheaper.
    TooMany,
    Done(Vec<Candidate>),
}

impl Gather {
    pub(super) fn step(&mut self, state: &mut State, filter: TopicFilter<'_>) -> Step {
        let Some(lists) = &mut self.lists else {
            return self.find_lists(state, filter);
        };
        let mut left = SUBSCRIPTIONS_PER_PIECE_MAX;
        while let Some(list) = lists.last().copied() {
            let start = resume(state, list, &mut self.seen);
            if !walk(state, start, &mut left, &mut self.seen, &mut self.found) {
                break;
            }
            lists.pop();
            self.seen.clear();
        }
        if self.found.len() > state.users.len() / 4 + FEW {
            return Step::TooMany;
        }
        if !lists.is_empty() {
            return Step::More;
        }
        let Some(lately) = state.lately.since(self.began) else {
            return Step::TooMany;
        };
        let mut found = std::mem::take(&mut self.found);
        found.extend(lately.filter_map(|slot| {
            let user = state.users.get(slot)?;
            Some((state.listing_key(&user.name), slot))
        }));
        Step::Done(found)
    }

    fn find_lists(&mut self, state: &mut State, filter: TopicFilter<'_>) -> Step {
        self.began = state.lately.begin();
        let mut lists = Vec::new();
        let mut steps = TRIE_STEPS_MAX;
        let walked = state.filters.overlapping(filter, &mut steps, |first| {
            lists.push(state.details_of(&state.subscriptions[first]).0);
        });
        let shares = &state.shares;
        let walked = walked.and_then(|()| {
            shares.overlapping(filter, &mut steps, |group| lists.push(List::Group(group)))
        });
        if walked.is_err() {
            return Step::TooMany;
        }
        self.lists = Some(lists);
        Step::More
    }
}

/// The first subscription of the list that is still to be walked.
fn resume(state: &State, list: List, seen: &mut Vec<Mark>) -> u32 {
    while let Some(mark) = seen.last() {
        if let Some(subscription) = state.subscriptions.get(mark.slot)
            && state.details_of(subscription).0 == list
            && mark.is_of(&state.sessions[subscription.session])
        {
            return subscription.next_in_list;
        }
        seen.pop();
    }
    // A list that nobody stands in any more has no first, and one whose number is used again has
    // another's, which does no harm.
    state.first_of(list)
}

/// Walks on through a list of subscriptions. Answers whether it came to the end.
fn walk(
    state: &State,
    start: u32,
    left: &mut usize,
    seen: &mut Vec<Mark>,
    found: &mut Vec<Candidate>,
) -> bool {
    let mut next = start;
    while let Some(subscription) = state.subscriptions.get(next) {
        let session = &state.sessions[subscription.session];
        let name = &state.users[session.user].name;
        found.push((state.listing_key(name), session.user));
        *left -= 1;
        if *left == 0 {
            seen.push(Mark {
                slot: next,
                serial: session.serial,
                was_gone: session.is_gone(),
            });
            return false;
        }
        next = subscription.next_in_list;
    }
    true
}
