//! Queries: who is online, in which sessions, subscribed to what, read in short pieces.
//!
//! A [`Listing`] belongs to one request. Each call of [`Listing::next_piece`] takes the
//! organisation's lock once, does a bounded amount of work and lets go, so that a list of a million
//! sessions delays no change. Between two pieces anything may happen; what holds is:
//! - a row is true at the moment it is visited;
//! - a session that is online throughout is visited exactly once, and all rows of a user stand
//!   together, so that counting users needs no memory;
//! - a [`Position`] stays good while sessions come and go.
//!
//! The order is that of a keyed hash of the user's name, then that of opening. It is the order of
//! the name table itself (see `topics::split_table`), and a user keeps its place when it goes and
//! comes back. With a topic filter, the users are first gathered from the filters that overlap,
//! which costs in proportion to the answer. If those are too many to gather, the listing looks at
//! everybody instead (see [`gather`]).

mod gather;
mod rows;

use compact_str::CompactString;
use parking_lot::MutexGuard;
use topics::TopicFilter;

use crate::id::SessionRef;
use crate::org::{Org, State};
use gather::Gather;

pub use rows::SessionView;

/// Most users and sessions looked at under one lock, rows or not: each is a miss of the cache or
/// two.
const LOOKS_PER_PIECE_MAX: usize = 1_024;

/// Where a listing goes on: after this session of this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The user's place in the order.
    pub user: u64,
    /// The serial of the last session visited; `u64::MAX` for all of the user's.
    pub session: u64,
}

/// What a piece left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// There may be more rows, after this position.
    More(Position),
    /// All rows have been visited.
    Done,
}

/// A user to visit: its key in the order, and the slot it had when it was found.
type Candidate = (u64, u32);

/// A listing under way.
pub struct Listing {
    filter: Option<Box<str>>,
    source: Source,
    /// Users to visit next, in order, the next one last.
    candidates: Vec<Candidate>,
    /// Nothing at or before it is visited again.
    after: Option<Position>,
    /// The session visited last, from which to go on within a user without walking its list.
    last: Option<SessionRef>,
    user_has_row: bool,
}

/// Where candidates come from once there are none left.
enum Source {
    /// One user, by name.
    User(CompactString),
    /// Those whose subscriptions overlap, still being gathered.
    Gather(Gather),
    /// The part of the name table that begins at this key.
    Names(u64),
    Exhausted,
}

/// What one lock has been good for so far.
struct Effort {
    rows_left: usize,
    looks_left: usize,
}

impl Effort {
    fn is_spent(&self) -> bool {
        self.rows_left == 0 || self.looks_left == 0
    }
}

impl Listing {
    /// All sessions of an organisation, or those with a subscription that overlaps `filter`, after
    /// the position `from`.
    #[must_use]
    pub fn of_org(filter: Option<TopicFilter<'_>>, from: Option<Position>) -> Self {
        let source = match filter {
            Some(_) => Source::Gather(Gather::default()),
            None => Source::Names(from.map_or(0, |position| position.user)),
        };
        Self::new(filter.map(|filter| filter.as_str().into()), source, from)
    }

    /// The sessions of one user.
    #[must_use]
    pub fn of_user(username: &str) -> Self {
        Self::new(None, Source::User(username.into()), None)
    }

    fn new(filter: Option<Box<str>>, source: Source, after: Option<Position>) -> Self {
        Self {
            filter,
            source,
            candidates: Vec::new(),
            after,
            last: None,
            user_has_row: false,
        }
    }

