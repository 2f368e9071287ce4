//! What the server counts, for `/metrics` in the Prometheus text format.
//!
//! Counters are handles that may be cloned and bumped from any thread; registering one is the
//! only way to get it into the output. No label carries an organisation, user or client: their
//! number has no bound.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::event_loop::MqttMetrics;
use crate::tls::TlsMetrics;
use crate::webhooks::WebhookMetrics;

/// Content type of the text that [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Of the HTTP API.
    pub http: HttpMetrics,
    /// Of connections, sessions and messages.
    pub mqtt: MqttMetrics,
    /// Of deliveries.
    pub webhooks: WebhookMetrics,
    /// Of handshakes and certificates.
    pub tls: TlsMetrics,
}

/// Metrics of the HTTP API.
#[derive(Debug, Clone, Default)]
pub struct HttpMetrics {
    /// Requests answered, by status code.
    pub requests: Family<StatusLabel, Counter>,
    /// Open connections.
    pub connections: Gauge,
    /// Connections closed because they were idle, stood still or were too slow.
    pub stalled: Counter,
    /// Handshakes that failed.
    pub tls_failed: Counter,
    /// Connections that no trusted load balancer has forwarded, where one must.
    pub proxy_refused: Counter,
    /// Long listings under way.
    pub listings: Gauge,
}

/// The label of [`HttpMetrics::requests`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    /// HTTP status code.
    pub status: u16,
}

impl Metrics {
    /// Registers everything, including the totals of `orgs`, which are read at every scrape.
    pub fn new(orgs: Arc<[Arc<presence::Org>]>) -> Self {
        let mut registry = Registry::with_prefix("whosthere");
        registry.register_collector(Box::new(PresenceTotals { orgs }));
        let http = HttpMetrics::register(registry.sub_registry_with_prefix("http"));
        let mqtt = MqttMetrics::register(&mut registry);
        let webhooks = WebhookMetrics::register(registry.sub_registry_with_prefix("webhook"));
        let tls = TlsMetrics::register(registry.sub_registry_with_prefix("tls"));
        Self {
            registry,
            http,
            mqtt,
            webhooks,
            tls,
        }
    }

    /// For registering more before the server starts.
    pub fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// All metrics as text of type [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl HttpMetrics {
    fn register(registry: &mut Registry) -> Self {
        let http = Self::default();
        registry.register("requests", "Requests answered", http.requests.clone());
        registry.register(
            "connections",
            "Open HTTP connections",
            http.connections.clone(),
        );
        registry.register(
            "stalled",
            "HTTP connections closed for slowness or idleness",
            http.stalled.clone(),
        );
        registry.register(
            "tls_failed",
            "HTTPS handshakes that failed",
            http.tls_failed.clone(),
        );
        registry.register(
            "proxy_refused",
            "HTTP connections closed since they came from no trusted load balancer, or without a \
             right PROXY header",
            http.proxy_refused.clone(),
        );
        registry.register("listings", "Long listings under way", http.listings.clone());
        http
    }
}

/// Who is online, summed over all organisations when asked.
struct PresenceTotals {
    orgs: Arc<[Arc<presence::Org>]>,
}

impl fmt::Debug for PresenceTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresenceTotals({} organisations)", self.orgs.len())
    }
}

impl Collector for PresenceTotals {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let (mut sessions, mut users, mut subscriptions) = (0, 0, 0);
        for org in self.orgs.iter() {
            let counts = org.counts();
            sessions += counts.sessions;
            users += counts.users;
            subscriptions += counts.subscriptions;
        }
        for (name, help, value) in [
            ("sessions_online", "Sessions online.", sessions),
            ("users_online", "Users online.", users),
            (
                "subscriptions",
                "Subscriptions of sessions online.",
                subscriptions,
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
