//! The server as a whole: built from settings, run, drained.
//!
//! Build: the doors, the journal, the index; a door that cannot be opened is found out before
//! anything runs, and sessions that a crash left open are ended before anybody connects. Run: the
//! sequencer and the event loops on threads of their own, the HTTP API on a tokio runtime beside
//! them. Drain: clients are sent away, every session is ended in the journal, then requests under
//! way are answered.

mod doors;
mod files;

use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use journal::{Log, Retention};
use presence::Org;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use views::{Deliveries, Views};

use doors::{Doors, limits, settings};

use crate::accounts::{AccountMetrics, Accounts, KeySource};
use crate::api::{self, AppState, Phase, Readiness};
use crate::bell::Bell;
use crate::config::{Config, HttpConfig, JournalConfig, Listen};
use crate::event_loop::{EventLoops, Shared};
use crate::follower::{self, Follower};
use crate::keeper::{self, KeeperThread};
use crate::lifecycle::{Failing, Lifecycle, Occurrence, Parts, Sequencer, end_crashed};
use crate::metrics::Metrics;
use crate::signals;
use crate::tls::{self, Tls, TlsError};
use crate::verifiers::{self, Verifiers};
use crate::webhooks::{self, WebhookMetrics, Webhooks};

/// Questions about what happened that the API can ask at the same time; each costs a connection to
/// the views.
const API_READERS: usize = 4;

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
    /// A certificate cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The journal could not be opened, or not be written.
    #[error("cannot use the journal: {0}")]
    Journal(#[from] journal::Fault),
    /// The views of the journal could not be opened.
    #[error("{0}")]
    Views(#[from] views::OpenError),
    /// The views of the journal could not be written.
    #[error("cannot write the views of the journal: {0}")]
    WriteViews(#[from] views::FlushError),
    /// The views of the journal could not be read.
    #[error("cannot read the views of the journal: {0}")]
    ReadViews(#[from] views::ReadError),
    /// A webhook cannot be set up.
    #[error(transparent)]
    Hooks(#[from] webhooks::SettingsError),
    /// Webhooks could not be started.
    #[error("cannot start the webhooks: {0}")]
    Webhooks(#[from] webhooks::StartError),
    /// Stored sessions and retained messages could not be opened.
    #[error(transparent)]
    Messages(#[from] keeper::OpenError),
    /// The operating system gave no thread, poll or random numbers.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A server whose doors are open and which nobody serves yet: what connects now, waits.
pub struct App {
    follow: Follow,
    failing: Failing,
    log: Log,
    probe_file: PathBuf,
    is_journal_off: bool,
    rush_wait: Duration,
    verifier_count: usize,
    watcher: Option<SyncSender<Occurrence>>,
    keeper: keeper::Prepared,
    doors: Doors,
    http: Option<TcpListener>,
    https: Option<TcpListener>,
    bound: Listen,
    shared: Shared,
    state: Arc<AppState>,
    readiness: Arc<Readiness>,
}

/// What follows the journal, before it runs.
struct Follow {
    views: Views,
    deliveries: Arc<Mutex<Deliveries>>,
    webhooks: Arc<Webhooks>,
    prepared: webhooks::Prepared,
    webhook_metrics: WebhookMetrics,
    retention: Retention,
    drain: Duration,
}

/// A running server.
pub struct Server {
    follower: Follower,
    webhooks: webhooks::Running,
    sequencer: Sequencer,
    keeper: KeeperThread,
    loops: EventLoops,
    verifiers: verifiers::Running,
    runtime: Runtime,
    http: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
    readiness: Arc<Readiness>,
    accounts: Arc<Accounts>,
    has_certificates: bool,
}

impl App {
    /// Builds a server. `watcher` is told of everybody who comes and goes, if it keeps up.
    ///
    /// # Errors
    /// If a door cannot be opened, or the operating system has no random numbers.
    pub fn build(
        config: &Config,
        accounts: Accounts,
        data_dir: &Path,
        watcher: Option<SyncSender<Occurrence>>,
    ) -> Result<Self, StartError> {
        let limit = files::raise_limit();
        let hooks = webhooks::settings_of(config, &accounts)?;
        let doors = Doors::open(config)?;
        let shares = files::share(limit, config, doors.by_worker.len());
        let http = bind_http("http", config.listen.http)?;
        let https = bind_http("https", config.listen.https)?;
        let address = |listener: &Option<TcpListener>| {
            let listener = listener.as_ref();
            listener.map(TcpListener::local_addr).transpose()
        };
        let bound = Listen {
            http: address(&http)?,
            https: address(&https)?,
            ..doors.bound
        };
        if config.journal.dangerous_off {
            tracing::warn!("journal.dangerous_off is set: nothing is written down or delivered");
        }
        let log = open_journal(&data_dir.join("journal"), &config.journal)?;
        let mut views = Views::open(&private_file(data_dir, "views.sqlite")?)?;
        views.skip_to(log.oldest())?;
        let deliveries = Deliveries::open(&private_file(data_dir, "deliveries.sqlite")?)?;
        let deliveries = Arc::new(Mutex::new(deliveries));
        let accounts = Arc::new(accounts);
        let orgs: Arc<[Arc<Org>]> = accounts
            .org_ids()
            .map(|id| Arc::new(Org::new(id)))
            .collect();
        let mut metrics = Metrics::new(Arc::clone(&orgs));
        accounts.metrics.register(metrics.registry_mut());
        let prepared_keeper = keeper::open(data_dir, config, &accounts, metrics.registry_mut())?;
        let keeper = prepared_keeper.keeper();
        let metrics = Arc::new(metrics);
        let tls = match config.listen.open_tls().next() {
            Some(_) => Some(Arc::new(Tls::load(&config.tls, metrics.tls.clone())?)),
            None => None,
        };
        let readiness = Arc::new(Readiness::new());
        let (webhooks, prepared) = webhooks::prepare(hooks, orgs.len(), &deliveries);
        let webhooks = Arc::new(webhooks);
        let lifecycle = Lifecycle::new(config.journal.opens_waiting_max);
        let failing = Failing::default();
        let state = AppState::new(api::Parts {
            accounts: Arc::clone(&accounts),
            orgs: Arc::clone(&orgs),
            lifecycle: lifecycle.clone(),
            failing: failing.clone(),
            failing_messages: keeper.failing(),
            readers: (0..API_READERS)
                .map(|_| views.reader())
                .collect::<Result<_, _>>()?,
            webhooks: Arc::clone(&webhooks),
            metrics: Arc::clone(&metrics),
            readiness: Arc::clone(&readiness),
            limits: HttpConfig {
                connections_max: shares.http_connections_max,
                ..config.http.clone()
            },
        })?;
        let shared = Shared {
            accounts,
            verifiers: Verifiers::new(config.accounts.verify_waiting_max),
            orgs,
            lifecycle,
            keeper,
            tls,
            limits: limits(config),
            settings: settings(config, shares),
            metrics: metrics.mqtt.clone(),
        };
        let follow = Follow {
            views,
            deliveries,
            webhooks,
            prepared,
            webhook_metrics: metrics.webhooks.clone(),
            retention: retention(&config.journal),
            drain: Duration::from_secs(config.webhook.drain_secs),
        };
        Ok(Self {
            follow,
            failing,
            log,
            probe_file: data_dir.join("probe"),
            is_journal_off: config.journal.dangerous_off,
            rush_wait: Duration::from_micros(config.journal.rush_wait_micros),
            verifier_count: config.accounts.verifiers,
            watcher,
            keeper: prepared_keeper,
            doors,
            http,
            https,
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
        let lifecycle = self.shared.lifecycle.clone();
        let committed: Arc<Bell> = Arc::default();
        let (follower, webhooks) = self.follow.start(&self.log, &committed, &runtime)?;
        let parts = (Arc::clone(&self.shared.orgs), self.shared.metrics.clone());
        let (verifiers, accounts) = (
            self.shared.verifiers.clone(),
            Arc::clone(&self.shared.accounts),
        );
        let tls = self.shared.tls.clone();
        let loops = EventLoops::start(self.shared, self.doors.by_worker)?;
        for source in accounts.key_sources() {
            runtime.spawn(keep_keys(
                Arc::clone(source),
                accounts.metrics.clone(),
                verifiers.clone(),
            ));
        }
        let verifiers = verifiers.start(self.verifier_count, &accounts, &loops.letters())?;
        let keeper = self.keeper.start(Box::new(loops.letters()))?;
        let sequencer = Sequencer::start(
            &lifecycle,
            Parts {
                log: self.log,
                letters: loops.letters(),
                orgs: parts.0,
                metrics: parts.1,
                watcher: self.watcher,
                committed,
                failing: self.failing,
                is_off: self.is_journal_off,
                rush_wait: self.rush_wait,
                probe_file: self.probe_file,
            },
        )?;
        let mut http = Vec::new();
        if let Some(listener) = self.http {
            let state = Arc::clone(&self.state);
            http.push(serve_http(&runtime, listener, None, state)?);
        }
        if let Some(listener) = self.https {
            http.push(serve_http(&runtime, listener, tls.clone(), self.state)?);
        }
        let has_certificates = tls.is_some();
        if let Some(tls) = tls {
            runtime.spawn(tls::reload(tls));
        }
        self.readiness.set(Phase::Ready);
        Ok(Server {
            follower,
            webhooks,
            loops,
            verifiers,
            sequencer,
            keeper,
            runtime,
            http,
            readiness: self.readiness,
            accounts,
            has_certificates,
        })
    }
}

impl Server {
    /// Waits until the operator asks to stop, by SIGINT or SIGTERM.
    pub fn wait_for_stop(&self) {
        self.runtime.block_on(signals::stop_requested());
    }

    /// From now on SIGHUP asks for the keys of tokens to be read again, besides certificates, which
    /// [`tls`] sees to.
    pub fn reload_on_hangup(&self) {
        let (accounts, has_certificates) = (Arc::clone(&self.accounts), self.has_certificates);
        self.runtime.spawn(signals::on_hangup(move || {
            let sources = accounts.key_sources();
            let source_count = sources.map(|source| source.reload()).count();
            match (has_certificates, source_count) {
                (false, 0) => tracing::info!(
                    "SIGHUP: there are no certificates or keys of tokens to be read again; settings \
                     are read at the start only"
                ),
                (_, 0) => {}
                _ => tracing::info!("SIGHUP: the keys of tokens are read again"),
            }
        }));
    }

    /// Sends every client away, ends every session, delivers for as long as webhooks may take,
    /// answers the requests under way and returns.
    pub fn stop(self) {
        self.readiness.set(Phase::Stopping);
        self.loops.stop();
        self.verifiers.finish();
        self.sequencer.finish();
        self.keeper.finish();
        self.follower.finish();
        self.runtime.block_on(self.webhooks.finish());
        let (stops, served): (Vec<_>, Vec<_>) = self.http.into_iter().unzip();
        // Dropping them asks to stop, all doors at the same time.
        drop(stops);
        for served in served {
            if self.runtime.block_on(served).is_err() {
                tracing::error!("serving HTTP had panicked");
            }
        }
    }
}

impl Follow {
    fn start(
        self,
        log: &Log,
        committed: &Arc<Bell>,
        runtime: &Runtime,
    ) -> Result<(Follower, webhooks::Running), StartError> {
        let endpoints = self.webhooks.keys();
        let mut readers = Vec::new();
        for _ in &endpoints {
            readers.push(self.views.reader()?);
        }
        let follower = Follower::start(follower::Parts {
            reader: log.reader(),
            maintenance: log.maintenance(),
            views: self.views,
            deliveries: self.deliveries,
            committed: Arc::clone(committed),
            endpoints,
            retention: self.retention,
        })?;
        let folded = follower.folded();
        let webhooks = self.prepared.start(
            runtime.handle(),
            &folded,
            readers,
            &self.webhook_metrics,
            self.drain,
        )?;
        Ok((follower, webhooks))
    }
}

fn retention(config: &JournalConfig) -> Retention {
    let some = |limit: u64| (limit > 0).then_some(limit);
    Retention {
        age_ms: some(config.retention_days * 24 * 3_600_000),
        bytes: some(config.retention_bytes),
    }
}

/// The path of a file in the data directory that only its owner may read. SQLite takes an empty
/// file for a new database, and gives the files beside it the same mode.
fn private_file(data_dir: &Path, name: &str) -> io::Result<PathBuf> {
    let path = data_dir.join(name);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)?;
    Ok(path)
}

/// Fetches keys of tokens for as long as the server runs.
async fn keep_keys(source: Arc<KeySource>, metrics: AccountMetrics, verifiers: Verifiers) {
    source.run(&metrics, || verifiers.release()).await;
}

/// Opens the journal and ends what a crash left open.
fn open_journal(dir: &Path, config: &JournalConfig) -> Result<Log, StartError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let settings = journal::Settings {
        segment_bytes: config.segment_bytes,
    };
    let (mut log, recovered) = Log::open(dir, settings)?;
    let ended = end_crashed(&mut log, recovered.open).map_err(|error| error.0)?;
    if ended > 0 {
        tracing::warn!(
            ended,
            "ended the sessions that were open when the server crashed"
        );
    }
    Ok(log)
}

fn bind_http(
    key: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).map_err(|source| StartError::Listen {
        key,
        address,
        source,
    })?;
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

fn serve_http(
    runtime: &Runtime,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    state: Arc<AppState>,
) -> io::Result<(oneshot::Sender<()>, JoinHandle<()>)> {
    let _context = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (stop, stopped) = oneshot::channel();
    let served = runtime.spawn(api::serve(listener, tls, state, async {
        // Dropping the sender stops it just as well.
        let _ = stopped.await;
    }));
    Ok((stop, served))
}
