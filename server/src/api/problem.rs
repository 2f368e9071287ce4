//! Errors as `application/problem+json` (RFC 9457).
//!
//! One variant per thing a caller can act on. `detail` may repeat what the caller sent, never
//! what the server knows; 401 reads the same whatever was wrong with the key.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::health::Phase;

/// Why a request was not answered with what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// `topic=` is not a topic filter; the text says why.
    BadFilter(String),
    /// `limit=` is not a number of this range.
    BadLimit { rows_max: usize },
    /// `cursor=` is none of ours.
    BadCursor,
    /// `cursor=` was given out before the server was restarted.
    StaleCursor,
    /// A parameter is not a time.
    BadTime { name: &'static str },
    /// The query cannot be read.
    BadQuery(&'static str),
    /// The body cannot be read; the text says where and why.
    BadBody(String),
    /// The user name in the path cannot be one.
    BadName(&'static str),
    /// There is no key, or it opens nothing.
    NoKey,
    /// Too many keys from this address were wrong.
    TooManyKeys { secs: u64 },
    /// No such path.
    NotFound,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// The body did not arrive in time.
    SlowBody,
    /// The body is too large.
    LargeBody { bytes_max: u64 },
    /// As many long listings as allowed are under way.
    TooManyListings,
    /// The endpoint is being tested already.
    TestUnderWay,
    /// The server is starting or stopping.
    NotReady(Phase),
    /// The journal cannot be written.
    Journal,
    /// The log of messages cannot be written.
    Messages,
    /// The views, or the state of deliveries, cannot be read or written.
    Storage,
    /// The views are not as far as the journal.
    Behind,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: String,
}

impl Problem {
    /// Status, the last part of the type, and the title, which is the same for the whole type.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadFilter(_) => (S::BAD_REQUEST, "bad-filter", "Not a topic filter"),
            Self::BadLimit { .. } => (S::BAD_REQUEST, "bad-limit", "Limit out of range"),
            Self::BadCursor => (S::BAD_REQUEST, "bad-cursor", "Not a cursor"),
            Self::StaleCursor => (S::BAD_REQUEST, "stale-cursor", "Cursor no longer valid"),
            Self::BadTime { .. } => (S::BAD_REQUEST, "bad-time", "Not a time"),
            Self::BadBody(_) => (S::BAD_REQUEST, "bad-body", "Body cannot be read"),
            Self::BadQuery(_) => (S::BAD_REQUEST, "bad-query", "Query cannot be read"),
            Self::BadName(_) => (S::BAD_REQUEST, "bad-name", "Not a user name"),
            Self::NoKey => (S::UNAUTHORIZED, "no-key", "Secret key required"),
            Self::TooManyKeys { .. } => {
                (S::TOO_MANY_REQUESTS, "too-many-keys", "Too many wrong keys")
            }
            Self::NotFound => (S::NOT_FOUND, "not-found", "No such resource"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::SlowBody => (S::REQUEST_TIMEOUT, "slow-body", "Request took too long"),
            Self::LargeBody { .. } => (S::PAYLOAD_TOO_LARGE, "large-body", "Request too large"),
            Self::TooManyListings => (
                S::TOO_MANY_REQUESTS,
                "too-many-listings",
                "Too many long listings",
            ),
            Self::TestUnderWay => (S::TOO_MANY_REQUESTS, "test-under-way", "Test under way"),
            Self::NotReady(_) => (S::SERVICE_UNAVAILABLE, "not-ready", "Not ready"),
            Self::Messages => (S::SERVICE_UNAVAILABLE, "messages", "Messages not writable"),
            Self::Journal => (S::SERVICE_UNAVAILABLE, "journal", "Journal not writable"),
            Self::Storage => (S::SERVICE_UNAVAILABLE, "storage", "Storage not usable"),
            Self::Behind => (
                S::SERVICE_UNAVAILABLE,
                "behind",
                "Latest events not read yet",
            ),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::BadFilter(why) => format!("`topic` is not a topic filter: {why}."),
            Self::BadLimit { rows_max } => {
                format!("`limit` must be a whole number from 1 to {rows_max}.")
            }
            Self::BadCursor => "`cursor` must be a `next_cursor` of an earlier answer.".into(),
            Self::StaleCursor => "`cursor` is from before a restart of the server. Begin the \
                                  listing again without it."
                .into(),
            Self::BadTime { name } => {
                format!("`{name}` must be a time like 2026-03-27T10:00:00Z, or Unix milliseconds.")
            }
            Self::BadBody(why) => why.clone(),
            Self::BadQuery(why) | Self::BadName(why) => (*why).into(),
            Self::NoKey => "Send a valid secret key as `X-Secret-Key: sk_…` or `Authorization: \
                            Bearer sk_…`."
                .into(),
            Self::TooManyKeys { secs } => {
                format!("Too many wrong keys came from this address. Try again in {secs} seconds.")
            }
            Self::NotFound => "There is nothing at this path.".into(),
            Self::MethodNotAllowed => "The Allow header names the methods of this path.".into(),
            Self::SlowBody => "The body of the request did not arrive in time.".into(),
            Self::LargeBody { bytes_max } => {
                format!("The body of a request may have at most {bytes_max} bytes.")
            }
            Self::TooManyListings => "Too many long listings are under way. Try again, or ask \
                                      for pages with `limit`."
                .into(),
            Self::TestUnderWay => "Another test of this endpoint waits for its answer.".into(),
            Self::NotReady(Phase::Stopping) => "The server is stopping.".into(),
            Self::NotReady(_) => "The server is starting.".into(),
            Self::Journal => "The journal cannot be written now, so no session can begin or end. \
                              What was asked for may still happen later."
                .into(),
            Self::Messages => "The log of messages cannot be written now, so no session can be \
                               stored and no message kept. The server's log says why."
                .into(),
            Self::Behind => "What has happened last cannot be told yet: the server has just \
                             started after a crash, or is slow to read its journal. Ask again."
                .into(),
            Self::Storage => "What is kept about events cannot be read or written now. The \
                              server's log says why."
                .into(),
        }
    }

    /// The header that tells the caller what to do next.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let one_second = HeaderValue::from_static("1");
        match self {
            Self::NoKey => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Self::TooManyListings
            | Self::TestUnderWay
            | Self::NotReady(_)
            | Self::Journal
            | Self::Messages
            | Self::Storage
            | Self::Behind => Some((header::RETRY_AFTER, one_second)),
            Self::TooManyKeys { secs } => Some((header::RETRY_AFTER, HeaderValue::from(*secs))),
            // What is left of the body would be taken for the next request.
            Self::SlowBody | Self::LargeBody { .. } => {
                Some((header::CONNECTION, HeaderValue::from_static("close")))
            }
            _ => None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.kind();
        let document = Document {
            r#type: format!("urn:whosthere:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
        };
        // Texts and a number always have a JSON form.
        let json = serde_json::to_vec(&document).unwrap_or_default();
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (status, content_type, json).into_response();
        response.headers_mut().extend(self.header());
        response
    }
}
