//! A presence server as one would write it on a napkin: a list of sessions, searched from one end to
//! the other.

use proptest::prelude::*;
use topics::{TopicFilter, TopicName};

use super::FILTERS;
use crate::{Address, Opening, Org, Protocol, SessionId, SessionRef, SessionView};

pub(super) const USERS: [&str; 5] = ["alice", "bob", "carol", "dave@home", "é"];

/// A thing that may happen.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Open {
        user: usize,
        client: usize,
    },
    End {
        session: usize,
    },
    Subscribe {
        session: usize,
        filter: usize,
        options: u8,
    },
    Unsubscribe {
        session: usize,
        filter: usize,
    },
}

pub(super) fn change() -> impl Strategy<Value = Change> {
    let session = any::<proptest::sample::Index>().prop_map(|index| index.index(1 << 16));
    let filter = 0..FILTERS.len();
    prop_oneof![
        3 => (0..USERS.len(), 0usize..12).prop_map(|(user, client)| Change::Open { user, client }),
        1 => session.clone().prop_map(|session| Change::End { session }),
        4 => (session.clone(), filter.clone(), 0u8..64).prop_map(|(session, filter, options)| {
            Change::Subscribe { session, filter, options }
        }),
        1 => (session, filter).prop_map(|(session, filter)| Change::Unsubscribe { session, filter }),
    ]
}

/// A session as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) serial: u64,
    username: String,
    client_id: String,
    connected_at_ms: u64,
    topics: Vec<String>,
}

impl Row {
    pub(super) fn of(view: &SessionView<'_>) -> Self {
        let mut topics = Vec::new();
        view.for_each_topic(|topic| topics.push(topic.to_owned()));
        Self {
            serial: view.session.serial,
            username: view.username.to_owned(),
            client_id: view.client_id().to_owned(),
            connected_at_ms: view.connected_at_ms(),
            topics,
        }
    }
}

pub(super) struct ModelSession {
    reference: SessionRef,
    pub(super) username: &'static str,
    client_id: String,
    subscriptions: Vec<(&'static str, u8)>,
}

impl ModelSession {
    pub(super) fn overlaps(&self, filter: TopicFilter<'_>) -> bool {
        self.filters().any(|own| own.overlaps(filter))
    }

    fn filters(&self) -> impl Iterator<Item = TopicFilter<'static>> {
        self.subscriptions
            .iter()
            .map(|(text, _)| TopicFilter::parse(text).expect("valid"))
    }
}

/// Sessions in order of opening.
#[derive(Default)]
pub(super) struct Model {
    pub(super) sessions: Vec<ModelSession>,
}

impl Model {
    pub(super) fn rows(&self, qualifies: impl Fn(&ModelSession) -> bool) -> Vec<Row> {
        let row = |session: &ModelSession| Row {
            serial: session.reference.serial,
            username: session.username.to_owned(),
            client_id: session.client_id.clone(),
            connected_at_ms: session.reference.serial + 1_000,
            topics: session
                .subscriptions
                .iter()
                .map(|(text, _)| (*text).to_owned())
                .collect(),
        };
        self.sessions
            .iter()
            .filter(|session| qualifies(session))
            .map(row)
            .collect()
    }

    pub(super) fn user_count(&self) -> usize {
        let names: std::collections::HashSet<_> = self
            .sessions
            .iter()
            .map(|session| session.username)
            .collect();
        names.len()
    }

    pub(super) fn subscription_count(&self) -> usize {
        self.sessions
            .iter()
            .map(|session| session.subscriptions.len())
            .sum()
    }

    pub(super) fn filter_count(&self) -> usize {
        let filters: std::collections::HashSet<_> = self
            .sessions
            .iter()
            .flat_map(|session| &session.subscriptions)
            .map(|(text, _)| text)
            .collect();
        filters.len()
    }

