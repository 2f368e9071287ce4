//! A presence server as one would write it on a napkin: a list of sessions, searched from one end to
//! the other.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::prelude::*;
use topics::{TopicFilter, TopicName};

use super::{FILTERS, FIRST_GROUP};
use crate::{Address, Opening, Org, Protocol, Recipient, SessionId, SessionRef, SessionView};

pub(super) const USERS: [&str; 5] = ["alice", "bob", "carol", "dave@home", "é"];

/// A thing that may happen.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Open {
        user: usize,
        client: usize,
        is_stored: bool,
    },
    End {
        session: usize,
    },
    /// Its connection is found gone when a group has chosen it.
    Lose {
        session: usize,
        group: usize,
    },
    Subscribe {
        session: usize,
        filter: usize,
        options: u8,
        identifier: Option<NonZeroU32>,
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
        3 => (0..USERS.len(), 0usize..12, prop::bool::weighted(0.2)).prop_map(
            |(user, client, is_stored)| Change::Open { user, client, is_stored }
        ),
        1 => session.clone().prop_map(|session| Change::End { session }),
        1 => (session.clone(), FIRST_GROUP..FILTERS.len())
            .prop_map(|(session, group)| Change::Lose { session, group }),
        4 => (session.clone(), filter.clone(), 0u8..64, identifier()).prop_map(
            |(session, filter, options, identifier)| {
                Change::Subscribe { session, filter, options, identifier }
            }
        ),
        1 => (session, filter).prop_map(|(session, filter)| Change::Unsubscribe { session, filter }),
    ]
}

fn identifier() -> impl Strategy<Value = Option<NonZeroU32>> {
    (0u32..4).prop_map(NonZeroU32::new)
}

/// What routing tells of one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Got {
    /// The session's.
    pub(super) serial: u64,
    options: u8,
    identifier: Option<NonZeroU32>,
    is_stored: bool,
}

impl Got {
    pub(super) fn of(recipient: &Recipient) -> Self {
        let serial = recipient.session.serial;
        assert_eq!(u64::from(recipient.address.connection), serial);
        Self {
            serial,
            options: recipient.options,
            identifier: recipient.identifier,
            is_stored: recipient.is_stored,
        }
    }
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
    is_stored: bool,
    is_gone: bool,
    subscriptions: Vec<ModelSubscription>,
}

struct ModelSubscription {
    filter: &'static str,
    options: u8,
    identifier: Option<NonZeroU32>,
}

impl ModelSubscription {
    fn parsed(&self) -> TopicFilter<'static> {
        TopicFilter::parse(self.filter).expect("valid")
    }
}

impl ModelSession {
    pub(super) fn overlaps(&self, filter: TopicFilter<'_>) -> bool {
        self.subscriptions
            .iter()
            .any(|own| own.parsed().overlaps(filter))
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
                .map(|own| own.filter.to_owned())
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
            .map(|own| (own.parsed().matched(), own.parsed().share_group().is_some()))
            .collect();
        filters.len()
    }

    /// What ordinary subscriptions get of a message.
    pub(super) fn recipients(&self, name: TopicName<'_>) -> Vec<Got> {
        let mut found: Vec<_> = self
            .matching(name)
            .filter(|(filter, got)| filter.share_group().is_none() && !got.is_stored)
            .map(|(_, got)| got)
            .collect();
        found.sort_unstable();
        found
    }

    /// Who may get a message by a shared subscription: one of each group.
    pub(super) fn groups(&self, name: TopicName<'_>) -> BTreeMap<&str, Vec<Got>> {
        let mut groups = BTreeMap::<_, Vec<_>>::new();
        for (filter, got) in self.matching(name) {
            if filter.share_group().is_some() && !self.is_gone(got.serial) {
                groups.entry(filter.as_str()).or_default().push(got);
            }
        }
        groups
    }

