//! Gathers the users whose subscriptions overlap a filter, in pieces.
//!
//! First the overlapping filters, under one lock: they may not be more than a budget of steps in
//! the trie. Then the subscribers of each filter, some thousand at a time. Between two pieces the
//! lists change; the walk goes on from the last subscription it saw that is still there, or from
//! the list's beginning. New subscriptions enter at the front, so nobody who stays is missed, and
//! who is found twice is one candidate all the same. Nobody is *believed*: whether a session
//! qualifies is asked again when its row is visited.

use topics::{NodeId, TopicFilter};

use super::Candidate;
use crate::org::State;

/// Most nodes of the trie visited for one filter, under one lock. Beyond it, everybody is looked
/// at: an answer that large is not much smaller than everybody.
const TRIE_STEPS_MAX: u32 = 16_384;

/// Most subscriptions walked under one lock.
const SUBSCRIPTIONS_PER_PIECE_MAX: usize = 4_096;

/// Gathering under way.
#[derive(Default)]
pub(super) struct Gather {
    /// Filters whose subscribers are still to be walked; `None` until they are found.
    filters: Option<Vec<NodeId>>,
    /// Where the walk through the last of them can go on, the newest last.
    seen: Vec<Mark>,
    found: Vec<Candidate>,
}

/// A subscription that was walked past, and how to know it again.
struct Mark {
    slot: u32,
    serial: u64,
}

/// What one piece of gathering came to.
pub(super) enum Step {
    More,
    /// Looking at everybody is cheaper.
    TooMany,
    Done(Vec<Candidate>),
}

impl Gather {
    pub(super) fn step(&mut self, state: &State, filter: TopicFilter<'_>) -> Step {
        let Some(filters) = &mut self.filters else {
            return self.find_filters(state, filter);
        };
        let mut left = SUBSCRIPTIONS_PER_PIECE_MAX;
        while let Some(node) = filters.last().copied() {
            let start = resume(state, node, &mut self.seen);
            if !walk(state, start, &mut left, &mut self.seen, &mut self.found) {
                break;
            }
            filters.pop();
            self.seen.clear();
        }
        if self.found.len() > state.users.len() / 4 + SUBSCRIPTIONS_PER_PIECE_MAX {
            return Step::TooMany;
        }
        if filters.is_empty() {
            return Step::Done(std::mem::take(&mut self.found));
        }
        Step::More
    }

    fn find_filters(&mut self, state: &State, filter: TopicFilter<'_>) -> Step {
        let mut nodes = Vec::new();
        let mut steps = TRIE_STEPS_MAX;
        let walked = state.filters.overlapping(filter, &mut steps, |first| {
            nodes.push(state.subscriptions[first].filter);
        });
        if walked.is_err() {
            return Step::TooMany;
        }
        self.filters = Some(nodes);
        Step::More
    }
}

/// The first subscription of the filter that is still to be walked.
fn resume(state: &State, node: NodeId, seen: &mut Vec<Mark>) -> u32 {
    while let Some(mark) = seen.last() {
        if let Some(subscription) = state.subscriptions.get(mark.slot)
            && subscription.filter == node
            && state.sessions[subscription.session].serial == mark.serial
        {
            return subscription.next_of_filter;
        }
        seen.pop();
    }
    // A node that nobody uses any more has no list, and one used again has another filter's, which
    // does no harm.
    state.filters.value(node)
}

/// Walks on through a filter's subscriptions. Answers whether it came to the end.
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
            });
            return false;
        }
        next = subscription.next_of_filter;
    }
    true
}
