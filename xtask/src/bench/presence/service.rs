//! The server's HTTP API in this process, over the organisation under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Result, anyhow};
use presence::Org;
use server::accounts::Accounts;
use server::api::{self, AppState, Parts, Phase, Readiness};
use server::config::{Config, Environment};
use server::lifecycle::{Failing, Lifecycle};
use server::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::super::http::Api;

const SECRET_KEY: &str = "sk_bench_0123456789abcdef0123456789abcdef";

/// A running API; it ends when this is dropped.
pub(super) struct Service {
    org: Arc<Org>,
    address: SocketAddr,
    _runtime: Runtime,
}

impl Service {
    /// Serves `org` with the default settings on a free port.
    pub(super) fn start(org: &Arc<Org>) -> Result<Self> {
        let runtime = tokio::runtime::Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let door = api::Door {
            listener,
            tls: None,
            balancers: None,
        };
        runtime.spawn(api::serve(door, state(org)?, std::future::pending()));
        Ok(Self {
            org: Arc::clone(org),
            address,
            _runtime: runtime,
        })
    }

    /// The organisation.
    pub(super) fn org(&self) -> &Org {
        &self.org
    }

    /// A client with a connection of its own.
    pub(super) fn api(&self) -> Api {
        Api::new(self.address, SECRET_KEY)
    }
}

fn state(org: &Arc<Org>) -> Result<Arc<AppState>> {
    let text = format!(
        "[[org]]\nid = \"{}\"\nsecret_keys = [\"{SECRET_KEY}\"]\n",
        org.id()
    );
    let config = Config::from_text(&text, "the benchmark", &Environment::default())
        .map_err(|error| anyhow!("{error}"))?;
    let accounts = Arc::new(Accounts::from_config(&config)?);
    let orgs: Arc<[Arc<Org>]> = Arc::new([Arc::clone(org)]);
    let metrics = Arc::new(Metrics::new(Arc::clone(&orgs)));
    let readiness = Arc::new(Readiness::new());
    readiness.set(Phase::Ready);
    // Nobody's history: what the single-user reply asks the views costs the same.
    let folder = std::env::temp_dir().join(format!("whosthere-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let views = views::Views::open(&folder.join("views.sqlite"))?;
    let readers = (0..4).map(|_| views.reader()).collect::<Result<_, _>>()?;
    // The files stay open as long as the readers need them.
    std::fs::remove_dir_all(&folder)?;
    Ok(AppState::new(Parts {
        accounts,
        orgs,
        lifecycle: Lifecycle::new(1),
        failing: Failing::default(),
        failing_messages: Failing::default(),
        readers,
        committed: {
            let position = views.position();
            Box::new(move || position)
        },
        folded: watch::channel(views.position()).1,
        webhooks: Arc::default(),
        metrics,
        readiness,
        limits: config.http,
    })?)
}
