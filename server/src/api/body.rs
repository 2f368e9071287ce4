//! What is done to every request: its body is checked and its answer counted.
//!
//! No request needs a body today. One that comes is read to its end and thrown away, so that the
//! connection can go on, but only up to the limit and only for so long.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::AppState;
use super::problem::Problem;
use crate::metrics::StatusLabel;

/// Lets a request through if its body is within the limits.
pub(super) async fn check(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let response = match discard(body, &state).await {
        Ok(()) => next.run(Request::from_parts(parts, Body::empty())).await,
        Err(problem) => problem.into_response(),
    };
    let label = StatusLabel {
        status: response.status().as_u16(),
    };
    state.metrics.http.requests.get_or_create(&label).inc();
    response
}

async fn discard(body: Body, state: &AppState) -> Result<(), Problem> {
    if body.is_end_stream() {
        return Ok(());
    }
    let bytes_max = state.limits.body_bytes_max;
    // Content-Length says so before a single byte is read.
    if body.size_hint().lower() > bytes_max {
        return Err(Problem::LargeBody { bytes_max });
    }
    let deadline = Duration::from_secs(state.limits.stall_timeout_secs);
    timeout(deadline, count(body, bytes_max))
        .await
        .map_err(|_| Problem::SlowBody)?
}

async fn count(mut body: Body, bytes_max: u64) -> Result<(), Problem> {
    let mut bytes = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(frame) = frame else {
            return Err(Problem::BadQuery("The body of the request cannot be read."));
        };
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if bytes > bytes_max {
            return Err(Problem::LargeBody { bytes_max });
        }
    }
    Ok(())
}
