//! `/v2/webhooks`: how they do, dead letters, replays, tests.

use std::io::{Read, Write};
use std::net::TcpListener;

use ::presence::EndReason;
use tokio::sync::watch;
use views::DeadLetter;

use super::*;
use crate::webhooks::WebhookMetrics;

const HOOKS: &str = "/v2/webhooks";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The tables of an endpoint at a port of this machine.
fn table(id: &str, port: u16) -> String {
    format!(
        "[[org.webhook]]\nid = \"{id}\"\nsecret = \"{SECRET}\"\n\
         url = \"http://127.0.0.1:{port}/in?token=hush-hush\"\n"
    )
}

/// An API whose organisation `a` has the webhooks `main` and `other`, which nobody receives.
fn with_hooks() -> TestApi {
    TestApi::with("", &(table("main", 1) + &table("other", 1)))
}

impl TestApi {
    /// Starts the tasks of the webhooks.
    fn start_hooks(&self) -> crate::webhooks::Running {
        let views = self.views.lock().unwrap();
        let (_, folded) = watch::channel(views.position());
        let count = self.state.webhooks.keys().len();
        let readers = (0..count).map(|_| views.reader().unwrap()).collect();
        let metrics = WebhookMetrics::register(&mut Default::default());
        let prepared = self.prepared.lock().unwrap().take().unwrap();
        prepared
            .start(
                &tokio::runtime::Handle::current(),
                &folded,
                readers,
                &metrics,
                std::time::Duration::ZERO,
            )
            .unwrap()
    }

    /// An event of Alice that `a/main` was given up on.
    fn bury(&self, number: u8, at_ms: u64) -> Arc<Event> {
        let event = self.happened(opened("alice", number, at_ms));
        let letter = DeadLetter {
            event: (*event).clone(),
            attempts: 4,
            buried_at_ms: at_ms + 1,
            last_error: "refused with status 400".into(),
        };
        self.deliveries
            .lock()
            .unwrap()
            .bury("a/main", &letter)
            .unwrap();
        event
    }

    /// How many dead letters a webhook of organisation `a` has, as the list tells it.
    async fn dead_letters(&self, id: &str) -> u64 {
        let json = self.get(HOOKS).await.json();
        let hooks = json["webhooks"].as_array().unwrap();
        let hook = hooks.iter().find(|hook| hook["id"] == id).unwrap();
        hook["dead_letters"].as_u64().unwrap()
    }
}

