//! `GET /v2/utilities/presence`

use std::collections::HashSet;

use super::*;

/// Follows `next_cursor` to the end; gives all rows, page by page.
async fn all_pages(api: &TestApi, query: &str) -> Vec<Vec<(String, String)>> {
    let mut pages = Vec::new();
    let mut path = format!("{LIST}?{query}");
    loop {
        let reply = api.get(&path).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        pages.push(reply.rows());
        match &reply.json()["next_cursor"] {
            Value::Null => return pages,
            cursor => path = format!("{LIST}?{query}&cursor={}", text(cursor)),
        }
    }
}

#[tokio::test]
async fn a_row_has_the_fields_of_the_example_in_its_order() {
    let api = TestApi::new();
    api.online("alice", "client-abc", &["chat/lobby", "a/+", "b/#"]);
    let reply = api.get(LIST).await;
    assert_eq!(
        reply.body,
        "{\"online_count\":1,\"session_count\":1,\"users\":[{\"username\":\"alice\",\
         \"display_name\":\"Alice Martin\",\"client_id\":\"client-abc\",\
         \"peer_host\":\"203.0.113.42\",\"connected_since\":\"2026-03-27T10:00:00Z\",\
         \"subscribed_topics\":[\"chat/lobby\",\"a/+\",\"b/#\"]}]}"
    );
    assert_eq!(reply.header(header::CONTENT_TYPE), Some("application/json"));
}

