//! What is done to every request: its body is checked and its answer counted.
//!
//! A body is read to its end, so that the connection can go on, but only up to the limit and only
//! for so long. That of a POST is kept for the handler as a [`WholeBody`]; no other is needed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::time::timeout;

use super::AppState;
use super::problem::Problem;
use crate::metrics::StatusLabel;

/// The body of a POST; empty if there was none.
#[derive(Clone)]
pub(super) struct WholeBody(pub(super) Bytes);

/// Lets a request through if its body is within the limits.
pub(super) async fn check(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let is_kept = parts.method == Method::POST;
    let response = match read(body, is_kept, &state).await {
        Ok(bytes) => {
            parts.extensions.insert(WholeBody(bytes));
            next.run(Request::from_parts(parts, Body::empty())).await
        }
        Err(problem) => problem.into_response(),
    };
    let label = StatusLabel {
        status: response.status().as_u16(),
    };
    state.metrics.http.requests.get_or_create(&label).inc();
    response
}

async fn read(body: Body, is_kept: bool, state: &AppState) -> Result<Bytes, Problem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let bytes_max = state.limits.body_bytes_max;
    // Content-Length says so before a single byte is read.
    if body.size_hint().lower() > bytes_max {
        return Err(Problem::LargeBody { bytes_max });
    }
    let deadline = Duration::from_secs(state.limits.stall_timeout_secs);
    timeout(deadline, read_to_end(body, is_kept, bytes_max))
        .await
        .map_err(|_| Problem::SlowBody)?
}

async fn read_to_end(mut body: Body, is_kept: bool, bytes_max: u64) -> Result<Bytes, Problem> {
    let mut kept = Vec::new();
    let mut count = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(frame) = frame else {
            return Err(Problem::BadQuery("The body of the request cannot be read."));
        };
        let data = frame.data_ref().map_or(&[][..], |data| data);
        count += data.len() as u64;
        if count > bytes_max {
            return Err(Problem::LargeBody { bytes_max });
        }
        if is_kept {
            kept.extend_from_slice(data);
        }
    }
    Ok(kept.into())
}
