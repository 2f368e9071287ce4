//! Who asks: the organisation that a request's secret key selects.
//!
//! The only way for a handler to an organisation. `X-Secret-Key` is looked at first; a request
//! that has it is judged by it alone.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::AppState;
use super::problem::Problem;
use crate::accounts::OrgIndex;
use crate::clock::unix_ms;

/// Where a connection comes from; each request carries it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// An authenticated caller of a server that is ready.
pub(super) struct Caller {
    pub(super) org: OrgIndex,
}

impl FromRequestParts<Arc<AppState>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, Self::Rejection> {
        state.readiness.check()?;
        let key = secret_key(&parts.headers).ok_or(Problem::NoKey)?;
        let peer = parts.extensions.get::<Peer>().map(|Peer(peer)| peer.ip());
        let (guesses, now_secs) = (&state.accounts.guesses, unix_ms() / 1000);
        // Also a right key has to wait: an answer to it would tell that it is one.
        if let Some(secs) = peer.and_then(|peer| guesses.key_pause_secs(peer, now_secs)) {
            return Err(Problem::TooManyKeys { secs });
        }
        let Some(org) = state.accounts.org_of_key(key) else {
            if let Some(peer) = peer {
                guesses.count_key(peer, now_secs);
            }
            return Err(Problem::NoKey);
        };
        Ok(Self { org })
    }
}

fn secret_key(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get("x-secret-key") {
        return key.to_str().ok().map(str::trim);
    }
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_in_either_header() {
        let table = [
            (vec![("x-secret-key", "sk_1")], Some("sk_1")),
            (vec![("authorization", "Bearer sk_1")], Some("sk_1")),
            (vec![("authorization", "bearer  sk_1 ")], Some("sk_1")),
            (
                vec![("x-secret-key", "sk_1"), ("authorization", "Bearer sk_2")],
                Some("sk_1"),
            ),
            (vec![("authorization", "Basic sk_1")], None),
            (vec![("authorization", "sk_1")], None),
            (vec![("x-secret-key", "clé")], None),
            (vec![], None),
        ];
        for (headers, expected) in table {
            let map: HeaderMap = headers
                .iter()
                .map(|&(name, value)| {
                    let value = axum::http::HeaderValue::from_bytes(value.as_bytes());
                    (axum::http::HeaderName::from_static(name), value.unwrap())
                })
                .collect();
            assert_eq!(secret_key(&map), expected, "{headers:?}");
        }
    }
}
