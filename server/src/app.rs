//! The server as a whole: built from settings, run, drained.
//!
//! Build: the index, the counters, the doors; a door that cannot be opened is found out before
//! anything runs. Run: the event loops for MQTT on threads of their own, the HTTP API on a tokio
//! runtime beside them. Drain: every session is ended, then requests under way are answered.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use presence::Org;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::accounts::Accounts;
use crate::api::{self, AppState, Phase, Readiness};
use crate::config::{Config, Listen, MqttConfig};
use crate::event_loop::{self, Bound, Door, EventLoops, Settings, Shared, TcpProbes};
use crate::lifecycle::{Lifecycle, Occurrence};
use crate::metrics::Metrics;
use crate::signals;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A door could not be opened.
    #[error("cannot listen on {address} (listen.{key}): {source}")]
    Listen {
        /// The key in `[listen]`.
        key: &'static str,
        /// What it is set to.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system gave no thread, poll or random numbers.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A server whose doors are open and which nobody serves yet: what connects now, waits.
pub struct App {
    doors: Doors,
    http: Option<TcpListener>,
    bound: Listen,
    shared: Shared,
    state: Arc<AppState>,
    readiness: Arc<Readiness>,
}

/// A running server.
pub struct Server {
    loops: EventLoops,
    runtime: Runtime,
    http: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    readiness: Arc<Readiness>,
}

impl App {
    /// Builds a server. `watcher` is told of everybody who comes and goes, if it keeps up.
    ///
    /// # Errors
    /// If a door cannot be opened, or the operating system has no random numbers.
    pub fn build(
        config: &Config,
        accounts: Accounts,
        watcher: Option<SyncSender<Occurrence>>,
    ) -> Result<Self, StartError> {
        let doors = Doors::open(config)?;
        let http = config.listen.http.map(bind_http).transpose()?;
        let bound = Listen {
            mqtt: doors.mqtt,
            ws: doors.ws,
            http: http.as_ref().map(TcpListener::local_addr).transpose()?,
        };
        let accounts = Arc::new(accounts);
        let orgs: Arc<[Arc<Org>]> = accounts
            .org_ids()
            .map(|id| Arc::new(Org::new(id)))
            .collect();
        let metrics = Arc::new(Metrics::new(Arc::clone(&orgs)));
        let readiness = Arc::new(Readiness::new());
        let state = AppState::new(
            Arc::clone(&accounts),
            Arc::clone(&orgs),
            Arc::clone(&metrics),
            Arc::clone(&readiness),
            config.http.clone(),
        )?;
        let shared = Shared {
            accounts,
            orgs,
            lifecycle: Lifecycle::new(metrics.mqtt.clone(), watcher),
            limits: limits(&config.mqtt),
            settings: settings(&config.mqtt),
            metrics: metrics.mqtt.clone(),
        };
        Ok(Self {
            doors,
            http,
            bound,
            shared,
            state,
            readiness,
        })
    }

    /// The doors with their real addresses, ports of 0 resolved.
    #[must_use]
    pub fn bound(&self) -> &Listen {
        &self.bound
    }

    /// Begins to serve.
    ///
    /// # Errors
    /// If the operating system gives no thread or poll.
    pub fn run(self) -> Result<Server, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let loops = EventLoops::start(self.shared, self.doors.by_worker)?;
        let http = match self.http {
            Some(listener) => Some(serve_http(&runtime, listener, self.state)?),
            None => None,
        };
        self.readiness.set(Phase::Ready);
        Ok(Server {
            loops,
            runtime,
            http,
            readiness: self.readiness,
        })
    }
}

impl Server {
    /// Waits until the operator asks to stop, by SIGINT or SIGTERM.
    pub fn wait_for_stop(&self) {
        self.runtime.block_on(signals::stop_requested());
    }

    /// Ends every session, answers the requests under way and returns.
    pub fn stop(self) {
        self.readiness.set(Phase::Stopping);
        self.loops.stop();
        if let Some((stop, served)) = self.http {
            // It fails only if serving has ended already.
            let _ = stop.send(());
            if self.runtime.block_on(served).is_err() {
                tracing::error!("serving HTTP had panicked");
            }
        }
    }
}

