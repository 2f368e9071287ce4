//! The limit on open files (RLIMIT_NOFILE): raised as far as the system lets, and shared out, so that
//! clients cannot take what the journal, the views and webhooks need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// The journal, the views and what they keep open, polls, standard streams. Measured: some forty
/// with two event loops.
const OWN: usize = 96;

/// Of each event loop: its poll, its waker, a spare file and its listeners.
const PER_WORKER: usize = 12;

/// The part of all files that callers of the API get at least, and clients to be refused: a 48th.
const PART: usize = 48;

/// How many files may be open for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// MQTT connections.
    pub(super) connections_max: usize,
    /// MQTT connections beyond them that are told so.
    pub(super) refusals_max: usize,
    /// HTTP connections.
    pub(super) http_connections_max: usize,
}

/// Raises the limit to the highest that needs no privileges, and answers it.
pub(super) fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!("cannot raise the limit on open files: {error}");
            limit.current
        }
    };
    current.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    })
}

/// Shares `limit` files out. Clients get what is left, or what the settings say if that is less.
pub(super) fn share(limit: usize, config: &Config, workers: usize) -> Shares {
    let endpoints = config.orgs.iter().map(|org| org.webhooks.len()).sum();
    let posts = config.webhook.concurrency.saturating_mul(endpoints);
    let own = OWN + PER_WORKER * workers + posts.min(limit / 8);
    let part = (limit / PART).max(8);
    let http_connections_max = config.http.connections_max.min(part);
    let refusals_max = config.mqtt.refusals_max.min(part);
    let left = limit.saturating_sub(own + http_connections_max + refusals_max);
    let shares = Shares {
        connections_max: config.mqtt.connections_max.min(left),
        refusals_max,
        http_connections_max,
    };
    if shares.connections_max < config.mqtt.connections_max {
        tracing::info!(
            limit,
            "the limit on open files leaves room for {} MQTT connections, fewer than \
             mqtt.connections_max",
            shares.connections_max
        );
    }
    if shares.http_connections_max < config.http.connections_max {
        tracing::info!(
            limit,
            "the limit on open files leaves room for {} HTTP connections, fewer than \
             http.connections_max",
            shares.http_connections_max
        );
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(limit: usize) -> Shares {
        share(limit, &Config::default(), 2)
    }

    #[test]
    fn plenty_of_files_leave_the_settings_as_they_are() {
        let config = Config::default();
        let shares = shares(usize::MAX);
        assert_eq!(shares.connections_max, config.mqtt.connections_max);
        assert_eq!(shares.refusals_max, config.mqtt.refusals_max);
        assert_eq!(shares.http_connections_max, config.http.connections_max);
    }

    #[test]
    fn clients_get_most_of_few_files_and_never_all() {
        for limit in [1024, 4096, 20_000, 1 << 20] {
            let shares = shares(limit);
            let all =
                shares.connections_max + shares.refusals_max + shares.http_connections_max + OWN;
            assert!(all < limit, "{limit}: {shares:?}");
            assert!(
                shares.connections_max > limit * 3 / 4,
                "{limit}: {shares:?}"
            );
        }
    }

    #[test]
    fn too_few_files_leave_nothing_for_clients() {
        assert_eq!(shares(64).connections_max, 0);
    }
}
