//! All clients of a trial, on one thread and one poll.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use super::client::{Calling, Client, Got};
use super::shape::Shape;

/// A server that is silent for this long while messages are under way has failed.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Clients that connect at the same time.
const CALLS_AT_A_TIME: usize = 100;

const EVENTS: usize = 1_024;

const PAYLOAD_BYTES: usize = 64;

/// What a publisher may have unacknowledged: what the server of this repository allows by default.
const UNACKNOWLEDGED_MAX: usize = 64;

/// Connected clients; the publishers come first. Dropping it closes them at once.
pub(super) struct Crowd<'a> {
    shape: &'a Shape,
    qos: u8,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    /// Payloads say how many nanoseconds after this they were sent.
    started: Instant,
    published: usize,
    acknowledged: usize,
    arrived: usize,
    /// Nanoseconds that messages were under way, in the order of arrival.
    laps: Vec<u64>,
}

impl<'a> Crowd<'a> {
    /// Connects and subscribes everybody.
    pub(super) fn connect(target: SocketAddr, shape: &'a Shape, qos: u8) -> Result<Self> {
        let topics = (0..shape.subscribers).map(|number| shape.topic(number));
        let topics: Vec<_> = std::iter::repeat_with(|| None)
            .take(shape.publishers)
            .chain(topics.map(Some))
            .collect();
        let mut clients = Vec::new();
        for (chunk, topics) in topics.chunks(CALLS_AT_A_TIME).enumerate() {
            let calls = topics.iter().enumerate().map(|(index, topic)| {
                let subscription = topic.as_deref().map(|topic| (topic, qos));
                Calling::call(target, chunk * CALLS_AT_A_TIME + index, subscription)
            });
            for call in calls.collect::<Result<Vec<_>>>()? {
                clients.push(call.answered()?);
            }
        }
        let poll = Poll::new()?;
        for (number, client) in clients.iter_mut().enumerate() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut client.stream, Token(number), interest)?;
        }
        Ok(Self {
            shape,
            qos,
            poll,
            events: Events::with_capacity(EVENTS),
            clients,
            buffer: vec![0; 256 * 1024],
            started: Instant::now(),
            published: 0,
            acknowledged: 0,
            arrived: 0,
            laps: Vec::new(),
        })
    }

    /// Publishes `messages` as fast as the server takes them, and waits until all have arrived.
    pub(super) fn saturate(&mut self, messages: usize) -> Result<()> {
        self.begin();
        let window = self.shape.deliveries(self.shape.window);
        let mut next_publisher = 0;
        let mut heard_at = Instant::now();
        while !self.is_settled(messages) {
            let mut passed_over = 0;
            while self.published < messages
                && self.shape.deliveries(self.published) < self.arrived + window
                && passed_over < self.shape.publishers
            {
                let publisher = next_publisher;
                next_publisher = (next_publisher + 1) % self.shape.publishers;
                passed_over += 1;
                if self.clients[publisher].unacknowledged < UNACKNOWLEDGED_MAX {
                    self.publish(publisher);
                    passed_over = 0;
                }
            }
            self.flush_publishers()?;
            self.turn(Duration::from_secs(1), &mut heard_at)?;
        }
        self.ensure_nothing_twice(messages)
    }

    /// Publishes at a fixed rate for `time`. Tells how long each message was under way.
    pub(super) fn pace(&mut self, time: Duration) -> Result<Vec<u64>> {
        self.begin();
        let rate = self.shape.paced_rate;
        let messages = rate * time.as_millis() as usize / 1_000;
        let mut heard_at = Instant::now();
        while !self.is_settled(messages) {
            let due = (self.started.elapsed().as_nanos() * rate as u128 / 1_000_000_000) as usize;
            while self.published < due.min(messages) {
                self.publish(self.published % self.shape.publishers);
            }
            self.flush_publishers()?;
            self.turn(Duration::from_millis(1), &mut heard_at)?;
        }
        self.ensure_nothing_twice(messages)?;
        Ok(std::mem::take(&mut self.laps))
    }

    fn begin(&mut self) {
        (self.published, self.acknowledged, self.arrived) = (0, 0, 0);
        self.laps.clear();
        self.started = Instant::now();
    }

    fn is_settled(&self, messages: usize) -> bool {
        let acknowledged = self.qos == 0 || self.acknowledged == messages;
        self.arrived >= self.shape.deliveries(messages) && acknowledged
    }

    /// Both servers promise so much: nothing is lost at these limits, and on one connection
    /// nothing comes twice.
    fn ensure_nothing_twice(&self, messages: usize) -> Result<()> {
        let expected = self.shape.deliveries(messages);
        ensure!(
            self.arrived == expected,
            "{} deliveries of {expected} arrived",
            self.arrived
        );
        Ok(())
    }

    fn publish(&mut self, publisher: usize) {
        let mut payload = [0; PAYLOAD_BYTES];
        let sent_at = self.started.elapsed().as_nanos() as u64;
        payload[..8].copy_from_slice(&sent_at.to_be_bytes());
        let topic = self.shape.topic(publisher);
        self.clients[publisher].publish(&topic, self.qos, &payload);
        self.published += 1;
    }

    fn flush_publishers(&mut self) -> Result<()> {
        let publishers = self.clients.iter_mut().take(self.shape.publishers);
        for client in publishers {
            client.flush()?;
        }
        Ok(())
    }

    /// Takes what has come.
    fn turn(&mut self, timeout: Duration, heard_at: &mut Instant) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        if !self.events.is_empty() {
            *heard_at = Instant::now();
        }
        ensure!(
            heard_at.elapsed() < SILENCE_MAX,
            "the server fell silent: {} messages published, {} deliveries arrived",
            self.published,
            self.arrived
        );
        for event in &self.events {
            let number = event.token().0;
            let (started, laps) = (self.started, &mut self.laps);
            let (arrived, acknowledged) = (&mut self.arrived, &mut self.acknowledged);
            let each = |got: Got<'_>| match got {
                Got::Acknowledgement => *acknowledged += 1,
                Got::Message(payload) => {
                    let now = started.elapsed().as_nanos() as u64;
                    let sent_at = payload
                        .first_chunk()
                        .map_or(0, |at| u64::from_be_bytes(*at));
                    laps.push(now.saturating_sub(sent_at));
                    *arrived += 1;
                }
            };
            self.clients[number]
                .read(&mut self.buffer, each)
                .with_context(|| format!("client {number}"))?;
        }
        Ok(())
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        for client in &self.clients {
            // A reset leaves no TIME_WAIT behind, which would take ports from the next round.
            let _ = SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
        }
    }
}