fn bind_http(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).map_err(|source| StartError::Listen {
        key: "http",
        address,
        source,
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve_http(
    runtime: &Runtime,
    listener: TcpListener,
    state: Arc<AppState>,
) -> io::Result<(oneshot::Sender<()>, JoinHandle<()>)> {
    let _context = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (stop, stopped) = oneshot::channel();
    let served = runtime.spawn(api::serve(listener, state, async {
        // Dropping the sender stops it just as well.
        let _ = stopped.await;
    }));
    Ok((stop, served))
}

/// The MQTT side of a server: its doors, bound but not yet served.
struct Doors {
    by_worker: Vec<Vec<Bound>>,
    mqtt: Option<SocketAddr>,
    ws: Option<SocketAddr>,
}

impl Doors {
    fn open(config: &Config) -> Result<Self, StartError> {
        let workers = worker_count(config.workers);
        let mut doors = Self {
            by_worker: (0..workers).map(|_| Vec::new()).collect(),
            mqtt: None,
            ws: None,
        };
        if let Some(address) = config.listen.mqtt {
            doors.mqtt = Some(doors.bind("mqtt", address, Door::Tcp, &config.mqtt)?);
        }
        if let Some(address) = config.listen.ws {
            doors.ws = Some(doors.bind("ws", address, Door::WebSocket, &config.mqtt)?);
        }
        Ok(doors)
    }

    fn bind(
        &mut self,
        key: &'static str,
        address: SocketAddr,
        door: Door,
        settings: &MqttConfig,
    ) -> Result<SocketAddr, StartError> {
        let probes = TcpProbes {
            idle_secs: narrow(settings.tcp_keep_alive_idle_secs),
            interval_secs: narrow(settings.tcp_keep_alive_interval_secs),
            count: settings.tcp_keep_alive_probes,
        };
        let backlog = i32::from(settings.listen_backlog);
        let workers = self.by_worker.len();
        let bound =
            event_loop::bind(address, door, workers, backlog, probes).map_err(|source| {
                StartError::Listen {
                    key,
                    address,
                    source,
                }
            })?;
        let real = bound.first().map_or(address, |bound| bound.address);
        for (doors, bound) in self.by_worker.iter_mut().zip(bound) {
            doors.push(bound);
        }
        Ok(real)
    }
}

/// One event loop per core unless the settings say otherwise.
fn worker_count(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    }
}

fn limits(settings: &MqttConfig) -> mqtt::Limits {
    mqtt::Limits {
        packet_bytes_max: settings.packet_bytes_max,
        keep_alive_secs_max: settings.keep_alive_secs_max,
        topic_levels_max: narrow(settings.topic_levels_max),
        receive_max: settings.receive_max,
        inflight_max: settings.inflight_max,
        queue_messages_max: narrow(settings.queue_messages_max),
        queue_bytes_max: narrow(settings.queue_bytes_max),
        filters_per_packet_max: narrow(settings.filters_per_packet_max),
    }
}

fn settings(settings: &MqttConfig) -> Settings {
    Settings {
        connect_timeout_secs: narrow(settings.connect_timeout_secs),
        connect_bytes_max: settings.connect_bytes_max,
        outbound_bytes_max: settings.outbound_bytes_max,
        subscriptions_per_session_max: narrow(settings.subscriptions_per_session_max),
        connections_max: settings.connections_max,
        mailbox_deliveries_max: settings.mailbox_deliveries_max,
    }
}

/// A setting in the width that its user needs. Validation has seen to it that it fits; if it did
/// not, the largest value would be the nearest to what was meant.
fn narrow<From, To>(value: From) -> To
where
    To: TryFrom<From> + Bounded,
{
    To::try_from(value).unwrap_or(To::MAX)
}

/// Integers that have a largest value.
trait Bounded {
    const MAX: Self;
}

impl Bounded for u16 {
    const MAX: Self = Self::MAX;
}

impl Bounded for u32 {
    const MAX: Self = Self::MAX;
}
