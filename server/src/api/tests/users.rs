//! `GET /v2/utilities/presence/{username}`

use ::presence::EndReason;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::*;

#[tokio::test]
async fn a_user_has_the_fields_of_the_example_in_its_order() {
    let api = TestApi::new();
    api.online("alice", "client-abc", &["chat/lobby"]);
    assert_eq!(
        api.get(&format!("{LIST}/alice")).await.body,
        "{\"username\":\"alice\",\"display_name\":\"Alice Martin\",\"is_online\":true,\
         \"session_count\":1,\"push_suspended\":false,\"sessions\":[{\"client_id\":\"client-abc\",\
         \"peer_host\":\"203.0.113.42\",\"peer_port\":54122,\
         \"connected_since\":\"2026-03-27T10:00:00Z\",\"protocol\":\"5\",\
         \"subscribed_topics\":[\"chat/lobby\"]}]}"
    );
}

#[tokio::test]
async fn an_offline_user_keeps_its_display_name_and_an_unknown_one_has_none() {
    let api = TestApi::new();
    for (name, display_name) in [("alice", "\"Alice Martin\""), ("nobody", "null")] {
        let reply = api.get(&format!("{LIST}/{name}")).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(
            reply.body,
            format!(
                "{{\"username\":\"{name}\",\"display_name\":{display_name},\"is_online\":false,\
                 \"session_count\":0,\"push_suspended\":false,\"last_seen\":null,\
                 \"sessions\":[]}}"
            )
        );
    }
}

#[tokio::test]
async fn names_with_any_characters_can_be_asked_for() {
    let api = TestApi::new();
    let ascii = "n".repeat(10_240);
    let wide = "ü".repeat(5_120);
    let names = [
        "a/b", "/", "%", "%2F", "a@b", "me@a", "ü", "🦀", "a b", "a+b", "?x=1", "#", "..", &ascii,
        &wide,
    ];
    for (at, name) in names.into_iter().enumerate() {
        api.online(name, &at.to_string(), &[]);
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let json = api.get(&format!("{LIST}/{encoded}")).await.json();
        assert_eq!(text(&json["username"]), name);
        assert_eq!(json["session_count"], 1, "{name}");
    }
}

#[tokio::test]
async fn what_may_stand_unencoded_in_a_path_means_itself() {
    let api = TestApi::new();
    for name in ["ann@home", "a+b", "a:b", "..", "a=b&c"] {
        api.online(name, name, &[]);
        assert_eq!(
            api.get(&format!("{LIST}/{name}")).await.json()["session_count"],
            1,
            "{name}"
        );
    }
}

#[tokio::test]
async fn sessions_come_in_order_of_opening_with_their_protocols() {
    let api = TestApi::new();
    let protocols = [
        (Protocol::V5, "5"),
        (Protocol::V311, "4"),
        (Protocol::V31, "3"),
    ];
    for (protocol, level) in protocols {
        api.state.orgs[0].open(&Opening {
            id: ::presence::SessionId([7; 16]),
            os: None,
            username: "alice",
            client_id: level,
            protocol,
            peer: Some("[2001:db8::1]:443".parse().unwrap()),
            connected_at_ms: CONNECTED_AT_MS,
            address: Address {
                worker: 0,
                connection: 0,
            },
        });
    }
    let json = api.get(&format!("{LIST}/alice")).await.json();
    for (at, (_, level)) in protocols.into_iter().enumerate() {
        let session = &json["sessions"][at];
        assert_eq!(
            (text(&session["client_id"]), text(&session["protocol"])),
            (level.into(), level.into())
        );
        assert_eq!(text(&session["peer_host"]), "2001:db8::1");
        assert_eq!(session["peer_port"], 443);
    }
}

#[tokio::test]
async fn a_user_with_very_many_sessions_is_complete() {
    let api = TestApi::new();
    for at in 0..2000 {
        api.online("alice", &format!("c{at}"), &[]);
    }
    let json = api.get(&format!("{LIST}/alice")).await.json();
    assert_eq!(json["sessions"].as_array().unwrap().len(), 2000);
    assert_eq!(
        (&json["session_count"], &json["is_online"]),
        (&2000.into(), &true.into())
    );
    assert_eq!(json["display_name"], "Alice Martin");
}

#[tokio::test]
async fn impossible_names_are_bad_requests() {
    let api = TestApi::new();
    for raw in ["%FF", "%C3", "%", "%2", "%zz", "a%00b", "%ED%A0%80"] {
        let reply = api.get(&format!("{LIST}/{raw}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{raw}");
        assert_eq!(reply.json()["type"], "urn:whosthere:problem:bad-name");
    }
}

#[tokio::test]
async fn an_offline_user_was_last_seen_at_its_last_event() {
    let api = TestApi::new();
    let seen = |json: Value| (json["push_suspended"].clone(), json["last_seen"].clone());
    let path = format!("{LIST}/alice");
    api.happened(opened("alice", 1, CONNECTED_AT_MS));
    let reason = ::presence::EndReason::ClientDisconnect;
    api.happened(ended("alice", 1, CONNECTED_AT_MS + 60_999, reason));
    let last_seen = Value::from("2026-03-27T10:01:00Z");
    assert_eq!(
        seen(api.get(&path).await.json()),
        (false.into(), last_seen.clone())
    );
    api.views.lock().unwrap().flush().unwrap();
    assert_eq!(seen(api.get(&path).await.json()), (false.into(), last_seen));
    let foreign = api.send(request("GET", &path, Some(KEY_B))).await;
    assert_eq!(seen(foreign.json()), (false.into(), Value::Null));
}

#[tokio::test]
async fn push_is_suspended_from_a_logout_to_the_next_connect() {
    let api = TestApi::new();
    let path = format!("{LIST}/alice");
    let suspended = async || api.get(&path).await.json()["push_suspended"].clone();
    api.happened(opened("alice", 1, 1));
    assert_eq!(suspended().await, false);
    api.happened(ended("alice", 1, 2, ::presence::EndReason::LoggedOut));
    assert_eq!(suspended().await, true);
    api.happened(opened("alice", 2, 3));
    assert_eq!(suspended().await, false);
}

#[tokio::test]
async fn a_user_who_is_online_has_no_last_seen() {
    let api = TestApi::new();
    api.online("alice", "c", &[]);
    let json = api.get(&format!("{LIST}/alice")).await.json();
    assert_eq!(json.get("last_seen"), None);
    assert_eq!(json["push_suspended"], false);
}

#[tokio::test]
async fn an_answer_has_whatever_was_committed_when_it_was_asked_for() {
    let api = TestApi::new();
    api.happened(opened("alice", 1, 1_000));
    api.committed.store(2, Ordering::Relaxed);
    let later = async {
        tokio::task::yield_now().await;
        api.happened(ended("alice", 1, 2_000, EndReason::LoggedOut));
    };
    let (reply, ()) = tokio::join!(api.get("/v2/utilities/presence/alice"), later);
    let json = reply.json();
    assert_eq!(json["push_suspended"], true);
    assert_eq!(json["last_seen"], "1970-01-01T00:00:02Z");
}

#[tokio::test]
async fn views_that_stay_behind_are_told_rather_than_hidden() {
    let api = TestApi::with_http("events_wait_secs = 0");
    api.committed.store(1, Ordering::Relaxed);
    for path in ["", "/history"] {
        let reply = api
            .get(&format!("/v2/utilities/presence/alice{path}"))
            .await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(reply.json()["type"].as_str().unwrap().ends_with("behind"));
        assert_eq!(reply.headers["retry-after"], "1");
    }
}
