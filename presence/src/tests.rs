//! The index against a naive model, and what a listing promises while everything changes.

mod model;
mod stories;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use topics::{TopicFilter, TopicName};

use crate::{Listing, Org, Piece, Position, Recipient};
use model::{Change, Got, Model, Row, World, change};

const FILTERS: [&str; 18] = [
    "#",
    "+",
    "a",
    "a/b",
    "a/+",
    "a/#",
    "+/b",
    "a/b/c",
    "$s/a",
    "$s/#",
    "b//c",
    "b/+/c",
    "$share/g/a/+",
    "$share/h/a/+",
    "$share/g/a/b",
    "$share/g/#",
    "$share/g/$s/#",
    "$share/h/b//c",
];

/// The first of [`FILTERS`] that is shared; so are all behind it.
const FIRST_GROUP: usize = 12;

const NAMES: [&str; 8] = ["a", "a/b", "a/b/c", "a/x", "b//c", "$s/a", "b", "x/b"];

/// All rows of a listing, and how many of them were the first of their user.
fn rows(org: &Org, mut listing: Listing, rows_per_piece: usize) -> (Vec<Row>, usize) {
    let (mut rows, mut users) = (Vec::new(), 0);
    loop {
        let piece = listing.next_piece(org, rows_per_piece, &mut |view, new_user| {
            users += usize::from(new_user);
            rows.push(Row::of(view));
        });
        if piece == Piece::Done {
            return (rows, users);
        }
    }
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort();
    rows
}

/// The same rows page by page, each page a listing of its own that begins where the last ended.
fn paged(org: &Org, filter: Option<TopicFilter<'_>>, limit: usize) -> Vec<Row> {
    let mut all = Vec::new();
    let mut from: Option<Position> = None;
    loop {
        let mut listing = Listing::of_org(filter, from);
        let mut page = Vec::new();
        let mut piece = Piece::Done;
        while page.len() < limit {
            let left = limit - page.len();
            piece = listing.next_piece(org, left, &mut |view, _| page.push(Row::of(view)));
            if piece == Piece::Done {
                break;
            }
        }
        all.append(&mut page);
        match piece {
            Piece::Done => return all,
            Piece::More(position) => from = Some(position),
        }
    }
}

fn check_queries(org: &Org, model: &Model, limit: usize) {
    let counts = org.counts();
    assert_eq!(counts.sessions, model.sessions.len());
    assert_eq!(counts.users, model.user_count());
    assert_eq!(counts.subscriptions, model.subscription_count());
    assert_eq!(counts.filters, model.filter_count());

    let (all, users) = rows(org, Listing::of_org(None, None), 512);
    assert_eq!(users, model.user_count());
    assert_eq!(sorted(all), sorted(model.rows(|_| true)));
    assert_eq!(
        sorted(paged(org, None, limit)),
        sorted(model.rows(|_| true))
    );

    for text in FILTERS {
        let filter = TopicFilter::parse(text).expect("valid");
        let expected = sorted(model.rows(|session| session.overlaps(filter)));
        let (found, _) = rows(org, Listing::of_org(Some(filter), None), limit);
        assert_eq!(sorted(found), expected, "filter {text}");
        assert_eq!(sorted(paged(org, Some(filter), limit)), expected);
    }
}

fn check_users(org: &Org, model: &Model) {
    for user in model::USERS {
        // In order of opening, which is the model's order.
        let expected = model.rows(|session| session.username == user);
        let (found, _) = rows(org, Listing::of_user(user), 2);
        assert_eq!(found, expected);
    }
}

fn check_routing(org: &Org, model: &Model) {
    for text in NAMES {
        let name = TopicName::parse(text).expect("valid");
        let mut recipients = Vec::new();
        org.recipients(name, &mut recipients);
        let ordinary = recipients.iter().take_while(|one| one.share.is_none());
        let mut found: Vec<_> = ordinary.map(Got::of).collect();
        let shared = &recipients[found.len()..];
        check_neighbours(&found);
        found.sort_unstable();
        assert_eq!(found, model.recipients(name), "topic {text}");
        check_shared(org, shared, &model.groups(name), text);
    }
}

/// The subscriptions of one session stand together.
fn check_neighbours(found: &[Got]) {
    let mut sessions: Vec<_> = found.iter().map(|got| got.serial).collect();
    sessions.dedup();
    let distinct: std::collections::HashSet<_> = sessions.iter().collect();
    assert_eq!(distinct.len(), sessions.len());
}

