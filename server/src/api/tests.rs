//! The API from outside: requests in, replies out, over a real presence index.
//!
//! Most tests call the router; those about connections (`sockets`) dial a port.

mod ending;
mod errors;
mod forwarded;
mod history;
mod hooks;
mod lists;
mod sockets;
mod users;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ::presence::{Address, Opening, Org, Protocol, SessionRef};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use journal::{Ended, Fact, Opened, Os, Position, SessionId};
use serde_json::Value;
use topics::TopicFilter;
use views::{Deliveries, Event, Views};

use super::*;
use crate::config::Config;
use crate::webhooks::{self, Prepared};

const KEY_A: &str = "sk_test_0123456789abcdef0123456789abcdef";
const KEY_B: &str = "sk_test_ffffffffffffffffffffffffffffffff";
const LIST: &str = "/v2/utilities/presence";
/// 2026-03-27T10:00:00Z
const CONNECTED_AT_MS: u64 = 1_774_605_600_000;

/// Two organisations, `a` and `b`, and the API over them, with views and deliveries on disk.
struct TestApi {
    state: Arc<AppState>,
    failing: Failing,
    /// How far the journal says that it is.
    committed: Arc<AtomicU64>,
    folded: watch::Sender<Position>,
    views: Mutex<Views>,
    deliveries: Arc<Mutex<Deliveries>>,
    prepared: Mutex<Option<Prepared>>,
    folder: Folder,
}

/// A directory of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (process, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("whosthere-api-{process}-{number}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An answer, with its body read to the end.
#[derive(Debug, PartialEq)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The rows of a list as (user name, client id).
    fn rows(&self) -> Vec<(String, String)> {
        let json = self.json();
        let rows = json["users"].as_array().unwrap().iter();
        rows.map(|row| (text(&row["username"]), text(&row["client_id"])))
            .collect()
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl TestApi {
    fn new() -> Self {
        Self::with_http("")
    }

    /// With lines of the `[http]` table.
    fn with_http(settings: &str) -> Self {
        Self::with(settings, "")
    }

    /// With lines of the `[http]` table, and `[[org.webhook]]` tables of organisation `a`.
    fn with(http: &str, hooks: &str) -> Self {
        let text = format!(
            r#"
[webhook]
allow_addresses = ["127.0.0.0/8"]
deadline_secs = 2
[http]
{http}
[[org]]
id = "a"
secret_keys = ["{KEY_A}"]
[[org.user]]
username = "alice"
password = "p"
display_name = "Alice Martin"
{hooks}
[[org]]
id = "b"
secret_keys = ["{KEY_B}"]
"#
        );
        Self::of(&Config::from_text(&text, "t.toml", &HashMap::new()).unwrap())
    }

    fn of(config: &Config) -> Self {
        let folder = Folder::new();
        let views = Views::open(&folder.0.join("views")).unwrap();
        let deliveries = Deliveries::open(&folder.0.join("deliveries")).unwrap();
        let deliveries = Arc::new(Mutex::new(deliveries));
        let accounts = Arc::new(Accounts::from_config(config).unwrap());
        let orgs: Arc<[_]> = accounts
            .org_ids()
            .map(|id| Arc::new(Org::new(id)))
            .collect();
        let hooks = webhooks::settings_of(config, &accounts).unwrap();
        let (webhooks, prepared) = webhooks::prepare(hooks, orgs.len(), &deliveries);
        let readiness = Arc::new(Readiness::new());
        readiness.set(Phase::Ready);
        let failing = Failing::default();
        let committed = Arc::new(AtomicU64::new(0));
        let (folded, watch_folded) = watch::channel(views.position());
        let state = AppState::new(Parts {
            accounts,
            metrics: Arc::new(Metrics::new(Arc::clone(&orgs))),
            orgs,
            lifecycle: Lifecycle::new(16),
            failing: failing.clone(),
            failing_messages: Failing::default(),
            readers: vec![views.reader().unwrap()],
            committed: {
                let committed = Arc::clone(&committed);
                Box::new(move || Position(committed.load(Ordering::Relaxed)))
            },
            folded: watch_folded,
            webhooks: Arc::new(webhooks),
            readiness,
            limits: config.http.clone(),
        });
        Self {
            state: state.unwrap(),
            failing,
            committed,
            folded,
            views: Mutex::new(views),
            deliveries,
            prepared: Mutex::new(Some(prepared)),
            folder,
        }
    }

    /// Lets something happen, in the views alone.
    fn happened(&self, fact: Fact) -> Arc<Event> {
        let mut views = self.views.lock().unwrap();
        let position = views.position();
        let event = views.fold(position, fact).unwrap();
        self.folded.send_replace(views.position());
        event
    }

    /// Brings a session of organisation `a` online, with its subscriptions.
    fn online(&self, username: &str, client_id: &str, topics: &[&str]) -> SessionRef {
        online(&self.state.orgs[0], username, client_id, topics)
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let service = TowerToHyperService::new(router(Arc::clone(&self.state)));
        let response = service.call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.into()).unwrap();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// POST with the key of organisation `a`.
    async fn post(&self, path: &str, body: &str) -> Reply {
        let mut request = request("POST", path, Some(KEY_A));
        *request.body_mut() = Body::from(body.to_owned());
        self.send(request).await
    }

    /// GET with the key of organisation `a`.
    async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, Some(KEY_A))).await
    }
}

/// Session `number` of a user of organisation `a` opens.
fn opened(username: &str, number: u8, at_ms: u64) -> Fact {
    Fact::Opened(Opened {
        org: "a".into(),
        session: SessionId([number; 16]),
        username: username.into(),
        client_id: format!("client-{number}").into(),
        protocol: Protocol::V5,
        peer: Some("[2001:db8::1]:443".parse().unwrap()),
        os: Some(Os::Ios),
        at_ms,
        node: 0,
    })
}

/// The session that [`opened`] has opened ends.
fn ended(username: &str, number: u8, at_ms: u64, reason: ::presence::EndReason) -> Fact {
    Fact::Ended(Ended {
        org: "a".into(),
        session: SessionId([number; 16]),
        username: username.into(),
        client_id: format!("client-{number}").into(),
        protocol: Protocol::V5,
        peer: None,
        connected_at_ms: CONNECTED_AT_MS,
        at_ms,
        reason,
    })
}

fn online(org: &Org, username: &str, client_id: &str, topics: &[&str]) -> SessionRef {
    let opening = Opening {
        id: ::presence::SessionId([7; 16]),
        os: None,
        username,
        client_id,
        protocol: Protocol::V5,
        peer: Some("203.0.113.42:54122".parse().unwrap()),
        connected_at_ms: CONNECTED_AT_MS,
        address: Address {
            worker: 0,
            connection: 0,
        },
    };
    let session = org.open(&opening).session;
    for topic in topics {
        org.subscribe(session, TopicFilter::parse(topic).unwrap(), 0, None, 1000)
            .unwrap();
    }
    session
}

fn request(method: &str, path: &str, key: Option<&str>) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        builder = builder.header("X-Secret-Key", key);
    }
    builder.body(Body::empty()).unwrap()
}