/// Answers each request with a status, on a port of its own.
fn receiver(status: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

#[tokio::test]
async fn webhooks_are_listed_without_what_may_be_secret() {
    let api = with_hooks();
    api.bury(1, 1000);
    let json = api.get(HOOKS).await.json();
    let hook = |id: &str, dead_letters: u64| {
        serde_json::json!({
            "id": id, "url": "http://127.0.0.1:1/in", "state": "open", "backlog": 0,
            "oldest_waiting_since": null, "last_error": null, "last_delivered_at": null,
            "delivered": 0, "attempts": 0, "dead_letters": dead_letters, "paused_until": null,
        })
    };
    let expected = serde_json::json!({ "webhooks": [hook("main", 1), hook("other", 0)] });
    assert_eq!(json, expected);
    assert!(!json.to_string().contains("hush-hush"));
}

#[tokio::test]
async fn a_key_opens_the_webhooks_of_its_own_organisation_only() {
    let api = with_hooks();
    let foreign = api.send(request("GET", HOOKS, Some(KEY_B))).await;
    assert_eq!(foreign.body, "{\"webhooks\":[]}");
    let paths = [
        ("GET", "main/dead-letters"),
        ("POST", "main/replay"),
        ("POST", "main/test"),
        ("POST", "main/enable"),
    ];
    for (method, path) in paths {
        let path = format!("{HOOKS}/{path}");
        let foreign = api.send(request(method, &path, Some(KEY_B))).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{path}");
        let nobody = api.send(request(method, &path, None)).await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED, "{path}");
        let unknown = path.replace("main", "mai%6E%FF");
        let unknown = api.send(request(method, &unknown, Some(KEY_A))).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{path}");
        let other = if method == "GET" { "POST" } else { "GET" };
        let wrong = api.send(request(other, &path, Some(KEY_A))).await;
        assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

#[tokio::test]
async fn dead_letters_come_page_by_page_in_the_order_they_were_given_up() {
    let api = with_hooks();
    let buried: Vec<_> = (1..=5).map(|number| api.bury(number, 1000)).collect();
    let path = format!("{HOOKS}/main/dead-letters");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let json = api.get(&format!("{path}?limit=2{cursor}")).await.json();
        let rows = json["dead_letters"].as_array().unwrap().iter();
        seen.extend(rows.map(|row| text(&row["id"])));
        match json["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = buried.iter().map(|event| event.id().to_string()).collect();
    assert_eq!(seen, expected);
    let json = api.get(&path).await.json();
    let first = &json["dead_letters"][0];
    assert_eq!(first["username"], "alice");
    assert_eq!(
        (&first["time"], &first["given_up_at"]),
        (&1000.into(), &1001.into())
    );
    assert_eq!((&first["attempts"], &first["seq"]), (&4.into(), &1.into()));
    assert_eq!(first["last_error"], "refused with status 400");
    for query in ["limit=0", "cursor=x"] {
        let reply = api.get(&format!("{path}?{query}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn dead_letters_are_sent_again_by_id_or_by_time() {
    let api = with_hooks();
    let ids: Vec<_> = (1..=4_u8)
        .map(|number| api.bury(number, 1000 * u64::from(number)).id())
        .collect();
    let running = api.start_hooks();
    let path = format!("{HOOKS}/main/replay");
    let body = format!("{{\"ids\":[\"{}\",\"{}\"]}}", ids[0], uuid::Uuid::nil());
    assert_eq!(api.post(&path, &body).await.body, "{\"queued\":1}");
    assert_eq!(api.dead_letters("main").await, 3);
    let body = "{\"from\":2000,\"to\":\"1970-01-01T00:00:04Z\"}";
    assert_eq!(api.post(&path, body).await.body, "{\"queued\":2}");
    assert_eq!(api.dead_letters("main").await, 1);
    let other = api.post(&format!("{HOOKS}/other/replay"), body).await;
    assert_eq!(other.body, "{\"queued\":0}");
    running.finish().await;
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_where() {
    let api = TestApi::with("body_bytes_max = 100", &table("main", 1));
    let path = format!("{HOOKS}/main/replay");
    for (body, part) in [
        ("", "column 0"),
        ("{\"ids\":7}", "column 8"),
        ("{}", "`ids`"),
    ] {
        let reply = api.post(&path, body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}");
        let json = reply.json();
        assert_eq!(json["type"], "urn:whosthere:problem:bad-body");
        assert!(text(&json["detail"]).contains(part), "{json}");
    }
    let reply = api.post(&path, &" ".repeat(101)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_test_tells_what_the_receiver_said() {
    let rows = [
        (
            "204 No Content",
            r#"{"delivered":true,"status":204,"error":null}"#,
        ),
        (
            "302 Found",
            r#"{"delivered":false,"status":302,"error":"status 302"}"#,
        ),
        (
            "410 Gone",
            r#"{"delivered":false,"status":410,"error":"status 410"}"#,
        ),
        (
            "500 Oops",
            r#"{"delivered":false,"status":500,"error":"status 500"}"#,
        ),
    ];
    for (status, expected) in rows {
        let api = TestApi::with("", &table("main", receiver(status)));
        let reply = api.post(&format!("{HOOKS}/main/test"), "").await;
        assert_eq!(reply.body, expected);
    }
    let api = with_hooks();
    let json = api.post(&format!("{HOOKS}/main/test"), "").await.json();
    assert_eq!(
        (&json["delivered"], &json["status"]),
        (&false.into(), &Value::Null)
    );
    assert!(text(&json["error"]).contains("connection"), "{json}");
}

#[tokio::test]
async fn one_test_of_a_receiver_at_a_time() {
    let api = TestApi::with("", &table("main", receiver("204 No Content")));
    let path = format!("{HOOKS}/main/test");
    let (first, second) = tokio::join!(api.post(&path, ""), api.post(&path, ""));
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(second.headers["retry-after"], "1");
    let type_of = second.json()["type"].clone();
    assert_eq!(type_of, "urn:whosthere:problem:test-under-way");
    assert_eq!(api.post(&path, "").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_disabled_webhook_is_shown_as_such_until_it_is_enabled() {
    let api = TestApi::with("", &table("main", receiver("204 No Content")));
    let why = views::Disabled {
        why: "it answered 410".into(),
        at_ms: 1,
    };
    api.deliveries
        .lock()
        .unwrap()
        .disable("a/main", &why)
        .unwrap();
    let event = api.happened(ended("alice", 1, 1, EndReason::Terminated));
    let id = event.id();
    let letter = DeadLetter {
        event: (*event).clone(),
        attempts: 1,
        buried_at_ms: 1,
        last_error: "gone".into(),
    };
    api.deliveries
        .lock()
        .unwrap()
        .bury("a/main", &letter)
        .unwrap();
    let running = api.start_hooks();
    let body = format!("{{\"ids\":[\"{id}\"]}}");
    // Whoever asks twice gets it once.
    for _ in 0..2 {
        let reply = api.post(&format!("{HOOKS}/main/replay"), &body).await;
        assert_eq!(reply.body, "{\"queued\":1}");
    }
    let hook = async || api.get(HOOKS).await.json()["webhooks"][0].clone();
    wait_for(async || hook().await["state"] == "disabled").await;
    assert_eq!(hook().await["delivered"], 0);
    for _ in 0..2 {
        let reply = api.post(&format!("{HOOKS}/main/enable"), "").await;
        assert_eq!(
            (reply.status, reply.body),
            (StatusCode::NO_CONTENT, String::new())
        );
    }
    wait_for(async || hook().await["delivered"] == 1).await;
    let hook = hook().await;
    assert_eq!(
        (&hook["state"], &hook["attempts"]),
        (&"open".into(), &1.into())
    );
    assert!(hook["last_delivered_at"].is_string());
    running.finish().await;
}

/// Waits for a state, but not for ever.
async fn wait_for(is_reached: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if is_reached().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it was not reached in five seconds");
}
