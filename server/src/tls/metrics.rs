//! What is counted of TLS.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_rustls::rustls::HandshakeKind;

use super::Validity;
use crate::event_loop::ReasonLabel;

/// Counters of handshakes and certificates. Failed handshakes are among the connections turned
/// away.
#[derive(Clone, Debug, Default)]
pub struct TlsMetrics {
    handshakes: Family<ReasonLabel, Counter>,
    reloads: Family<ReasonLabel, Counter>,
    certificate_not_after_seconds: Gauge,
}

impl TlsMetrics {
    /// Metrics that stand in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "handshakes",
            "Handshakes completed, full or resumed",
            metrics.handshakes.clone(),
        );
        registry.register(
            "reloads",
            "Certificates read again, taken or kept because the new one is not right",
            metrics.reloads.clone(),
        );
        registry.register(
            "certificate_not_after_seconds",
            "When the certificate in use expires, since 1970; 0 without one",
            metrics.certificate_not_after_seconds.clone(),
        );
        metrics
    }

    pub(crate) fn shake_hands(&self, kind: HandshakeKind) {
        let reason = match kind {
            HandshakeKind::Resumed => "resumed",
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => "full",
        };
        self.handshakes.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn reloaded(&self, reason: &'static str) {
        self.reloads.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn not_after(&self, validity: Validity) {
        self.certificate_not_after_seconds
            .set(validity.not_after_secs);
    }
}
