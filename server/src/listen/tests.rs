//! Real requests, signed by the sender, over a real port.

use std::sync::{Arc, Mutex};

use webhook::address::AddressPolicy;
use webhook::deliver::{Client, ClientSettings, Signing};
use webhook::outcome::{DownReason, Outcome};
use webhook::payload::{Os, Shape, Status, StatusEvent};
use webhook::signature::app_key::AppKey;
use webhook::signature::standard::{Secret, StandardKeys};

use super::*;
use crate::clock::unix_ms;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What was printed.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn standard() -> Option<StandardKeys> {
    StandardKeys::new(vec![Secret::parse(SECRET).unwrap()]).ok()
}

fn app_key(secret: &str) -> Option<AppKey> {
    AppKey::new("app1", secret).ok()
}

fn settings() -> Settings {
    Settings {
        address: "127.0.0.1:0".parse().unwrap(),
        keys: Keys::default(),
        delay: Duration::ZERO,
        answer: Answer::Honest,
        record: None,
    }
}

/// A receiver that runs, and where.
async fn start(settings: Settings) -> (SocketAddr, Paper) {
    let paper = Paper::default();
    let router = Receiver::new(settings, paper.clone()).router();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await });
    (address, paper)
}

/// Sends one event as the server does.
async fn send(address: SocketAddr, signing: Signing, id: u128, status: Status) -> Outcome {
    let policy = AddressPolicy::allowing(vec!["127.0.0.0/8".parse().unwrap()]);
    let settings = ClientSettings {
        deadline: Duration::from_millis(1500),
        ..ClientSettings::default()
    };
    let client = Client::new(settings, policy, &[]).unwrap();
    let endpoint = client
        .endpoint(&format!("http://{address}/hooks?a=b"), signing)
        .unwrap();
    let id = uuid::Uuid::from_u128(id);
    let event = StatusEvent {
        id,
        status,
        org: "a",
        user_id: "al\u{1b}ice",
        os: Some(Os::Ios),
        at_ms: 1_774_605_600_123,
        generated_at_ms: 1_774_605_600_123,
        client_ip: Some("[2001:db8::1]:443".parse().unwrap()),
        session_id: uuid::Uuid::from_u128(0x1234_5678),
        client_id: "c",
        seq: 1,
        reason: Some("keep_alive_timeout"),
        online_sessions: 0,
        connected_at_ms: 0,
        protocol: 5,
    };
    let body = event.to_json(Shape::Extended);
    endpoint.deliver(id, body, unix_ms()).await
}

fn by_both() -> Signing {
    Signing {
        standard: standard(),
        app_key_headers: None,
        app_key_query: app_key("s"),
    }
}

#[tokio::test]
async fn an_event_is_one_line_and_a_second_time_a_duplicate() {
    let keys = Keys {
        standard: standard(),
        app_key: app_key("s"),
    };
    let (address, paper) = start(Settings { keys, ..settings() }).await;
    let statuses = [
        Status::Online,
        Status::Offline,
        Status::Offline,
        Status::LoggedOut,
    ];
    for (status, id) in statuses.into_iter().zip([1, 2, 2, 3]) {
        let outcome = send(address, by_both(), id, status).await;
        assert_eq!(outcome, Outcome::Delivered { status: 204 });
    }
    let rest = "…12345678  [2001:db8::1]:443    ";
    assert_eq!(
        paper.lines(),
        [
            format!(
                "10:00:00.123  + al\u{fffd}ice           came        {rest}  iOS        ✓ standard  ✓ sha1"
            ),
            format!(
                "10:00:00.123  - al\u{fffd}ice           went        {rest}  -          ✓ standard  ✓ sha1  keep_alive_timeout"
            ),
            format!(
                "10:00:00.123  - al\u{fffd}ice           went        {rest}  -          ✓ standard  ✓ sha1  keep_alive_timeout  duplicate"
            ),
            format!(
                "10:00:00.123  - al\u{fffd}ice           logged out  {rest}  -          ✓ standard  ✓ sha1  keep_alive_timeout"
            ),
        ]
    );
}

