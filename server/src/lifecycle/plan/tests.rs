//! Whatever is asked, the facts tell a story that makes sense, and the index agrees with it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use journal::Fact;
use presence::{Address, EndReason, Org, Os, Protocol, SessionId, SessionRef};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Change, FACTS_MAX, Plan, World};
use crate::accounts::MultiDevice;
use crate::lifecycle::requests::{Client, EndRequest, EndUserRequest, OpenRequest, Request};

#[derive(Default)]
struct Counter {
    now_ms: u64,
    last: u64,
}

impl World for Counter {
    fn now_ms(&mut self) -> u64 {
        self.now_ms += 1;
        self.now_ms
    }

    fn session_id(&mut self, _: u64) -> SessionId {
        self.last += 1;
        SessionId(u128::from(self.last).to_be_bytes())
    }
}

/// Somebody asks for something.
#[derive(Clone, Debug)]
enum Ask {
    Open {
        user: u8,
        client: u8,
        os: Option<Os>,
    },
    /// One of the sessions that have ever been opened, ended ones included.
    End(Index),
    EndUser(u8),
    /// What was asked so far becomes durable.
    Commit,
}

fn ask() -> impl Strategy<Value = Ask> {
    let os = prop_oneof![Just(None), Just(Some(Os::Ios)), Just(Some(Os::Android))];
    prop_oneof![
        5 => (0u8..4, 0u8..8, os).prop_map(|(user, client, os)| Ask::Open { user, client, os }),
        3 => any::<Index>().prop_map(Ask::End),
        1 => (0u8..4).prop_map(Ask::EndUser),
        3 => Just(Ask::Commit),
    ]
}

/// The sequencer without its thread, its disk and its letters.
struct Desk {
    org: Arc<Org>,
    multi_device: MultiDevice,
    waiting: VecDeque<Request>,
    world: Counter,
    facts: Vec<Fact>,
    ever: Vec<SessionRef>,
}

impl Desk {
    fn new(multi_device: MultiDevice) -> Self {
        Self {
            org: Arc::new(Org::new("org")),
            multi_device,
            waiting: VecDeque::new(),
            world: Counter::default(),
            facts: Vec::new(),
            ever: Vec::new(),
        }
    }

    fn ask(&mut self, ask: &Ask) {
        let org = Arc::clone(&self.org);
        let request = match ask {
            Ask::Open { user, client, os } => Request::Open(OpenRequest {
                org,
                multi_device: self.multi_device,
                username: format!("user-{user}").into(),
                client_id: format!("client-{client}").into(),
                client: Client {
                    protocol: Protocol::V5,
                    peer: None,
                    os: *os,
                    address: Address {
                        worker: 0,
                        connection: 0,
                    },
                },
                ticket: 0,
            }),
            Ask::End(_) if self.ever.is_empty() => return,
            Ask::End(index) => Request::End(EndRequest {
                org,
                session: *index.get(&self.ever),
                reason: EndReason::ConnectionLost,
            }),
            Ask::EndUser(user) => Request::EndUser(EndUserRequest {
                org,
                username: format!("user-{user}").into(),
                reason: EndReason::Terminated,
                ended: 0,
                reply: None,
            }),
            Ask::Commit => return self.commit_all(),
        };
        self.waiting.push_back(request);
    }

    fn commit_all(&mut self) {
        while !self.waiting.is_empty() {
            self.commit();
        }
    }

    fn commit(&mut self) {
        let mut plan = Plan::default();
        while let Some(request) = self.waiting.pop_front() {
            if let Err(request) = plan.add(request, &mut self.world) {
                self.waiting.push_front(request);
                break;
            }
        }
        let facts: Vec<_> = plan.changes.iter().filter_map(Change::fact).collect();
        assert!(facts.len() <= 2 * FACTS_MAX);
        self.facts.extend(facts);
        for change in plan.changes {
            match change {
                Change::Open { request, id, at_ms } => {
                    let opened = self.org.open(&request.opening(id, at_ms));
                    assert!(opened.taken_over.is_none(), "the plan ended it before");
                    self.ever.push(opened.session);
                }
                Change::End { facts, .. } => {
                    assert!(self.org.end(facts.session).is_some(), "it was online");
                }
                Change::Reply(_) => {}
            }
        }
    }
}

