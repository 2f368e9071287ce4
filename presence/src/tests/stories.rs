//! Single rules, each as a short story.

use std::net::SocketAddr;

use topics::{TopicFilter, TopicName};

use super::rows;
use crate::{
    Address, Listing, Opened, Opening, Org, Piece, Protocol, SessionId, SessionRef, SubscribeError,
};

fn open(org: &Org, username: &str, client_id: &str) -> Opened {
    org.open(&Opening {
        id: SessionId([7; 16]),
        os: None,
        username,
        client_id,
        protocol: Protocol::V311,
        peer: Some(SocketAddr::from(([203, 0, 113, 42], 54122))),
        connected_at_ms: 1,
        address: Address {
            worker: 3,
            connection: 77,
        },
    })
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::parse(text).expect("valid")
}

fn subscribe(org: &Org, session: SessionRef, text: &str) {
    assert_eq!(
        org.subscribe(session, filter(text), 1, None, 1_000),
        Ok(true)
    );
}

/// So many users, each with a session that has this subscription.
fn crowd(org: &Org, count: usize, text: &str) -> Vec<SessionRef> {
    let join = |number| {
        let name = format!("user-{number}");
        let session = open(org, &name, &name).session;
        subscribe(org, session, text);
        session
    };
    (0..count).map(join).collect()
}

fn clients(org: &Org, listing: Listing) -> Vec<String> {
    let mut found = Vec::new();
    let mut listing = listing;
    while listing.next_piece(org, 3, &mut |view, _| {
        found.push(view.client_id().to_owned())
    }) != Piece::Done
    {}
    found
}

#[test]
fn takeover_ends_the_old_session_of_another_user_too() {
    let org = Org::new("org");
    let old = open(&org, "alice", "phone").session;
    subscribe(&org, old, "chat/#");
    let new = open(&org, "bob", "phone");
    let ended = new.taken_over.expect("the client id was taken");
    assert_eq!(
        (ended.facts.session, ended.facts.username.as_str()),
        (old, "alice")
    );
    assert!(clients(&org, Listing::of_user("alice")).is_empty());
    assert_eq!(clients(&org, Listing::of_user("bob")), ["phone"]);
    assert_eq!(
        org.counts().subscriptions,
        0,
        "subscriptions do not pass on"
    );
}

#[test]
fn an_ended_session_can_neither_end_again_nor_subscribe() {
    let org = Org::new("org");
    let session = open(&org, "alice", "phone").session;
    assert!(org.end(session).is_some());
    open(&org, "alice", "tablet");
    assert!(org.end(session).is_none());
    assert_eq!(
        org.subscribe(session, filter("a"), 0, None, 10),
        Err(SubscribeError::Ended)
    );
    assert!(!org.unsubscribe(session, filter("a")));
    assert!(org.session(session).is_none());
}

#[test]
fn subscriptions_of_a_session_are_limited_and_a_repeated_one_is_none_more() {
    let org = Org::new("org");
    let session = open(&org, "alice", "phone").session;
    assert_eq!(org.subscribe(session, filter("a"), 0, None, 1), Ok(true));
    assert_eq!(org.subscribe(session, filter("a"), 1, None, 1), Ok(false));
    assert_eq!(
        org.subscribe(session, filter("b"), 0, None, 1),
        Err(SubscribeError::TooMany)
    );
}

#[test]
fn a_repeated_subscription_has_the_new_options() {
    let org = Org::new("org");
    let session = open(&org, "alice", "phone").session;
    for options in [0, 1, 63] {
        let _ = org.subscribe(session, filter("a"), options, None, 10);
        let mut recipients = Vec::new();
        org.recipients(TopicName::parse("a").expect("valid"), &mut recipients);
        assert_eq!(recipients.len(), 1);
        assert_eq!(recipients[0].options, options);
        assert_eq!(
            (
                recipients[0].address.worker,
                recipients[0].address.connection
            ),
            (3, 77)
        );
    }
}

