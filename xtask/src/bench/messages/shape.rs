//! The shapes of traffic: who publishes to whom, and how much.

/// A number of publishers and subscribers, and what passes between them.
pub(super) struct Shape {
    /// In the report.
    pub(super) name: &'static str,
    /// Clients that publish.
    pub(super) publishers: usize,
    /// Clients that subscribe, to one topic each.
    pub(super) subscribers: usize,
    /// How many subscribers get each message.
    pub(super) fan_out: usize,
    /// Messages to publish, in all, as fast as the server takes them.
    pub(super) messages: usize,
    /// Messages of all publishers under way at a time.
    pub(super) window: usize,
    /// Messages a second, in all, when the time is taken.
    pub(super) paced_rate: usize,
}

/// What is measured.
pub(super) const SHAPES: [Shape; 3] = [
    Shape {
        name: "1 to 1000",
        publishers: 1,
        subscribers: 1_000,
        fan_out: 1_000,
        messages: 400,
        window: 16,
        paced_rate: 20,
    },
    Shape {
        name: "1000 to 1",
        publishers: 1_000,
        subscribers: 1,
        fan_out: 1,
        messages: 200_000,
        window: 4_000,
        paced_rate: 5_000,
    },
    Shape {
        name: "500 pairs",
        publishers: 500,
        subscribers: 500,
        fan_out: 1,
        messages: 200_000,
        window: 4_000,
        paced_rate: 5_000,
    },
];

impl Shape {
    /// The topic that a publisher publishes to, or a subscriber subscribes to.
    pub(super) fn topic(&self, number: usize) -> String {
        if self.publishers == self.subscribers {
            format!("bench/pair/{number}")
        } else {
            "bench/all".to_owned()
        }
    }

    /// Deliveries that come of so many messages.
    pub(super) fn deliveries(&self, messages: usize) -> usize {
        messages * self.fan_out
    }
}
