//! The server as a whole: built from settings, run, drained.
//!
//! Build: the doors, the journal, the index; a door that cannot be opened is found out before
//! anything runs, and sessions that a crash left open are ended before anybody connects. Run: the
//! sequencer and the event loops on threads of their own, the HTTP API on a tokio runtime beside
//! them. Drain: clients are sent away, every session is ended in the journal, then requests under
//! way are answered.

mod doors;
mod files;
mod follow;
mod http;
mod on_disk;
mod start_error;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use journal::Log;
use presence::Org;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use doors::{Doors, limits, settings};
use follow::{Follow, retention};
use http::{HttpDoors, Serving};
use on_disk::OnDisk;
pub use start_error::StartError;

use crate::accounts::{AccountMetrics, Accounts, KeySource};
use crate::api::{self, AppState, Phase, Readiness};
use crate::bell::Bell;
use crate::config::{Config, HttpConfig, Listen};
use crate::event_loop::{EventLoops, Shared};
use crate::follower::Follower;
use crate::keeper::{self, KeeperThread};
use crate::lifecycle::{Failing, Lifecycle, Occurrence, Parts, Sequencer};
use crate::metrics::Metrics;
use crate::signals;
use crate::tls::{self, Tls};
use crate::verifiers::{self, Verifiers};
use crate::webhooks;

/// Questions about what happened that the API can ask at the same time; each costs a connection to
/// the views.
const API_READERS: usize = 4;

/// How long the end of the server waits for files that are being read.
const READING_TIME: Duration = Duration::from_secs(1);

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
    http: HttpDoors,
    bound: Listen,
    shared: Shared,
    state: Arc<AppState>,
    readiness: Arc<Readiness>,
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
    http: Serving,
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
        let http = HttpDoors::open(config)?;
        let bound = http.bound(doors.bound.clone())?;
        let OnDisk {
            log,
            views,
            deliveries,
        } = OnDisk::open(data_dir, &config.journal)?;
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
        let (folded, watch_folded) = watch::channel(views.position());
        let state = AppState::new(api::Parts {
            accounts: Arc::clone(&accounts),
            orgs: Arc::clone(&orgs),
            lifecycle: lifecycle.clone(),
            failing: failing.clone(),
            failing_messages: keeper.failing(),
            readers: (0..API_READERS)
                .map(|_| views.reader())
                .collect::<Result<_, _>>()?,
            committed: {
                let end = log.end();
                Box::new(move || end.position())
            },
            folded: watch_folded,
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
            folded,
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
        let http = self.http.serve(&runtime, tls.as_ref(), &self.state)?;
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
        self.http.stop(&self.runtime);
        // A file that is being read again may be on a disk that does not answer.
        self.runtime.shutdown_timeout(READING_TIME);
    }
}

/// Fetches keys of tokens for as long as the server runs.
async fn keep_keys(source: Arc<KeySource>, metrics: AccountMetrics, verifiers: Verifiers) {
    source.run(&metrics, || verifiers.release()).await;
}
