//! The API from outside: requests in, replies out, over a real presence index.
//!
//! Most tests call the router; those about connections (`sockets`) dial a port.

mod errors;
mod lists;
mod sockets;
mod users;

use std::collections::HashMap;
use std::sync::Arc;

use ::presence::{Address, Opening, Org, Protocol, SessionRef};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use topics::TopicFilter;

use super::*;
use crate::config::Config;

const KEY_A: &str = "sk_test_0123456789abcdef0123456789abcdef";
const KEY_B: &str = "sk_test_ffffffffffffffffffffffffffffffff";
const LIST: &str = "/v2/utilities/presence";
/// 2026-03-27T10:00:00Z
const CONNECTED_AT_MS: u64 = 1_774_605_600_000;

/// Two organisations, `a` and `b`, and the API over them.
struct TestApi {
    state: Arc<AppState>,
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
        let text = format!(
            r#"
[http]
{settings}
[[org]]
id = "a"
secret_keys = ["{KEY_A}"]
[[org.user]]
username = "alice"
password = "p"
display_name = "Alice Martin"
[[org]]
id = "b"
secret_keys = ["{KEY_B}"]
"#
        );
        let config = Config::from_text(&text, "t.toml", &HashMap::new()).unwrap();
        let accounts = Arc::new(Accounts::from_config(&config));
        let orgs: Arc<[_]> = accounts
            .org_ids()
            .map(|id| Arc::new(Org::new(id)))
            .collect();
        let metrics = Arc::new(Metrics::new(Arc::clone(&orgs)));
        let readiness = Arc::new(Readiness::new());
        readiness.set(Phase::Ready);
        let state = AppState::new(accounts, orgs, metrics, readiness, config.http).unwrap();
        Self { state }
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

    /// GET with the key of organisation `a`.
    async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, Some(KEY_A))).await
    }
}

fn online(org: &Org, username: &str, client_id: &str, topics: &[&str]) -> SessionRef {
    let opening = Opening {
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
        org.subscribe(session, TopicFilter::parse(topic).unwrap(), 0, 1000)
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
