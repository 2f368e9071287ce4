//! The index answers as a plain list would, and costs less.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use presence::Org;
use proptest::prelude::*;
use topics::{TopicFilter, TopicName};

use super::{StoredRecipient, Subscribers};
use crate::id::{Carrier, StoredRef};
use crate::record::Subscription;
use crate::testing::connection::connection;

const FILTERS: [&str; 6] = [
    "a/b",
    "a/+",
    "#",
    "$share/g/a/b",
    "$share/h/a/b",
    "$share/g/a/+",
];

/// The connection of a session of this number.
fn carrier(number: u64) -> Carrier {
    let org = Org::new("acme");
    let connections = (0..=number).map(|number| connection(&org, number as u32));
    connections.last().expect("at least one")
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::parse(text).unwrap()
}

fn with(options: u8) -> Subscription {
    Subscription { options, id: None }
}

fn begin(index: &mut Subscribers, number: u64) -> StoredRef {
    index.begin(StoredRef(number), &format!("c{number}").into());
    StoredRef(number)
}

fn found(index: &Subscribers, topic: &str) -> Vec<StoredRecipient> {
    let mut found = Vec::new();
    index.recipients(TopicName::parse(topic).unwrap(), &mut found);
    found
}

#[test]
fn a_group_takes_turns_among_those_who_are_there() {
    let mut index = Subscribers::default();
    for number in 1..=4 {
        let session = begin(&mut index, number);
        index.subscribe(session, filter("$share/g/a/b"), with(1));
    }
    let turns = |index: &Subscribers| -> Vec<u64> {
        let turns = (0..4).flat_map(|_| found(index, "a/b"));
        turns.map(|found| found.session.0).collect()
    };
    assert_eq!(turns(&index), [1, 2, 3, 4], "all are away");
    for number in [2, 4] {
        index.carry(StoredRef(number), Some(carrier(number)));
    }
    assert_eq!(turns(&index), [2, 4, 2, 4]);
    index.unsubscribe(StoredRef(2), filter("$share/g/a/b"));
    assert_eq!(turns(&index), [4; 4]);
    index.carry(StoredRef(4), None);
    assert_eq!(turns(&index), [1, 3, 4, 1]);
}