/// What a receiver that believes every event holds to be true.
#[derive(Default)]
struct Believer {
    open: HashMap<SessionId, (String, String, Option<Os>)>,
}

impl Believer {
    fn believe(&mut self, fact: &Fact, multi_device: MultiDevice) {
        match fact {
            Fact::Opened(opened) => {
                let (user, client) = (opened.username.to_string(), opened.client_id.to_string());
                for (other_user, other_client, other_os) in self.open.values() {
                    assert_ne!(&client, other_client, "a takeover ends the old one first");
                    let rivals = match multi_device {
                        MultiDevice::Unlimited => false,
                        MultiDevice::One => *other_user == user,
                        MultiDevice::OnePerPlatform => {
                            *other_user == user && *other_os == opened.os
                        }
                    };
                    assert!(!rivals, "the older device goes first");
                }
                let before = self.open.insert(opened.session, (user, client, opened.os));
                assert!(before.is_none(), "a session opens once");
            }
            Fact::Ended(ended) => {
                let (user, client, _) = self
                    .open
                    .remove(&ended.session)
                    .expect("a session ends once, after it has opened");
                assert_eq!(user, ended.username.as_str());
                assert_eq!(client, ended.client_id.as_str());
            }
        }
    }
}

proptest! {
    #[test]
    fn facts_make_sense_and_the_index_agrees_with_them(
        asks in vec(ask(), 1..80),
        multi_device in prop_oneof![
            Just(MultiDevice::Unlimited),
            Just(MultiDevice::OnePerPlatform),
            Just(MultiDevice::One),
        ],
    ) {
        let mut desk = Desk::new(multi_device);
        for ask in &asks {
            desk.ask(ask);
        }
        desk.commit_all();
        let mut believer = Believer::default();
        for fact in &desk.facts {
            believer.believe(fact, multi_device);
        }
        prop_assert_eq!(desk.org.counts().sessions, believer.open.len());
        let mut times: Vec<_> = desk.facts.iter().map(Fact::at_ms).collect();
        let written = times.clone();
        times.sort_unstable();
        prop_assert_eq!(written, times, "time does not run backwards in the journal");
    }
}

#[test]
fn two_openings_of_one_client_are_told_in_two_plans() {
    let mut desk = Desk::new(MultiDevice::Unlimited);
    let open = Ask::Open {
        user: 0,
        client: 0,
        os: None,
    };
    desk.ask(&open);
    desk.ask(&open);
    desk.commit();
    assert_eq!((desk.facts.len(), desk.waiting.len()), (1, 1));
    desk.commit();
    let kinds: Vec<_> = desk
        .facts
        .iter()
        .map(|fact| matches!(fact, Fact::Opened(_)))
        .collect();
    assert_eq!(kinds, [true, false, true]);
}

#[test]
fn a_user_with_more_sessions_than_a_plan_holds_is_ended_all_the_same() {
    let mut desk = Desk::new(MultiDevice::Unlimited);
    for client in 0..(FACTS_MAX + 500) {
        desk.waiting.push_back(Request::Open(OpenRequest {
            org: Arc::clone(&desk.org),
            multi_device: MultiDevice::Unlimited,
            username: "user-0".into(),
            client_id: format!("client-{client}").into(),
            client: Client {
                protocol: Protocol::V311,
                peer: None,
                os: None,
                address: Address {
                    worker: 0,
                    connection: 0,
                },
            },
            ticket: 0,
        }));
    }
    desk.commit_all();
    assert_eq!(desk.org.counts().sessions, FACTS_MAX + 500);
    desk.ask(&Ask::EndUser(0));
    desk.commit_all();
    assert_eq!(desk.org.counts().sessions, 0);
}