    /// Serial of the session and options, for each matching subscription.
    pub(super) fn recipients(&self, name: TopicName<'_>) -> Vec<(u32, u8)> {
        let mut found = Vec::new();
        for session in &self.sessions {
            for (filter, (_, options)) in session.filters().zip(&session.subscriptions) {
                if filter.matches(name) {
                    found.push((session.reference.serial as u32, *options));
                }
            }
        }
        found.sort_unstable();
        found
    }
}

/// The index and the model, side by side.
pub(super) struct World {
    pub(super) org: Org,
    pub(super) model: Model,
}

impl Default for World {
    fn default() -> Self {
        Self {
            org: Org::new("org_test"),
            model: Model::default(),
        }
    }
}

impl World {
    pub(super) fn apply(&mut self, change: &Change) {
        match *change {
            Change::Open { user, client } => self.open(USERS[user], format!("client-{client}")),
            Change::End { session } => self.end(session),
            Change::Subscribe {
                session,
                filter,
                options,
            } => self.subscribe(session, FILTERS[filter], options),
            Change::Unsubscribe { session, filter } => self.unsubscribe(session, FILTERS[filter]),
        }
    }

    fn open(&mut self, username: &'static str, client_id: String) {
        // The n-th session of all lives on connection n, so that recipients can be told apart.
        let serial = self.next_serial();
        let opened = self.org.open(&Opening {
            id: SessionId([7; 16]),
            os: None,
            username,
            client_id: &client_id,
            protocol: Protocol::V5,
            peer: None,
            connected_at_ms: serial + 1_000,
            address: Address {
                worker: 0,
                connection: serial as u32,
            },
        });
        assert_eq!(opened.session.serial, serial);
        let old = self
            .model
            .sessions
            .iter()
            .position(|session| session.client_id == client_id)
            .map(|index| self.model.sessions.remove(index));
        assert_eq!(
            opened.taken_over.map(|ended| ended.facts.session),
            old.map(|session| session.reference)
        );
        self.model.sessions.push(ModelSession {
            reference: opened.session,
            username,
            client_id,
            subscriptions: Vec::new(),
        });
        let online = self
            .model
            .rows(|session| session.username == username)
            .len();
        assert_eq!(opened.online_sessions as usize, online);
    }

    fn next_serial(&self) -> u64 {
        self.org.lock().next_serial
    }

    fn end(&mut self, index: usize) {
        if self.model.sessions.is_empty() {
            return;
        }
        let ended = self
            .model
            .sessions
            .remove(index % self.model.sessions.len());
        let told = self.org.end(ended.reference).expect("it was online");
        assert_eq!(told.facts.username, ended.username);
        assert_eq!(told.facts.client_id, ended.client_id);
        assert!(self.org.end(ended.reference).is_none(), "it ends only once");
    }

    fn subscribe(&mut self, index: usize, text: &'static str, options: u8) {
        let Some(session) = pick(&mut self.model.sessions, index) else {
            return;
        };
        let filter = TopicFilter::parse(text).expect("valid");
        let existing = session.subscriptions.iter_mut().find(|own| own.0 == text);
        let is_new = existing.is_none();
        match existing {
            Some(existing) => existing.1 = options,
            None => session.subscriptions.push((text, options)),
        }
        let answer = self
            .org
            .subscribe(session.reference, filter, options, 1_000);
        assert_eq!(answer, Ok(is_new));
    }

    fn unsubscribe(&mut self, index: usize, text: &'static str) {
        let Some(session) = pick(&mut self.model.sessions, index) else {
            return;
        };
        let filter = TopicFilter::parse(text).expect("valid");
        let count = session.subscriptions.len();
        session.subscriptions.retain(|own| own.0 != text);
        let existed = session.subscriptions.len() < count;
        assert_eq!(self.org.unsubscribe(session.reference, filter), existed);
    }
}

fn pick(sessions: &mut [ModelSession], index: usize) -> Option<&mut ModelSession> {
    let count = sessions.len();
    sessions.get_mut(index.checked_rem(count)?)
}
