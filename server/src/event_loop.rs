//! The MQTT side: event loops on threads of their own, each with its own connections.
//!
//! A connection lives and dies in the loop that accepted it; loops reach each other's connections
//! only by letter (see [`mailbox`]). A loop never waits: not for a client, not for a disk, not for
//! a query. Its neighbours are `mqtt` (how clients speak), `presence` (who is online) and
//! [`crate::lifecycle`] (where sessions begin and end).
//!
//! - [`worker`]: the loop itself: events in, connections served, output flushed
//! - [`arrivals`]: connections as they come, at the limits of files and connections too;
//!   [`turns`]: who is in goes first, and who asks for little
//! - [`connection`]: what is kept of a connection: as little as possible while it is idle
//! - [`inbound`]: bytes from a socket to actions of a session
//! - [`login`]: from CONNECT to the request for a session
//! - [`actions`]: what a session asks for: publish, close; [`subscribing`]: the rest
//! - [`routing`]: which sessions get a message, and on which loops they are
//! - [`keeping`]: what the keeper is told of it; [`stored`]: sessions that outlive connections
//! - [`retained`]: retained messages for new subscriptions
//! - [`backlog`]: crowds that are served in slices of turns
//! - [`outbound`]: messages to subscribers and bytes to sockets, within limits
//! - [`passes`]: the terms of connections that are not like all others
//! - [`closing`]: every way a connection ends
//! - [`wills`]: what is published when a client goes without taking it back
//! - [`websocket`]: MQTT inside WebSocket frames; [`secure`]: TLS of one connection;
//!   [`proxy`]: whom a load balancer forwards
//! - [`metrics`]: what is counted; [`fuzz`]: what must hold for any bytes
//! - [`listener`]: the doors: addresses, backlog, probes of silent peers

mod actions;
mod arrivals;
mod backlog;
mod closing;
mod connection;
mod decoded;
pub(crate) mod fuzz;
mod held_back;
mod inbound;
mod keeping;
mod listener;
mod login;
mod mailbox;
mod metrics;
mod outbound;
mod passes;
mod proxy;
mod retained;
mod routing;
mod secure;
mod sharing;
mod stored;
mod subscribing;
mod turns;
mod websocket;
mod wills;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;

use ipnet::IpNet;
use presence::Org;

use crate::accounts::Accounts;
use crate::keeper::Keeper;
use crate::lifecycle::Lifecycle;
use crate::tls::Tls;
use crate::verifiers::Verifiers;
use arrivals::Spare;
use mailbox::Mailbox;
pub(crate) use mailbox::{Letter, Letters};

pub use listener::{Bound, Door, TcpProbes, bind};
pub use metrics::{MqttMetrics, ReasonLabel, Seconds};

/// What the event loops have in common.
pub struct Shared {
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// The threads that check what takes time.
    pub verifiers: Verifiers,
    /// The organisations, by the index that a login names.
    pub orgs: Arc<[Arc<Org>]>,
    /// Where sessions begin and end.
    pub lifecycle: Lifecycle,
    /// The certificate of the doors that speak TLS; there is one if there are any.
    pub tls: Option<Arc<Tls>>,
    /// What outlives connections.
    pub keeper: Keeper,
    /// Limits of the protocol.
    pub limits: mqtt::Limits,
    /// Limits of connections.
    pub settings: Settings,
    /// Counters.
    pub metrics: MqttMetrics,
}

/// Limits of connections, as `[mqtt]` of the configuration sets them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Seconds from accepting a connection to its CONNECT.
    pub connect_timeout_secs: u32,
    /// Bytes of a CONNECT packet.
    pub connect_bytes_max: u32,
    /// Unsent bytes per connection.
    pub outbound_bytes_max: usize,
    /// Subscriptions per session.
    pub subscriptions_per_session_max: u16,
    /// New subscriptions of a session whose retained messages wait.
    pub subscriptions_waiting_max: usize,
    /// Connections of the whole server.
    pub connections_max: usize,
    /// Connections beyond them that are told so.
    pub refusals_max: usize,
    /// Load balancers that may say whom they forward.
    pub trusted: Box<[IpNet]>,
    /// Deliveries waiting to cross from one loop to another.
    pub mailbox_deliveries_max: usize,
}

impl Settings {
    fn trusts(&self, from: SocketAddr) -> bool {
        crate::proxy::is_trusted(&self.trusted, from)
    }
}

/// What the workers of one server share besides [`Shared`]: their mailboxes and their count of
/// connections.
pub(crate) struct House {
    pub(crate) shared: Shared,
    pub(crate) mailboxes: Box<[Mailbox]>,
    pub(crate) connection_count: AtomicUsize,
    spare: Spare,
}

/// The running event loops.
pub struct EventLoops {
    house: Arc<House>,
    threads: Vec<JoinHandle<()>>,
}

impl EventLoops {
    /// Starts one loop for each set of listeners in `doors`.
    ///
    /// # Errors
    /// If the operating system gives no poll, or no thread.
    pub fn start(shared: Shared, doors: Vec<Vec<Bound>>) -> io::Result<Self> {
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in &doors {
            let poll = mio::Poll::new()?;
            mailboxes.push(Mailbox::new(&poll, shared.settings.mailbox_deliveries_max)?);
            polls.push(poll);
        }
        let house = Arc::new(House {
            shared,
            mailboxes: mailboxes.into(),
            connection_count: AtomicUsize::new(0),
            spare: Spare::new(),
        });
        let mut threads = Vec::new();
        for (index, (poll, doors)) in polls.into_iter().zip(doors).enumerate() {
            let index = u16::try_from(index).expect("settings allow at most 1,024 workers");
            let mut worker = worker::Worker::new(index, Arc::clone(&house), poll, doors)?;
            let thread = std::thread::Builder::new()
                .name(format!("mqtt-{index}"))
                .spawn(move || worker.run())?;
            threads.push(thread);
        }
        Ok(Self { house, threads })
    }

    /// A way to write to the loops.
    pub(crate) fn letters(&self) -> Letters {
        Letters::new(Arc::clone(&self.house))
    }

    /// Sends every client away and waits for the loops to finish. Their sessions end in the
    /// journal afterwards.
    pub fn stop(self) {
        for mailbox in &self.house.mailboxes {
            mailbox.post(Letter::Stop);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("an event loop had panicked");
            }
        }
    }

    /// Connections now, those included that have not sent CONNECT yet.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.house
            .connection_count
            .load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// The address that a set of listeners of one door shares.
#[must_use]
pub fn address_of(doors: &[Vec<Bound>], door: Door) -> Option<SocketAddr> {
    doors
        .iter()
        .flatten()
        .find(|bound| bound.door == door)
        .map(|bound| bound.address)
}