#[test]
fn addresses_come_back_as_they_went_in() {
    let org = Org::new("org");
    for (given, shown) in [
        ("203.0.113.42:54122", "203.0.113.42:54122"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("[::ffff:192.0.2.7]:1", "192.0.2.7:1"),
    ] {
        org.open(&Opening {
            id: SessionId([7; 16]),
            os: None,
            username: given,
            client_id: given,
            protocol: Protocol::V5,
            peer: Some(given.parse().expect("an address")),
            connected_at_ms: 0,
            address: Address {
                worker: 0,
                connection: 0,
            },
        });
        let mut peer = None;
        Listing::of_user(given).next_piece(&org, 1, &mut |view, _| peer = view.peer());
        assert_eq!(peer, Some(shown.parse().expect("an address")));
    }
}

#[test]
fn one_user_with_thousands_of_sessions_is_listed_in_pieces() {
    let org = Org::new("org");
    for number in 0..5_000 {
        open(&org, "fleet", &format!("device-{number}"));
    }
    let (rows, users) = rows(&org, Listing::of_user("fleet"), 100);
    assert_eq!((rows.len(), users), (5_000, 1));
    let mut largest = 0;
    let mut listing = Listing::of_user("fleet");
    loop {
        let mut piece_rows = 0;
        let piece = listing.next_piece(&org, usize::MAX, &mut |_, _| piece_rows += 1);
        largest = largest.max(piece_rows);
        if piece == Piece::Done {
            break;
        }
    }
    assert!(largest <= 1_024, "a piece visited {largest} rows");
}

#[test]
fn a_room_larger_than_a_piece_is_gathered_whole_while_people_leave_and_enter() {
    let org = Org::new("org");
    let sessions = crowd(&org, 200, "news");
    for number in 0..1_000 {
        open(&org, &format!("other-{number}"), &format!("other-{number}"));
    }
    let mut leaving = sessions.iter().rev().step_by(2);
    let mut listing = Listing::of_org(Some(filter("news")), None);
    let mut seen = std::collections::HashMap::new();
    let mut left = std::collections::HashSet::new();
    while listing.next_piece(&org, 20, &mut |view, _| {
        *seen.entry(view.session.serial).or_insert(0) += 1;
    }) != Piece::Done
    {
        for session in leaving.by_ref().take(1) {
            org.end(*session);
            left.insert(session.serial);
        }
        let name = format!("late-{}", left.len());
        let late = open(&org, &name, &name).session;
        let _ = org.subscribe(late, filter("news"), 0, None, 10);
    }
    assert!(left.len() > 50, "some left while it was listed");
    for session in sessions.iter().filter(|one| !left.contains(&one.serial)) {
        assert_eq!(seen.get(&session.serial), Some(&1));
    }
    assert!(seen.values().all(|times| *times == 1));
}

#[test]
fn a_share_group_is_gathered_whole_while_members_are_found_gone() {
    let org = Org::new("org");
    let sessions = crowd(&org, 60, "$share/crew/jobs");
    let share = org.share_of(filter("$share/crew/jobs")).expect("shared");
    let mut listing = Listing::of_org(Some(filter("jobs")), None);
    let mut seen = Vec::new();
    // One piece finds the group, and then each walks past three of it: who stands where the walk
    // stands is found gone. Members stand in it from the last to the first.
    let mut stand = sessions.iter().rev().skip(2).step_by(4);
    let mut has_begun = false;
    while listing.next_piece(&org, 10, &mut |view, _| seen.push(view.session.serial)) != Piece::Done
    {
        if std::mem::replace(&mut has_begun, true)
            && let Some(gone) = stand.next()
        {
            let _ = org.next_member(share, *gone);
        }
    }
    seen.sort_unstable();
    let all: Vec<_> = sessions.iter().map(|session| session.serial).collect();
    assert_eq!(seen, all);
}

#[test]
fn who_exchanges_a_subscription_for_another_while_it_is_listed_is_found() {
    let org = Org::new("org");
    let sessions = crowd(&org, 60, "news/a");
    let mut listing = Listing::of_org(Some(filter("news/+")), None);
    let (mut seen, mut pieces) = (Vec::new(), 0);
    while listing.next_piece(&org, 100, &mut |view, _| seen.push(view.session.serial))
        != Piece::Done
    {
        pieces += 1;
        // The lists are known, and the walk begins with those who came last.
        if (2..6).contains(&pieces) {
            let session = sessions[pieces];
            subscribe(&org, session, "news/b");
            assert!(org.unsubscribe(session, filter("news/a")));
        }
    }
    seen.sort_unstable();
    let all: Vec<_> = sessions.iter().map(|session| session.serial).collect();
    assert_eq!(seen, all);
}

#[test]
fn filters_too_many_to_gather_are_answered_all_the_same() {
    let org = Org::new("org");
    for number in 0..20_000 {
        let name = format!("user-{number}");
        let session = open(&org, &name, &name).session;
        subscribe(&org, session, &format!("users/{name}/inbox"));
    }
    let (found, users) = rows(
        &org,
        Listing::of_org(Some(filter("users/+/inbox")), None),
        256,
    );
    assert_eq!((found.len(), users), (20_000, 20_000));
}

#[test]
fn nothing_is_left_when_everybody_has_gone() {
    let org = Org::new("org");
    let sessions: Vec<_> = (0..100)
        .map(|number| {
            let session = open(&org, &format!("u{}", number % 7), &format!("c{number}")).session;
            subscribe(&org, session, &format!("a/{number}"));
            subscribe(&org, session, "a/#");
            session
        })
        .collect();
    for session in sessions {
        org.end(session);
    }
    assert_eq!(org.counts(), crate::Counts::default());
}

#[test]
fn members_of_a_group_take_turns_while_others_come_and_go() {
    let org = Org::new("org");
    let join = |number: usize| {
        let session = open(&org, "workers", &format!("worker-{number}")).session;
        subscribe(&org, session, "$share/crew/jobs/+");
        session
    };
    let sessions: Vec<_> = (0..4).map(join).collect();
    let next = || {
        let mut recipients = Vec::new();
        org.recipients(TopicName::parse("jobs/7").expect("valid"), &mut recipients);
        assert_eq!(recipients.len(), 1);
        recipients[0].session
    };
    let round: Vec<_> = (0..4).map(|_| next()).collect();
    assert_eq!((0..4).map(|_| next()).collect::<Vec<_>>(), round);
    // The one whose turn it is leaves: the turn is the next one's.
    org.end(round[0]);
    assert_eq!(next(), round[1]);
    join(9);
    assert_eq!((next(), next()), (round[2], round[3]));
    assert!(!sessions.contains(&next()), "who came late has a turn too");
}

#[test]
fn a_group_names_another_member_when_the_first_was_gone_and_nobody_when_all_are() {
    let org = Org::new("org");
    let first = open(&org, "workers", "one").session;
    let second = open(&org, "workers", "two").session;
    for session in [first, second] {
        subscribe(&org, session, "$share/crew/jobs");
    }
    let mut recipients = Vec::new();
    org.recipients(TopicName::parse("jobs").expect("valid"), &mut recipients);
    let share = recipients[0].share.expect("a shared subscription");
    let gone = recipients[0].session;
    let other = org.next_member(share, gone).expect("there are two");
    assert_ne!(other.session, gone);
    for _ in 0..4 {
        recipients.clear();
        org.recipients(TopicName::parse("jobs").expect("valid"), &mut recipients);
        assert_eq!(
            recipients[0].session, other.session,
            "who is gone has no turn"
        );
    }
    assert_eq!(org.next_member(share, other.session), None);
    recipients.clear();
    org.recipients(TopicName::parse("jobs").expect("valid"), &mut recipients);
    assert_eq!(recipients, [], "a group of which all are gone has no turn");
    org.end(first);
    org.end(second);
    assert_eq!(org.next_member(share, gone), None);
    // Who joins later is as good as those who were there.
    let third = open(&org, "workers", "three").session;
    subscribe(&org, third, "$share/crew/jobs");
    let next = org.next_member(share, gone).expect("one has come");
    assert_eq!(next.session, third);
    assert_eq!(next.share, Some(share));
}

#[test]
fn one_filter_held_alone_and_in_two_groups_is_three_subscriptions() {
    let org = Org::new("org");
    let session = open(&org, "alice", "phone").session;
    for text in ["$share/g/a/+", "a/+", "$share/h/a/+"] {
        subscribe(&org, session, text);
    }
    let mut topics = Vec::new();
    let mut listing = Listing::of_org(Some(filter("a/b")), None);
    while listing.next_piece(&org, 9, &mut |view, _| {
        view.for_each_topic(|topic| topics.push(topic.to_owned()));
    }) != Piece::Done
    {}
    assert_eq!(topics, ["$share/g/a/+", "a/+", "$share/h/a/+"]);
    let mut recipients = Vec::new();
    org.recipients(TopicName::parse("a/b").expect("valid"), &mut recipients);
    assert_eq!(recipients.len(), 3);
    assert!(org.unsubscribe(session, filter("$share/g/a/+")));
    assert_eq!(org.counts().subscriptions, 2);
}

#[test]
fn a_group_of_a_hundred_thousand_costs_a_message_one_member() {
    let org = Org::new("org");
    for number in 0..100_000 {
        let name = format!("worker-{number}");
        let session = open(&org, &name, &name).session;
        subscribe(&org, session, "$share/crew/jobs");
    }
    let started = std::time::Instant::now();
    let mut recipients = Vec::new();
    for _ in 0..100_000 {
        org.recipients(TopicName::parse("jobs").expect("valid"), &mut recipients);
    }
    let serials: std::collections::HashSet<_> =
        recipients.iter().map(|one| one.session.serial).collect();
    assert_eq!(serials.len(), 100_000, "each has had one");
    // Ten thousand million steps, if each message looked at everybody.
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn a_stored_session_is_found_by_queries_and_gets_messages_only_in_its_turn() {
    let org = Org::new("org");
    let session = org
        .open(&Opening {
            id: SessionId([7; 16]),
            os: None,
            username: "alice",
            client_id: "phone",
            protocol: Protocol::V5,
            peer: None,
            connected_at_ms: 1,
            address: Address {
                worker: 0,
                connection: 0,
            },
        })
        .session;
    org.mark_stored(session);
    for text in ["a/+", "$share/g/a/+"] {
        subscribe(&org, session, text);
    }
    let mut recipients = Vec::new();
    org.recipients(TopicName::parse("a/b").expect("valid"), &mut recipients);
    assert_eq!(recipients.len(), 1);
    assert!(recipients[0].is_stored && recipients[0].share.is_some());
    let (found, _) = rows(&org, Listing::of_org(Some(filter("a/b")), None), 8);
    assert_eq!(found.len(), 1);
}
