//! One receiver: its URL, its signatures, its idle connections; and an attempt on it.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Uri,
    header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    AGENT, ClientSettings,
    answer::{self, Answer},
    dial::Dialer,
    pool::{Connection, Pool},
    target::Target,
};
use crate::{
    outcome::{DownReason, Outcome},
    signature::{
        app_key::{self, AppKey},
        standard::{self, StandardKeys},
    },
};

/// How an endpoint's requests are signed; any combination, also none.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// Standard Webhooks: `webhook-id`, `webhook-timestamp` and `webhook-signature`. Without it
    /// the first two are sent all the same.
    pub standard: Option<StandardKeys>,
    /// The contract vendor's signature as headers.
    pub app_key_headers: Option<AppKey>,
    /// The contract vendor's signature as query parameters.
    pub app_key_query: Option<AppKey>,
}

/// One receiver. Attempts may run at the same time; each takes a connection of its own.
pub struct Endpoint {
    target: Target,
    signing: Signing,
    /// The headers that never change.
    headers: HeaderMap,
    pool: Pool,
    dialer: Arc<Dialer>,
    settings: ClientSettings,
}

impl Endpoint {
    pub(super) fn new(
        target: Target,
        signing: Signing,
        dialer: Arc<Dialer>,
        settings: ClientSettings,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, target.authority.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Self {
            target,
            signing,
            headers,
            pool: Pool::default(),
            dialer,
            settings,
        }
    }

    /// Makes one attempt to deliver `body`. `id` is the event's; `now_ms` is Unix time, for the
    /// signatures and for a `Retry-After` that is a date. Must run on tokio; dropping the future
    /// gives the attempt up.
    pub async fn deliver(&self, id: Uuid, body: Bytes, now_ms: u64) -> Outcome {
        match timeout(self.settings.deadline, self.attempt(id, body, now_ms)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => why.into(),
            Err(_) => DownReason::Timeout.into(),
        }
    }

    /// Closes the connections that have been idle for too long. Attempts do so on their way; call
    /// it now and then while there are none, so that a quiet endpoint holds nothing.
    pub fn close_idle(&self) {
        self.pool.close_unfit(&self.settings);
    }

    async fn attempt(&self, id: Uuid, body: Bytes, now_ms: u64) -> Result<Outcome, DownReason> {
        if let Some(idle) = self.pool.take(&self.settings) {
            let request = self.request(id, body.clone(), now_ms)?;
            match self.send(idle, request, now_ms).await {
                Ok(outcome) => return Ok(outcome),
                Err(Failure::BeforeAnswer(_)) => {}
                Err(Failure::WithinAnswer(why)) => return Err(why),
            }
        }
        let stream = self.dialer.dial(&self.target).await?;
        let connection = Connection::open(stream).await?;
        let request = self.request(id, body, now_ms)?;
        let sent = self.send(connection, request, now_ms).await;
        sent.map_err(|(Failure::BeforeAnswer(why) | Failure::WithinAnswer(why))| why)
    }

    async fn send(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
        now_ms: u64,
    ) -> Result<Outcome, Failure> {
        let before =
            |error: hyper::Error| Failure::BeforeAnswer(DownReason::Incomplete(error.to_string()));
        connection.sender.ready().await.map_err(before)?;
        let response = connection
            .sender
            .send_request(request)
            .await
            .map_err(before)?;
        let Answer { outcome, reusable } =
            answer::read(response, self.settings.answer_bytes_max, now_ms)
                .await
                .map_err(Failure::WithinAnswer)?;
        if reusable {
            self.pool.put(connection, &self.settings);
        }
        Ok(outcome)
    }

    fn request(
        &self,
        id: Uuid,
        body: Bytes,
        now_ms: u64,
    ) -> Result<Request<Full<Bytes>>, DownReason> {
        let mut headers = self.headers.clone();
        let id = id.hyphenated().to_string();
        let secs = (now_ms / 1_000).to_string();
        if let Some(keys) = &self.signing.standard {
            insert(&mut headers, SIGNATURE, &keys.sign(&id, &secs, &body));
        }
        insert(&mut headers, ID, &id);
        insert(&mut headers, TIMESTAMP, &secs);
        let uri = self.sign_as_app(&mut headers, now_ms)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The contract vendor's signatures, if there are any; gives what stands in the request line.
    fn sign_as_app(&self, headers: &mut HeaderMap, now_ms: u64) -> Result<Uri, DownReason> {
        let path = &self.target.path;
        let Signing {
            app_key_headers,
            app_key_query,
            ..
        } = &self.signing;
        if app_key_headers.is_none() && app_key_query.is_none() {
            return Ok(Uri::from(path.clone()));
        }
        let nonce = nonce()?;
        let time = now_ms.to_string();
        if let Some(app) = app_key_headers {
            for (name, value) in app_key::HEADERS.into_iter().zip(app.values(&nonce, &time)) {
                insert(headers, HeaderName::from_static(name), &value);
            }
        }
        let Some(app) = app_key_query else {
            return Ok(Uri::from(path.clone()));
        };
        let signed = app.sign_path(path.as_str(), &nonce, &time);
        Ok(signed
            .parse()
            .expect("a path stays one with letters and digits added to its query"))
    }
}

/// Where a request failed: before its answer began, another connection may be tried.
enum Failure {
    BeforeAnswer(DownReason),
    WithinAnswer(DownReason),
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("keys and signatures are printable ASCII");
    headers.insert(name, value);
}

/// 64 random bits as decimal digits.
fn nonce() -> Result<String, DownReason> {
    let random = getrandom::u64();
    Ok(random
        .map_err(|error| DownReason::Incomplete(error.to_string()))?
        .to_string())
}

const ID: HeaderName = HeaderName::from_static(standard::ID_HEADER);
const TIMESTAMP: HeaderName = HeaderName::from_static(standard::TIMESTAMP_HEADER);
const SIGNATURE: HeaderName = HeaderName::from_static(standard::SIGNATURE_HEADER);