#[tokio::test]
async fn what_is_not_signed_with_the_keys_is_refused_and_named() {
    let rows = [
        (
            Signing::default(),
            "✗ standard: not signed  ✗ sha1: not signed",
        ),
        (
            Signing {
                standard: standard(),
                app_key_headers: app_key("other"),
                app_key_query: None,
            },
            "✓ standard  ✗ sha1: no signature matches",
        ),
    ];
    for (signing, part) in rows {
        let keys = Keys {
            standard: standard(),
            app_key: app_key("s"),
        };
        let (address, paper) = start(Settings { keys, ..settings() }).await;
        let outcome = send(address, signing, 1, Status::Online).await;
        assert_eq!(outcome, Outcome::Refused { status: 401 });
        let lines = paper.lines();
        assert!(lines[0].contains(part), "{part:?} is not in: {lines:?}");
        let outcome = send(address, by_both(), 1, Status::Online).await;
        assert_eq!(outcome, Outcome::Delivered { status: 204 });
        assert!(!paper.lines()[1].contains("duplicate"));
    }
}

#[tokio::test]
async fn without_keys_everything_is_taken_and_nothing_is_called_genuine() {
    let (address, paper) = start(settings()).await;
    for (signing, part) in [
        (by_both(), "? standard  ? sha1"),
        (Signing::default(), "unsigned"),
    ] {
        let outcome = send(address, signing, 1, Status::Online).await;
        assert_eq!(outcome, Outcome::Delivered { status: 204 });
        let line = paper.lines().pop().unwrap();
        assert!(line.contains(part) && !line.contains('✓'), "{line}");
    }
}

#[tokio::test]
async fn a_bad_receiver_is_as_bad_as_it_is_told() {
    let failing = settings_with(Answer::Always(503), 0);
    let (address, paper) = start(failing).await;
    let outcome = send(address, by_both(), 1, Status::Online).await;
    let why = DownReason::Status(503);
    assert_eq!(outcome, why.into());
    assert_eq!(paper.lines().len(), 1);

    let (address, paper) = start(settings_with(Answer::Never, 0)).await;
    let outcome = send(address, by_both(), 1, Status::Online).await;
    assert_eq!(outcome, DownReason::Timeout.into());
    assert_eq!(paper.lines().len(), 1, "it is shown all the same");

    let (address, _) = start(settings_with(Answer::Honest, 200)).await;
    let started = std::time::Instant::now();
    let outcome = send(address, by_both(), 1, Status::Online).await;
    assert_eq!(outcome, Outcome::Delivered { status: 204 });
    assert!(started.elapsed() >= Duration::from_millis(200));
}

fn settings_with(answer: Answer, delay_ms: u64) -> Settings {
    Settings {
        answer,
        delay: Duration::from_millis(delay_ms),
        ..settings()
    }
}

#[tokio::test]
async fn a_record_has_a_line_for_each_request_with_its_body() {
    let name = format!("whosthere-listen-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let keys = Keys {
        standard: standard(),
        app_key: None,
    };
    let record = Some(File::create(&path).unwrap());
    let (address, _) = start(Settings {
        keys,
        record,
        ..settings()
    })
    .await;
    let before = unix_ms();
    for _ in 0..2 {
        send(address, by_both(), 7, Status::LoggedOut).await;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for (line, is_duplicate) in lines.iter().zip([false, true]) {
        assert!(line["arrived_at"].as_u64().unwrap() >= before);
        assert_eq!(line["verified"], serde_json::json!(["standard"]));
        assert_eq!(line["duplicate"], is_duplicate);
        assert_eq!(
            (&line["genuine"], &line["answered"]),
            (&true.into(), &204.into())
        );
        assert_eq!(line["body"]["data"][0]["status"], "2");
        assert_eq!(line["body"]["id"], uuid::Uuid::from_u128(7).to_string());
    }
}
