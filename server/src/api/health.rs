//! Health and metrics, for machines that watch the server. They need no key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::AppState;
use super::problem::Problem;
use crate::metrics;

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not all doors are open yet.
    Starting,
    /// Everything is answered.
    Ready,
    /// Sessions are being ended.
    Stopping,
}

/// The [`Phase`], shared between whoever starts and stops the server and the API.
#[derive(Debug)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// Begins at [`Phase::Starting`].
    pub const fn new() -> Self {
        Self(AtomicU8::new(Phase::Starting as u8))
    }

    /// Moves to another phase.
    pub fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Stopping,
        }
    }

    /// An error unless the server is ready.
    pub(super) fn check(&self) -> Result<(), Problem> {
        match self.phase() {
            Phase::Ready => Ok(()),
            other => Err(Problem::NotReady(other)),
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

/// `GET /health/live`: the process answers, whatever it is doing.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// `GET /health/ready`: requests will be answered and clients let in.
pub(super) async fn ready(
    State(state): State<Arc<AppState>>,
) -> Result<&'static str, impl IntoResponse> {
    state.readiness.check()?;
    match (state.failing.is_set(), state.failing_messages.is_set()) {
        (true, _) => Err(Problem::Journal),
        (false, true) => Err(Problem::Messages),
        (false, false) => Ok("ready\n"),
    }
}

/// `GET /metrics`, in the text format of Prometheus.
pub(super) async fn metrics(State(state): State<Arc<AppState>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)],
        state.metrics.encode(),
    )
}
