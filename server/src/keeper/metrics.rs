//! What the keeper counts.

use std::fmt;

use messages::{Directory, Tally};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::event_loop::Seconds;

/// Counters of stored sessions and their messages.
#[derive(Clone, Debug, Default)]
pub struct KeeperMetrics {
    /// Requests that found the queue full.
    pub refused: Counter,
    /// Messages that entered a queue, once for each.
    pub queued: Counter,
    /// Messages that a full queue did not take.
    pub queue_full: Counter,
    /// Messages that expired in a queue.
    pub expired: Counter,
    /// Messages that could not be retained.
    pub not_retained: Counter,
    /// Stored sessions whose time was over.
    pub sessions_expired: Counter,
    /// New subscriptions that did not get all retained messages.
    pub retained_cut: Counter,
    /// Subscriptions of stored sessions that their clients may not have any more.
    pub withdrawn: Counter,
    /// Messages that wait in queues, each once.
    pub waiting: Gauge,
    /// Bytes of those that are in memory.
    pub memory_bytes: Gauge,
    /// Seconds from deciding a batch of requests to its answers: mostly the sync.
    pub turn_seconds: Seconds,
    /// Seconds that SQLite took for a batch, on its own thread.
    pub write_seconds: Seconds,
}

impl KeeperMetrics {
    /// Counters that stand in `registry`, and what `directory` counts at every scrape.
    #[must_use]
    pub fn register(registry: &mut Registry, directory: &Directory) -> Self {
        let metrics = Self::default();
        registry.register_collector(Box::new(Totals(directory.clone())));
        for (name, help, counter) in [
            (
                "refused",
                "Requests that found the queue full",
                &metrics.refused,
            ),
            (
                "queued",
                "Messages queued for stored sessions",
                &metrics.queued,
            ),
            (
                "queue_full",
                "Messages that a full queue did not take",
                &metrics.queue_full,
            ),
            (
                "expired",
                "Messages that expired in a queue",
                &metrics.expired,
            ),
            (
                "not_retained",
                "Messages that could not be retained",
                &metrics.not_retained,
            ),
            (
                "sessions_expired",
                "Stored sessions that expired",
                &metrics.sessions_expired,
            ),
            (
                "retained_cut",
                "Subscriptions that did not get all retained messages",
                &metrics.retained_cut,
            ),
            (
                "withdrawn",
                "Stored subscriptions that are not allowed any more",
                &metrics.withdrawn,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register("waiting", "Messages in queues", metrics.waiting.clone());
        registry.register(
            "memory_bytes",
            "Bytes of queued messages in memory",
            metrics.memory_bytes.clone(),
        );
        registry.register(
            "turn_seconds",
            "Time to make a batch of requests durable",
            metrics.turn_seconds.histogram(),
        );
        registry.register(
            "write_seconds",
            "Time in which SQLite followed by a batch",
            metrics.write_seconds.histogram(),
        );
        metrics
    }

    pub(super) fn count(&self, tally: Tally, (waiting, bytes): (usize, usize)) {
        for (counter, count) in [
            (&self.queued, tally.queued),
            (&self.queue_full, tally.queue_full),
            (&self.expired, tally.expired),
            (&self.not_retained, tally.not_retained),
            (&self.sessions_expired, tally.sessions_expired),
            (&self.retained_cut, tally.retained_cut),
            (&self.withdrawn, tally.withdrawn),
        ] {
            counter.inc_by(count);
        }
        self.waiting.set(gauge(waiting));
        self.memory_bytes.set(gauge(bytes));
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// How much is kept, summed over all organisations when asked.
struct Totals(Directory);

impl fmt::Debug for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Totals")
    }
}

impl Collector for Totals {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let counts = self.0.counts();
        for (name, help, value) in [
            ("sessions_stored", "Stored sessions.", counts.sessions),
            (
                "sessions_away",
                "Stored sessions without a connection.",
                counts.away,
            ),
            (
                "subscriptions_stored",
                "Subscriptions of stored sessions.",
                counts.subscriptions,
            ),
            ("retained", "Retained messages.", counts.retained),
            (
                "retained_bytes",
                "Bytes of retained messages.",
                counts.retained_bytes,
            ),
        ] {
            let gauge = ConstGauge::new(gauge(value));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
