//! What is counted of deliveries. The label is an endpoint, of which the configuration has few.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters of all endpoints.
#[derive(Clone, Debug)]
pub struct WebhookMetrics {
    attempts: Family<AttemptLabel, Counter>,
    dead_letters: Family<EndpointLabel, Counter>,
    backlog: Family<EndpointLabel, Gauge<i64, AtomicI64>>,
    disabled: Family<EndpointLabel, Gauge<i64, AtomicI64>>,
    latency: Family<EndpointLabel, Histogram, fn() -> Histogram>,
}

/// Counters of one endpoint.
#[derive(Clone, Debug)]
pub(super) struct EndpointMetrics {
    all: WebhookMetrics,
    endpoint: String,
    pub(super) delivered: Counter,
    pub(super) dead_letters: Counter,
    pub(super) backlog: Gauge<i64, AtomicI64>,
    pub(super) disabled: Gauge<i64, AtomicI64>,
    pub(super) latency: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabel {
    endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabel {
    endpoint: String,
    outcome: &'static str,
}

impl WebhookMetrics {
    /// Counters that stand in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            attempts: Family::default(),
            dead_letters: Family::default(),
            backlog: Family::default(),
            disabled: Family::default(),
            // From half a millisecond to some four minutes.
            latency: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.0005, 2.0, 20))
            }),
        };
        registry.register("attempts", "Attempts to deliver", metrics.attempts.clone());
        registry.register(
            "dead_letters",
            "Events given up",
            metrics.dead_letters.clone(),
        );
        registry.register("backlog", "Events that wait", metrics.backlog.clone());
        registry.register(
            "disabled",
            "1 after the endpoint said 410",
            metrics.disabled.clone(),
        );
        registry.register(
            "delivery_seconds",
            "Time from an event to its delivery",
            metrics.latency.clone(),
        );
        metrics
    }

    pub(super) fn of_endpoint(&self, endpoint: &str) -> EndpointMetrics {
        let label = EndpointLabel {
            endpoint: endpoint.to_owned(),
        };
        EndpointMetrics {
            all: self.clone(),
            endpoint: endpoint.to_owned(),
            delivered: self.attempt_counter(endpoint, "delivered"),
            dead_letters: self.dead_letters.get_or_create(&label).clone(),
            backlog: self.backlog.get_or_create(&label).clone(),
            disabled: self.disabled.get_or_create(&label).clone(),
            latency: self.latency.get_or_create(&label).clone(),
        }
    }

    fn attempt_counter(&self, endpoint: &str, outcome: &'static str) -> Counter {
        let label = AttemptLabel {
            endpoint: endpoint.to_owned(),
            outcome,
        };
        self.attempts.get_or_create(&label).clone()
    }
}

impl EndpointMetrics {
    /// Counts an attempt that was not a success.
    pub(super) fn count_failure(&self, outcome: &'static str) {
        self.all.attempt_counter(&self.endpoint, outcome).inc();
    }
}