#[derive(Clone, Debug)]
enum Op {
    Subscribe(u64, usize, u8),
    Unsubscribe(u64, usize),
    Carry(u64, bool),
    End(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let (session, filter) = (1..5u64, 0..FILTERS.len());
    prop_oneof![
        4 => (session.clone(), filter.clone(), 0..3u8).prop_map(|(s, f, o)| Op::Subscribe(s, f, o)),
        2 => (session.clone(), filter).prop_map(|(s, f)| Op::Unsubscribe(s, f)),
        2 => (session.clone(), any::<bool>()).prop_map(|(s, is)| Op::Carry(s, is)),
        1 => session.prop_map(Op::End),
    ]
}

/// Subscriptions and who is there, without an index.
#[derive(Default)]
struct Plain {
    subscriptions: BTreeMap<(u64, usize), u8>,
    attached: BTreeMap<u64, bool>,
}

impl Plain {
    /// Whether what the index found for a/b is right.
    fn check(&self, mut found: Vec<StoredRecipient>) {
        for (index, filter) in FILTERS.iter().enumerate() {
            let is_this = |found: &StoredRecipient| match filter.starts_with("$share") {
                true => found.share.as_deref() == Some(*filter),
                false => found.share.is_none(),
            };
            let of_filter = self.subscriptions.iter().filter(|((_, f), _)| *f == index);
            let members: Vec<_> = of_filter.map(|((s, _), o)| (*s, *o)).collect();
            if !filter.starts_with("$share") {
                for (session, options) in members {
                    let is_it = |found: &StoredRecipient| {
                        (found.session.0, found.subscription.options) == (session, options)
                            && found.carrier.is_some() == self.attached[&session]
                    };
                    let place = found
                        .iter()
                        .position(|found| is_this(found) && is_it(found));
                    found.remove(place.expect("is found"));
                }
                continue;
            }
            let place = found.iter().position(is_this);
            assert_eq!(place.is_some(), !members.is_empty(), "{filter}");
            let Some(place) = place else { continue };
            let chosen = found.remove(place);
            assert!(members.contains(&(chosen.session.0, chosen.subscription.options)));
            let is_any_there = members.iter().any(|(session, _)| self.attached[session]);
            assert_eq!(chosen.carrier.is_some(), is_any_there, "{filter}");
        }
        assert_eq!(found, []);
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_a_plain_list_does(ops in prop::collection::vec(op(), 1..60)) {
        let (mut index, mut plain) = (Subscribers::default(), Plain::default());
        for number in 1..5 {
            begin(&mut index, number);
            plain.attached.insert(number, false);
        }
        for op in ops {
            match op {
                Op::Subscribe(session, f, options) => {
                    let is_new = plain.subscriptions.insert((session, f), options).is_none();
                    let filter = filter(FILTERS[f]);
                    let added = index.subscribe(StoredRef(session), filter, with(options));
                    prop_assert_eq!(added, is_new);
                }
                Op::Unsubscribe(session, f) => {
                    let had = plain.subscriptions.remove(&(session, f)).is_some();
                    let removed = index.unsubscribe(StoredRef(session), filter(FILTERS[f]));
                    prop_assert_eq!(removed, had);
                }
                Op::Carry(session, is_there) => {
                    plain.attached.insert(session, is_there);
                    index.carry(StoredRef(session), is_there.then(|| carrier(session)));
                }
                Op::End(session) => {
                    for (f, text) in FILTERS.iter().enumerate() {
                        plain.subscriptions.remove(&(session, f));
                        index.unsubscribe(StoredRef(session), filter(text));
                    }
                    index.end(StoredRef(session), &format!("c{session}"));
                    plain.attached.insert(session, false);
                    begin(&mut index, session);
                }
            }
            let away = plain.attached.values().filter(|is_there| !**is_there).count();
            prop_assert_eq!(index.counts(), (4, away));
            for (session, is_there) in &plain.attached {
                let found = index.carried_by(carrier(*session).session);
                let expected = is_there.then(|| (StoredRef(*session), carrier(*session)));
                prop_assert_eq!(found, expected);
            }
            plain.check(found(&index, "a/b"));
        }
    }
}

/// Makes a filter with so many subscribers and answers how long a thousand rounds of leaving,
/// joining, coming, going and choosing take, at best.
fn rounds(text: &str, subscribers: u64) -> Duration {
    const ROUNDS: u64 = 1_000;
    let mut index = Subscribers::default();
    for number in 1..=subscribers {
        let session = begin(&mut index, number);
        index.subscribe(session, filter(text), with(1));
    }
    let carrier = carrier(1);
    let stride = subscribers / ROUNDS;
    let mut one_try = || {
        let began = Instant::now();
        for round in 0..ROUNDS {
            let session = StoredRef(1 + round * stride);
            assert!(index.unsubscribe(session, filter(text)));
            index.end(session, &format!("c{}", session.0));
            begin(&mut index, session.0);
            assert!(index.subscribe(session, filter(text), with(1)));
            index.carry(session, Some(carrier));
            if text.starts_with("$share") {
                assert_eq!(found(&index, "a/b").len(), 1);
            }
            index.carry(session, None);
        }
        began.elapsed()
    };
    (0..5).map(|_| one_try()).min().unwrap()
}

#[test]
fn a_filter_with_64_times_as_many_subscribers_costs_far_less_than_64_times_as_much() {
    for text in ["a/b", "$share/g/a/b"] {
        let (few, many) = (rounds(text, 1_000), rounds(text, 64_000));
        assert!(many < few * 16, "{text}: {few:?} and {many:?}");
    }
}
