//! What the event loops count.
//!
//! Labels are words of ours, never names of clients: their number is bounded.

use presence::EndReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Counters of connections, sessions and messages.
#[derive(Clone, Debug, Default)]
pub struct MqttMetrics {
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Connections that ended.
    pub connections_closed: Counter,
    /// Turns of a loop that left clients waiting to be let in, in favour of those who are in.
    pub newcomers_deferred: Counter,
    /// Turns of a loop that left clients waiting that sent more than others.
    pub reads_deferred: Counter,
    /// Times that a loop had more messages to hand out than a turn allows.
    pub deliveries_deferred: Counter,
    /// Connections turned away, by reason.
    pub refused: Family<ReasonLabel, Counter>,
    /// Sessions that began.
    pub sessions_opened: Counter,
    /// Seconds from the first byte of a commit of the journal to its end.
    pub commit_seconds: Seconds,
    /// Commits that waited for more in a rush.
    pub commits_delayed: Counter,
    /// Sessions that ended, by reason.
    pub sessions_ended: Family<ReasonLabel, Counter>,
    /// Application messages received from clients.
    pub messages_received: Counter,
    /// Wills published.
    pub wills_published: Counter,
    /// Application messages sent, or queued to be sent, to subscribers.
    pub messages_delivered: Counter,
    /// Times that nothing was read from a client because it took no answers.
    pub reads_held: Counter,
    /// New subscriptions that were not sent what is retained: too many others of the connection
    /// waited for theirs. Of stored sessions, at QoS 0.
    pub retained_cut: Counter,
    /// Application messages not delivered to a subscriber, by reason.
    pub messages_dropped: Family<ReasonLabel, Counter>,
}

/// A histogram of seconds, from a tenth of a millisecond to some seconds.
#[derive(Clone, Debug)]
pub struct Seconds(Histogram);

impl Default for Seconds {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.0001, 2.0, 16)))
    }
}

impl Seconds {
    pub(crate) fn observe(&self, seconds: f64) {
        self.0.observe(seconds);
    }

    /// For registering it.
    pub(crate) fn histogram(&self) -> Histogram {
        self.0.clone()
    }
}

/// Why something was refused, ended or dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// The reason, in one word.
    pub reason: &'static str,
}

/// What one loop has counted during a batch of events: counters that all loops share are changed
/// once a batch, not once a message.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) received: u64,
    pub(super) delivered: u64,
}

impl Tally {
    pub(super) fn add_to(&mut self, metrics: &MqttMetrics) {
        let Self {
            received,
            delivered,
        } = std::mem::take(self);
        if received > 0 {
            metrics.messages_received.inc_by(received);
        }
        if delivered > 0 {
            metrics.messages_delivered.inc_by(delivered);
        }
    }
}

impl MqttMetrics {
    /// Counters that stand in `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for (name, help, counter) in [
            (
                "connections_accepted",
                "Connections accepted",
                &metrics.connections_accepted,
            ),
            (
                "connections_closed",
                "Connections that ended",
                &metrics.connections_closed,
            ),
            (
                "newcomers_deferred",
                "Turns that left clients waiting to be let in, in favour of those who are in",
                &metrics.newcomers_deferred,
            ),
            (
                "reads_deferred",
                "Turns that left clients waiting that sent more than others",
                &metrics.reads_deferred,
            ),
            (
                "deliveries_deferred",
                "Times that a loop had more messages to hand out than a turn allows",
                &metrics.deliveries_deferred,
            ),
            (
                "sessions_opened",
                "Sessions that began",
                &metrics.sessions_opened,
            ),
            (
                "journal_commits_delayed",
                "Commits of the journal that waited for more in a rush",
                &metrics.commits_delayed,
            ),
            (
                "messages_received",
                "Application messages received",
                &metrics.messages_received,
            ),
            (
                "wills_published",
                "Wills published",
                &metrics.wills_published,
            ),
            (
                "reads_held",
                "Times that nothing was read from a client that took no answers",
                &metrics.reads_held,
            ),
            (
                "retained_cut",
                "Subscriptions that did not get retained messages",
                &metrics.retained_cut,
            ),
            (
                "messages_delivered",
                "Application messages delivered",
                &metrics.messages_delivered,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "journal_commit_seconds",
            "Time to make a batch of facts durable",
            metrics.commit_seconds.0.clone(),
        );
        for (name, help, family) in [
            ("refused", "Connections turned away", &metrics.refused),
            (
                "sessions_ended",
                "Sessions that ended",
                &metrics.sessions_ended,
            ),
            (
                "messages_dropped",
                "Application messages not delivered",
                &metrics.messages_dropped,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        metrics
    }

    pub(crate) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn end_session(&self, reason: EndReason) {
        let reason = reason.as_str();
        let label = ReasonLabel { reason };
        self.sessions_ended.get_or_create(&label).inc();
    }

    pub(crate) fn drop_messages(&self, reason: &'static str, count: usize) {
        let label = ReasonLabel { reason };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.messages_dropped.get_or_create(&label).inc_by(count);
    }
}