    fn is_gone(&self, serial: u64) -> bool {
        let mut sessions = self.sessions.iter();
        sessions.any(|session| session.reference.serial == serial && session.is_gone)
    }

    /// Those of a group that have turns, by serial.
    fn members(&self, filter: &str) -> Vec<u64> {
        let is_member = |session: &&ModelSession| {
            let mut filters = session.subscriptions.iter().map(|own| own.filter);
            !session.is_gone && filters.any(|own| own == filter)
        };
        let members = self.sessions.iter().filter(is_member);
        members.map(|session| session.reference.serial).collect()
    }

    fn matching(&self, name: TopicName<'_>) -> impl Iterator<Item = (TopicFilter<'_>, Got)> {
        let all = self.sessions.iter().flat_map(|session| {
            let serial = session.reference.serial;
            session.subscriptions.iter().map(move |own| {
                let got = Got {
                    serial,
                    options: own.options,
                    identifier: own.identifier,
                    is_stored: session.is_stored,
                };
                (own.parsed(), got)
            })
        });
        all.filter(move |(filter, _)| filter.matches(name))
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
            Change::Open {
                user,
                client,
                is_stored,
            } => self.open(USERS[user], format!("client-{client}"), is_stored),
            Change::End { session } => self.end(session),
            Change::Lose { session, group } => self.lose(session, FILTERS[group]),
            Change::Subscribe {
                session,
                filter,
                options,
                identifier,
            } => {
                let filter = FILTERS[filter];
                let wanted = ModelSubscription {
                    filter,
                    options,
                    identifier,
                };
                self.subscribe(session, wanted);
            }
            Change::Unsubscribe { session, filter } => self.unsubscribe(session, FILTERS[filter]),
        }
    }

    fn open(&mut self, username: &'static str, client_id: String, is_stored: bool) {
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
        if is_stored {
            self.org.mark_stored(opened.session);
        }
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
            is_stored,
            is_gone: false,
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

    fn lose(&mut self, index: usize, text: &str) {
        let Some(session) = pick(&mut self.model.sessions, index) else {
            return;
        };
        session.is_gone = true;
        let gone = session.reference;
        let filter = TopicFilter::parse(text).expect("valid");
        let share = self.org.share_of(filter).expect("it is shared");
        let next = self.org.next_member(share, gone);
        let next = next.map(|member| member.session.serial);
        let members = self.model.members(text);
        assert_eq!(next.is_some(), !members.is_empty(), "{text}");
        assert!(next.is_none_or(|next| members.contains(&next)), "{text}");
    }

    fn subscribe(&mut self, index: usize, wanted: ModelSubscription) {
        let Some(session) = pick(&mut self.model.sessions, index) else {
            return;
        };
        let (filter, options, identifier) = (wanted.parsed(), wanted.options, wanted.identifier);
        let mut subscriptions = session.subscriptions.iter_mut();
        let existing = subscriptions.find(|own| own.filter == wanted.filter);
        let is_new = existing.is_none();
        match existing {
            Some(existing) => *existing = wanted,
            None => session.subscriptions.push(wanted),
        }
        let reference = session.reference;
        let answer = self
            .org
            .subscribe(reference, filter, options, identifier, 1_000);
        assert_eq!(answer, Ok(is_new));
    }

    fn unsubscribe(&mut self, index: usize, text: &'static str) {
        let Some(session) = pick(&mut self.model.sessions, index) else {
            return;
        };
        let filter = TopicFilter::parse(text).expect("valid");
        let count = session.subscriptions.len();
        session.subscriptions.retain(|own| own.filter != text);
        let existed = session.subscriptions.len() < count;
        assert_eq!(self.org.unsubscribe(session.reference, filter), existed);
    }
}

fn pick(sessions: &mut [ModelSession], index: usize) -> Option<&mut ModelSession> {
    let count = sessions.len();
    sessions.get_mut(index.checked_rem(count)?)
}