/// Each group has chosen one of its members.
fn check_shared(org: &Org, chosen: &[Recipient], groups: &BTreeMap<&str, Vec<Got>>, topic: &str) {
    assert_eq!(chosen.len(), groups.len(), "topic {topic}");
    for (filter, members) in groups {
        let share = org.share_of(TopicFilter::parse(filter).expect("valid"));
        assert!(share.is_some(), "{filter} is shared");
        let mut of_group = chosen.iter().filter(|one| one.share == share);
        let one = of_group.next().expect("somebody of each group");
        assert!(members.contains(&Got::of(one)), "topic {topic}, {filter}");
        assert!(of_group.next().is_none(), "topic {topic}, {filter}");
    }
}

/// A message for each member, and everybody has had one: whatever has happened before.
fn check_turns(org: &Org, model: &Model) {
    for text in NAMES {
        let name = TopicName::parse(text).expect("valid");
        let mut expected: Vec<_> = model.groups(name).into_values().flatten().collect();
        let largest = model.groups(name).values().map(Vec::len).max().unwrap_or(0);
        let mut recipients = Vec::new();
        for _ in 0..largest {
            org.recipients(name, &mut recipients);
        }
        let shared = recipients.iter().filter(|one| one.share.is_some());
        let mut chosen: Vec<_> = shared.map(Got::of).collect();
        for got in [&mut expected, &mut chosen] {
            got.sort_unstable();
            got.dedup();
        }
        assert_eq!(chosen, expected, "topic {text}");
    }
}

/// One who is in two groups may be chosen by one of them and not by the other.
#[test]
fn each_group_chooses_for_itself_among_members_of_several() {
    let mut world = World::default();
    let open = |client| Change::Open {
        user: 0,
        client,
        is_stored: false,
    };
    let join = |session, filter| Change::Subscribe {
        session,
        filter,
        options: 22,
        identifier: None,
    };
    let (own, common) = (13, 14);
    for change in [
        open(0),
        join(0, own),
        open(1),
        join(0, common),
        join(1, common),
    ] {
        world.apply(&change);
        check_routing(&world.org, &world.model);
    }
    check_turns(&world.org, &world.model);
}

proptest! {
    #[test]
    fn index_equals_a_naive_model(changes in vec(change(), 1..60), limit in 1usize..5) {
        let mut world = World::default();
        for change in changes {
            world.apply(&change);
            check_routing(&world.org, &world.model);
        }
        check_turns(&world.org, &world.model);
        check_queries(&world.org, &world.model, limit);
        check_users(&world.org, &world.model);
    }

    #[test]
    fn who_stays_is_listed_exactly_once_while_others_come_and_go(
        before in vec(change(), 20..60),
        during in vec(vec(change(), 0..4), 30),
        filter in proptest::option::of(proptest::sample::select(&FILTERS[..])),
        rows_per_piece in 1usize..4,
    ) {
        let mut world = World::default();
        before.iter().for_each(|change| world.apply(change));
        let filter = filter.map(|text| TopicFilter::parse(text).expect("valid"));
        let qualifies = |model: &Model| -> Vec<u64> {
            let rows = model.rows(|session| filter.is_none_or(|filter| session.overlaps(filter)));
            rows.iter().map(|row| row.serial).collect()
        };
        let mut throughout = qualifies(&world.model);
        let mut during = during.into_iter();
        let mut listing = Listing::of_org(filter, None);
        let (mut seen, mut order, mut users) = (Vec::new(), Vec::new(), 0);
        loop {
            let piece = listing.next_piece(&world.org, rows_per_piece, &mut |view, new_user| {
                seen.push(view.session.serial);
                order.push(view.username.to_owned());
                users += usize::from(new_user);
            });
            if piece == Piece::Done {
                break;
            }
            for change in during.next().into_iter().flatten() {
                world.apply(&change);
                let now = qualifies(&world.model);
                throughout.retain(|serial| now.contains(serial));
            }
        }
        for serial in throughout {
            prop_assert_eq!(seen.iter().filter(|found| **found == serial).count(), 1);
        }
        let times: std::collections::HashSet<u64> = seen.iter().copied().collect();
        prop_assert_eq!(times.len(), seen.len(), "no session stands there twice");
        order.dedup();
        prop_assert_eq!(order.len(), users, "the rows of a user stand together");
    }
}

#[test]
fn changes_are_generated_of_every_kind() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut kinds = std::collections::HashSet::new();
    for _ in 0..200 {
        let tree = change().new_tree(&mut runner).expect("a change");
        let change: Change = tree.current();
        kinds.insert(std::mem::discriminant(&change));
    }
    assert_eq!(kinds.len(), 5);
}
