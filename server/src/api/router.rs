//! All routes of the HTTP API.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use super::problem::Problem;
use super::{AppState, body, health, history, hooks, presence, users};

/// The routes over one state. What arrives has its head within the limits of the connection;
/// bodies are checked here.
pub fn router(state: Arc<AppState>) -> Router {
    Router::new()
        .route(presence::LIST_PATH, get(presence::list))
        .route("/v2/utilities/presence/{username}", get(presence::user))
        .route(
            "/v2/utilities/presence/{username}/history",
            get(history::history),
        )
        .route(
            "/v2/utilities/users/{username}/terminate",
            post(users::terminate),
        )
        .route(
            "/v2/utilities/users/{username}/logout",
            post(users::log_out),
        )
        .route("/v2/webhooks", get(hooks::list))
        .route("/v2/webhooks/{id}/dead-letters", get(hooks::dead_letters))
        .route("/v2/webhooks/{id}/replay", post(hooks::replay))
        .route("/v2/webhooks/{id}/test", post(hooks::test))
        .route("/v2/webhooks/{id}/enable", post(hooks::enable))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(from_fn_with_state(Arc::clone(&state), body::check))
        .with_state(state)
}