    /// Visits at most `rows_max` further rows under one lock. `visit` is told whether the row is
    /// its user's first in this listing. A piece may be empty and yet not the last.
    pub fn next_piece(
        &mut self,
        org: &Org,
        rows_max: usize,
        visit: &mut dyn FnMut(&SessionView<'_>, bool),
    ) -> Piece {
        let filter = self.filter.take();
        let parsed = filter
            .as_deref()
            .map(|text| TopicFilter::parse(text).expect("it was a filter when the listing began"));
        let mut state = org.lock();
        let mut effort = Effort {
            rows_left: rows_max,
            looks_left: LOOKS_PER_PIECE_MAX,
        };
        if self.candidates.is_empty() {
            self.refill(&mut state, parsed);
        }
        self.visit_candidates(&state, parsed, &mut effort, visit);
        // Whoever waits to change something goes first: see `crate::org`.
        MutexGuard::unlock_fair(state);
        self.filter = filter;
        self.progress()
    }

    fn progress(&self) -> Piece {
        if self.candidates.is_empty() && matches!(self.source, Source::Exhausted) {
            return Piece::Done;
        }
        Piece::More(self.after.unwrap_or(Position {
            user: 0,
            session: 0,
        }))
    }

    /// Finds the users to visit next; at most one part of the name table, or one piece of
    /// gathering, at a time.
    fn refill(&mut self, state: &mut State, filter: Option<TopicFilter<'_>>) {
        let from = self.after.map_or(0, |position| position.user);
        match std::mem::replace(&mut self.source, Source::Exhausted) {
            Source::User(name) => {
                let key = state.listing_key(&name);
                let found = state.find_user(&name).map(|slot| (key, slot));
                self.candidates.extend(found);
            }
            Source::Gather(mut gather) => {
                let filter = filter.expect("only a listing with a filter gathers");
                match gather.step(state, filter) {
                    gather::Step::More => self.source = Source::Gather(gather),
                    gather::Step::TooMany => self.source = Source::Names(from),
                    gather::Step::Done(found) => self.candidates = found,
                }
            }
            Source::Names(key) => {
                let candidates = &mut self.candidates;
                let next = state.names.shard_from(key, |slot| {
                    candidates.push((state.listing_key(&state.users[slot].name), slot));
                });
                self.source = next.map_or(Source::Exhausted, Source::Names);
            }
            Source::Exhausted => {}
        }
        self.candidates.retain(|(key, _)| *key >= from);
        self.candidates
            .sort_unstable_by_key(|candidate| std::cmp::Reverse(*candidate));
        self.candidates.dedup();
    }

    fn visit_candidates(
        &mut self,
        state: &State,
        filter: Option<TopicFilter<'_>>,
        effort: &mut Effort,
        visit: &mut dyn FnMut(&SessionView<'_>, bool),
    ) {
        while let Some((key, slot)) = self.candidates.last().copied() {
            if effort.is_spent() {
                return;
            }
            effort.looks_left -= 1;
            if !self.visit_user(state, filter, (key, slot), effort, visit) {
                return;
            }
            self.candidates.pop();
            self.after = Some(Position {
                user: key,
                session: u64::MAX,
            });
            self.last = None;
            self.user_has_row = false;
        }
    }

    /// Visits the user's rows after the position. Answers whether those were all.
    fn visit_user(
        &mut self,
        state: &State,
        filter: Option<TopicFilter<'_>>,
        (key, slot): Candidate,
        effort: &mut Effort,
        visit: &mut dyn FnMut(&SessionView<'_>, bool),
    ) -> bool {
        // The slot may have become somebody else's since it was found.
        let Some(user) = state.users.get(slot) else {
            return true;
        };
        if state.listing_key(&user.name) != key {
            return true;
        }
        let after = self
            .after
            .filter(|position| position.user == key)
            .map(|position| position.session);
        for view in rows::of_user(state, user, after, self.last) {
            if effort.is_spent() {
                return false;
            }
            effort.looks_left -= 1;
            self.after = Some(Position {
                user: key,
                session: view.session.serial,
            });
            self.last = Some(view.session);
            if filter.is_some_and(|filter| !view.overlaps(filter)) {
                continue;
            }
            effort.rows_left -= 1;
            visit(&view, !std::mem::replace(&mut self.user_has_row, true));
        }
        true
    }
}
