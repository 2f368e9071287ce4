//! `GET /v2/utilities/presence/{username}/history`

use ::presence::EndReason;

use super::*;

const PATH: &str = "/v2/utilities/presence/alice/history";

/// The times of the events in an answer.
fn times(json: &Value) -> Vec<u64> {
    let events = json["events"].as_array().unwrap().iter();
    events
        .map(|event| event["time"].as_u64().unwrap())
        .collect()
}

/// `count` sessions, each a second long; events happen at whole seconds.
fn with_sessions(count: u8) -> TestApi {
    let api = TestApi::new();
    for number in 0..count {
        let at_ms = 2000 * u64::from(number);
        api.happened(opened("alice", number, at_ms));
        api.happened(ended("alice", number, at_ms + 1000, EndReason::TakenOver));
        api.happened(opened("bob", number + 100, at_ms));
    }
    api
}

#[tokio::test]
async fn events_have_the_values_of_webhooks_under_the_names_of_the_api() {
    let api = TestApi::new();
    let came = api.happened(opened("alice", 7, CONNECTED_AT_MS));
    let at_ms = CONNECTED_AT_MS + 1500;
    let went = api.happened(ended("alice", 7, at_ms, EndReason::LoggedOut));
    let reply = api.get(PATH).await;
    assert_eq!(reply.header(header::CONTENT_TYPE), Some("application/json"));
    let session = "sess_07070707070707070707070707070707";
    assert_eq!(
        reply.body,
        format!(
            "{{\"username\":\"alice\",\"events\":[\
             {{\"id\":\"{}\",\"status\":\"2\",\"time\":{at_ms},\"session_id\":\"{session}\",\
             \"client_id\":\"client-7\",\"os\":null,\"reason\":\"logged_out\",\
             \"online_sessions\":0,\"seq\":2,\"peer_host\":null,\"peer_port\":null,\
             \"protocol\":\"5\",\"connected_at\":{CONNECTED_AT_MS}}},\
             {{\"id\":\"{}\",\"status\":\"0\",\"time\":{CONNECTED_AT_MS},\
             \"session_id\":\"{session}\",\"client_id\":\"client-7\",\"os\":\"iOS\",\
             \"reason\":null,\"online_sessions\":1,\"seq\":1,\"peer_host\":\"2001:db8::1\",\
             \"peer_port\":443,\"protocol\":\"5\",\"connected_at\":{CONNECTED_AT_MS}}}],\
             \"next_cursor\":null}}",
            went.id(),
            came.id()
        )
    );
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap_while_events_come() {
    let api = with_sessions(5);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let json = api.get(&format!("{PATH}?limit=3{cursor}")).await.json();
        seen.extend(times(&json));
        api.happened(opened("alice", 50, 60_000));
        api.views.lock().unwrap().flush().unwrap();
        match json["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<u64> = (0..10).rev().map(|second| second * 1000).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_range_takes_in_its_beginning_and_not_its_end() {
    let api = with_sessions(3);
    let rows = [
        ("from=2000&to=4000", vec![3000, 2000]),
        ("from=4000", vec![5000, 4000]),
        ("to=1000", vec![0]),
        (
            "from=1970-01-01T00:00:03Z&to=1970-01-01T01:00:04%2B01:00",
            vec![3000],
        ),
        (
            "from=1970-01-01T00:00:03Z&to=1970-01-01T01:00:04+01:00",
            vec![3000],
        ),
        ("from=4000&to=2000", vec![]),
        ("from=1970-01-02", vec![]),
    ];
    for (query, expected) in rows {
        let json = api.get(&format!("{PATH}?{query}")).await.json();
        assert_eq!(times(&json), expected, "{query}");
    }
}

#[tokio::test]
async fn nobody_sees_the_history_of_another_organisation() {
    let api = with_sessions(1);
    let foreign = api.send(request("GET", PATH, Some(KEY_B))).await;
    assert_eq!(foreign.json()["events"], serde_json::json!([]));
    let unknown = api.get(&PATH.replace("alice", "nobody")).await;
    assert_eq!(
        unknown.body,
        "{\"username\":\"nobody\",\"events\":[],\"next_cursor\":null}"
    );
}

#[tokio::test]
async fn a_cursor_of_another_user_finds_nothing_of_hers() {
    let api = with_sessions(4);
    let json = api.get(&format!("{PATH}?limit=1")).await.json();
    let cursor = text(&json["next_cursor"]);
    let path = PATH.replace("alice", "bob");
    let stolen = api.get(&format!("{path}?cursor={cursor}")).await.json();
    assert_eq!(stolen["events"], serde_json::json!([]));
}

#[tokio::test]
async fn names_with_slashes_have_a_history_too() {
    let api = TestApi::new();
    for name in ["a/b", "history", "/history", ""] {
        api.happened(opened(name, 1, 1));
        let encoded = name.replace('/', "%2F");
        let path = format!("{LIST}/{encoded}/history");
        let reply = api.get(&path).await;
        if name.is_empty() {
            assert_eq!(reply.status, StatusCode::NOT_FOUND);
        } else {
            assert_eq!(times(&reply.json()), [1], "{name}");
        }
    }
}

#[tokio::test]
async fn wrong_parameters_are_told_apart() {
    let api = TestApi::new();
    let rows = [
        ("from=yesterday", "bad-time"),
        ("to=", "bad-time"),
        ("limit=0", "bad-limit"),
        ("limit=10001", "bad-limit"),
        ("cursor=x", "bad-cursor"),
        ("cursor=+000000000000001", "bad-cursor"),
        ("from=1&from=2", "bad-query"),
    ];
    for (query, kind) in rows {
        let reply = api.get(&format!("{PATH}?{query}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}");
        let kind = format!("urn:whosthere:problem:{kind}");
        assert_eq!(text(&reply.json()["type"]), kind, "{query}");
    }
    let reply = api.get(&PATH.replace("alice", "%FF")).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let reply = api.send(request("GET", PATH, None)).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
}
