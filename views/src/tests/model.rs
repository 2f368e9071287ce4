//! The views against a model that keeps everything in a list, through crashes at any point.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use compact_str::CompactString;
use journal::{Fact, Position, SessionId};
use presence::EndReason;
use proptest::prelude::*;

use super::facts::{MIDNIGHT_MS, ended, opened};
use super::{Folder, ZERO, open};
use crate::{Event, Kind, Reader, UserFacts, Views};

type Name = (CompactString, CompactString);

/// What the views should say.
#[derive(Default)]
struct Model {
    events: Vec<Event>,
    users: HashMap<Name, ModelUser>,
}

#[derive(Default)]
struct ModelUser {
    seq: u64,
    open: HashSet<SessionId>,
    push_suspended: bool,
}

impl Model {
    fn fold(&mut self, fact: &Fact) {
        let position = Position(self.events.len() as u64);
        let mut event = Event::from_fact(position, fact.clone());
        let name = (event.org.clone(), event.username.clone());
        let user = self.users.entry(name).or_default();
        user.seq += 1;
        match event.kind {
            Kind::Online => user.open.insert(event.session),
            Kind::Offline | Kind::LoggedOut => user.open.remove(&event.session),
        };
        match event.kind {
            Kind::Online => user.push_suspended = false,
            Kind::LoggedOut => user.push_suspended = true,
            Kind::Offline => {}
        }
        event.seq = user.seq;
        event.online_sessions = u32::try_from(user.open.len()).unwrap();
        self.events.push(event);
    }

    fn history(&self, name: &Name) -> Vec<&Event> {
        let of_user = |event: &&Event| event.org == name.0 && event.username == name.1;
        self.events.iter().rev().filter(of_user).collect()
    }

    fn facts_of(&self, name: &Name) -> UserFacts {
        let user = &self.users[name];
        UserFacts {
            seq: user.seq,
            last_seen_ms: self.history(name)[0].at_ms,
            push_suspended: user.push_suspended,
            online_sessions: u32::try_from(user.open.len()).unwrap(),
        }
    }
}

/// What happens to the views.
#[derive(Clone, Debug)]
enum Act {
    Fold(Fact),
    Flush,
    Settle,
    Rest,
    /// The process dies: what was not flushed is folded again.
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let fact = (0..2_u8, 0..4_u8, 0..12_u64, 0..5_u8).prop_map(|(org, user, session, what)| {
        // Any sequence may come, also an ending told twice.
        let (org, user) = (["acme", "globex"][usize::from(org)], format!("user {user}"));
        let session = session + 100 * u64::from(org == "acme");
        let at_ms = MIDNIGHT_MS + session;
        match what {
            0..=2 => opened(org, &user, session, at_ms),
            3 => ended(org, &user, session, at_ms, EndReason::LoggedOut),
            _ => ended(org, &user, session, at_ms, EndReason::ServerCrashed),
        }
    });
    prop_oneof![
        20 => fact.prop_map(Act::Fold),
        2 => Just(Act::Flush),
        1 => Just(Act::Settle),
        1 => Just(Act::Rest),
        2 => Just(Act::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn folding_through_crashes_tells_the_same_as_a_list_of_everything(
        acts in prop::collection::vec(act(), 1..150)
    ) {
        let folder = Folder::new();
        let mut views = open(&folder.file());
        let (mut journal, mut model) = (Vec::new(), Model::default());
        for act in acts {
            match act {
                Act::Fold(fact) => {
                    model.fold(&fact);
                    journal.push(fact);
                }
                Act::Flush => views.flush().unwrap(),
                Act::Settle => views.settle().unwrap(),
                Act::Rest => views.rest().unwrap(),
                Act::Crash => {
                    drop(views);
                    views = open(&folder.file());
                }
            }
            follow_checked(&mut views, &journal, &model);
        }
        check(&views.reader().unwrap(), &model);
    }
}

/// Folds what is new to the views; every event is the one that the model has.
fn follow_checked(views: &mut Views, journal: &[Fact], model: &Model) {
    let from = usize::try_from(views.position().0).unwrap();
    for (fact, expected) in journal.iter().zip(&model.events).skip(from) {
        let event = views.fold(expected.position, fact.clone()).unwrap();
        assert_eq!(*event, *expected);
    }
}

fn check(reader: &Reader, model: &Model) {
    for name in model.users.keys() {
        let user = reader.user(&name.0, &name.1).unwrap();
        assert_eq!(user, Some(model.facts_of(name)));
        assert_eq!(
            history(reader, name),
            model.history(name).into_iter().cloned().collect::<Vec<_>>()
        );
    }
    for org in ["acme", "globex"] {
        let told: Vec<_> = events_of(reader, org, model.events.len());
        let expected = model.events.iter().filter(|event| event.org == org);
        assert!(told.iter().map(Arc::as_ref).eq(expected));
    }
}

/// A whole history, by small pages.
fn history(reader: &Reader, name: &Name) -> Vec<Event> {
    let (mut events, mut cursor) = (Vec::new(), None);
    loop {
        let page = reader
            .history(&name.0, &name.1, None, None, 3, cursor)
            .unwrap();
        events.extend(page.events.iter().map(|event| Event::clone(event)));
        cursor = page.next;
        if cursor.is_none() {
            return events;
        }
    }
}

/// All events of an organisation, by small pages.
fn events_of(reader: &Reader, org: &str, end: usize) -> Vec<Arc<Event>> {
    let (mut events, mut next) = (Vec::new(), ZERO);
    while next < Position(end as u64) {
        let page = reader.events_from(org, next, 4).unwrap();
        assert!(page.next > next, "no page stands still");
        events.extend(page.events);
        next = page.next;
    }
    events
}
