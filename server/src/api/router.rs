//! All routes of the HTTP API.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use super::problem::Problem;
use super::{AppState, body, health, presence};

/// The routes over one state. What arrives has its head within the limits of the connection;
/// bodies are checked here.
pub fn router(state: Arc<AppState>) -> Router {
    Router::new()
        .route(presence::LIST_PATH, get(presence::list))
        .route("/v2/utilities/presence/{username}", get(presence::user))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(from_fn_with_state(Arc::clone(&state), body::check))
        .with_state(state)
}