#[tokio::test]
async fn what_is_not_known_is_null() {
    let api = TestApi::new();
    api.state.orgs[0].open(&Opening {
        id: ::presence::SessionId([7; 16]),
        os: None,
        username: "bob",
        client_id: "c",
        protocol: Protocol::V311,
        peer: None,
        connected_at_ms: 0,
        address: Address {
            worker: 0,
            connection: 0,
        },
    });
    let row = &api.get(LIST).await.json()["users"][0];
    assert_eq!(
        (&row["display_name"], &row["peer_host"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(row["subscribed_topics"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn nobody_online_is_an_empty_list() {
    let reply = TestApi::new().get(LIST).await;
    assert_eq!(
        reply.body,
        r#"{"online_count":0,"session_count":0,"users":[]}"#
    );
}

#[tokio::test]
async fn a_user_counts_once_and_has_a_row_per_session() {
    let api = TestApi::new();
    api.online("alice", "phone", &[]);
    api.online("alice", "desk", &[]);
    api.online("bob", "c", &[]);
    let json = api.get(LIST).await.json();
    assert_eq!(
        (&json["online_count"], &json["session_count"]),
        (&2.into(), &3.into())
    );
}

#[tokio::test]
async fn a_session_that_ended_is_gone() {
    let api = TestApi::new();
    let session = api.online("alice", "phone", &["t"]);
    api.state.orgs[0].end(session);
    assert!(api.get(LIST).await.rows().is_empty());
    assert!(api.get(&format!("{LIST}?topic=t")).await.rows().is_empty());
}

#[tokio::test]
async fn organisations_never_see_each_other() {
    let api = TestApi::new();
    api.online("alice", "same", &["same"]);
    online(&api.state.orgs[1], "alice", "same", &["same"]);
    online(&api.state.orgs[1], "bob", "other", &["same"]);
    for path in [LIST.to_owned(), format!("{LIST}?topic=same")] {
        assert_eq!(
            api.get(&path).await.rows(),
            [("alice".into(), "same".into())]
        );
        let other = api.send(request("GET", &path, Some(KEY_B))).await;
        assert_eq!(other.json()["session_count"], 2);
    }
    // `a` has a name for its alice, `b` has not.
    let path = format!("{LIST}/alice");
    let other = api.send(request("GET", &path, Some(KEY_B))).await;
    assert_eq!(other.json()["display_name"], Value::Null);
}

#[tokio::test]
async fn a_topic_finds_the_sessions_whose_subscriptions_overlap() {
    let api = TestApi::new();
    api.online("lobby", "1", &["chat/lobby"]);
    api.online("all", "2", &["#"]);
    api.online("chat", "3", &["chat/#", "chat/lobby"]);
    api.online("system", "5", &["$SYS/x"]);
    api.online("space", "6", &["my room"]);
    let table: [(&str, &[&str]); 10] = [
        ("chat/lobby", &["all", "chat", "lobby"]),
        ("chat%2Flobby", &["all", "chat", "lobby"]),
        ("chat/+", &["all", "chat", "lobby"]),
        ("chat%2F%2B", &["all", "chat", "lobby"]),
        ("%23", &["all", "chat", "lobby", "space"]),
        ("$share/g/chat/lobby", &["all", "chat", "lobby"]),
        ("chat/dms", &["all", "chat"]),
        ("$SYS/%23", &["system"]),
        ("my%20room", &["all", "space"]),
        ("nothing/here", &["all"]),
    ];
    for (topic, expected) in table {
        let reply = api.get(&format!("{LIST}?topic={topic}")).await;
        let mut names: Vec<_> = reply.rows().into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, expected, "{topic}");
        assert_eq!(reply.json()["online_count"], expected.len());
    }
}

#[tokio::test]
async fn names_with_any_characters_arrive_whole() {
    let api = TestApi::new();
    let names = [
        "a\"b\\c",
        "a/b",
        "%2F",
        "ü🦀",
        "tab\there",
        "\u{1}",
        &"n".repeat(10_240),
    ];
    for (at, name) in names.iter().enumerate() {
        api.online(name, &at.to_string(), &[]);
    }
    let rows: HashSet<_> = api
        .get(LIST)
        .await
        .rows()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(rows, names.into_iter().map(str::to_owned).collect());
}

#[tokio::test]
async fn a_long_list_is_complete_and_its_counts_describe_it() {
    let api = TestApi::new();
    for user in 0..1500 {
        for session in 0..2 {
            api.online(&format!("u{user}"), &format!("c{user}-{session}"), &["t/x"]);
        }
    }
    for path in [LIST.to_owned(), format!("{LIST}?topic=t/%2B")] {
        let reply = api.get(&path).await;
        let json = reply.json();
        assert_eq!(
            (&json["online_count"], &json["session_count"]),
            (&1500.into(), &3000.into())
        );
        let clients: HashSet<_> = reply.rows().into_iter().map(|(_, client)| client).collect();
        assert_eq!(clients.len(), 3000);
        assert!(
            reply
                .body
                .ends_with(r#"],"online_count":1500,"session_count":3000}"#)
        );
        assert_eq!(reply.header(header::CONTENT_LENGTH), None);
    }
}

#[tokio::test]
async fn pages_together_have_every_session_once() {
    let api = TestApi::new();
    for at in 0..100 {
        api.online(&format!("u{}", at % 40), &format!("c{at}"), &["t"]);
    }
    for query in [
        "limit=1",
        "limit=7",
        "limit=99",
        "limit=100",
        "limit=1000",
        "limit=7&topic=t",
    ] {
        let pages = all_pages(&api, query).await;
        let rows = pages.concat();
        assert_eq!(rows.len(), 100, "{query}");
        assert_eq!(
            rows.into_iter().collect::<HashSet<_>>().len(),
            100,
            "{query}"
        );
    }
}

#[tokio::test]
async fn pages_longer_than_a_piece_keep_their_limit() {
    let api = TestApi::new();
    for at in 0..2000 {
        api.online(&format!("u{at}"), &format!("c{at}"), &[]);
    }
    let pages = all_pages(&api, "limit=700").await;
    let lengths: Vec<_> = pages
        .iter()
        .map(Vec::len)
        .filter(|&rows| rows > 0)
        .collect();
    assert_eq!(lengths, [700, 700, 600]);
}

#[tokio::test]
async fn paging_is_steady_while_sessions_come_and_go() {
    let api = TestApi::new();
    for at in 0..60 {
        api.online(&format!("stays{at}"), &format!("c{at}"), &[]);
    }
    let (mut seen, mut path) = (Vec::new(), format!("{LIST}?limit=5"));
    for round in 0.. {
        let passer = api.online(&format!("passes{round}"), &format!("p{round}"), &[]);
        let reply = api.get(&path).await;
        api.state.orgs[0].end(passer);
        seen.extend(
            reply
                .rows()
                .into_iter()
                .filter(|(name, _)| name.starts_with("stays")),
        );
        match &reply.json()["next_cursor"] {
            Value::Null => break,
            cursor => path = format!("{LIST}?limit=5&cursor={}", text(cursor)),
        }
    }
    assert_eq!(seen.len(), 60);
    assert_eq!(seen.into_iter().collect::<HashSet<_>>().len(), 60);
}

#[tokio::test]
async fn next_cursor_is_there_only_when_a_limit_was_given() {
    let api = TestApi::new();
    api.online("alice", "c", &[]);
    assert_eq!(api.get(LIST).await.json().get("next_cursor"), None);
    let last = api.get(&format!("{LIST}?limit=10")).await.json();
    assert_eq!(last.get("next_cursor"), Some(&Value::Null));
}

#[tokio::test]
async fn a_cursor_without_a_limit_gives_all_the_rest() {
    let api = TestApi::new();
    for at in 0..10 {
        api.online(&format!("u{at}"), &format!("c{at}"), &[]);
    }
    let first = api.get(&format!("{LIST}?limit=4")).await;
    let cursor = text(&first.json()["next_cursor"]);
    let rest = api.get(&format!("{LIST}?cursor={cursor}")).await;
    assert_eq!((first.rows().len(), rest.rows().len()), (4, 6));
}
