//! The index of one organisation: who is online, in which sessions, subscribed to what.
//!
//! Slabs (sessions, users, subscriptions and, inside the trie, filters) joined by `u32` links,
//! and two tables that find a session by client identifier and a user by name. A subscription
//! stands in two lists: its session's, in order of subscription, and its filter's or, if it shares
//! one, its group's (see [`shares`]). So the table that routes a PUBLISH and the one that answers "who
//! is subscribed to this?" are the same.
//!
//! One lock guards it all and is never held for long: no operation walks more than one session's
//! subscriptions or one message's recipients, and queries read in pieces (see [`crate::listing`]).
//! A query hands the lock over to whoever waits: with an unfair lock it would have it back before
//! the other is awake, again and again.
//! Nothing here copies a whole table to grow it, so that no single CONNECT pays for the millionth.
//! The organisation is the outermost key: nothing in one `Org` can name anything in another.

mod lately;
mod routing;
mod sessions;
mod shares;
mod state;
mod subscriptions;

pub use routing::Recipient;
pub use shares::ShareRef;
pub use subscriptions::SubscribeError;

use parking_lot::{Mutex, MutexGuard};

use state::Options;
pub(crate) use state::{List, NONE, Session, State, Subscription, User};

/// The sessions, users and subscriptions of one organisation.
pub struct Org {
    id: Box<str>,
    state: Mutex<State>,
}

/// How much an [`Org`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions online.
    pub sessions: usize,
    /// Users with at least one session online.
    pub users: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Distinct topic filters among them; one that is shared, by whatever groups, counts once more.
    pub filters: usize,
}

impl Org {
    /// An organisation nobody is connected to.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            state: Mutex::new(State::default()),
        }
    }

    /// The organisation's id, the part after the last `@` of a login.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How much it holds now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.lock();
        Counts {
            sessions: state.sessions.len(),
            users: state.users.len(),
            subscriptions: state.subscriptions.len(),
            filters: state.filters.filter_count() + state.shares.filter_count(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
