//! `whosthere serve`: from a configuration to a running server, and down again.
//!
//! Doors are bound before a new organisation is written down and shown, so that a start that
//! fails on a taken port does not use up the one time its secrets are shown.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use presence::Org;
use tokio::net::TcpListener;

use super::{ServeArgs, refuse, start_text};
use crate::accounts::Accounts;
use crate::api::{self, AppState, Phase, Readiness};
use crate::config::{Config, Listen};
use crate::data_dir::{DataDir, NewOrg, Organisation};
use crate::metrics::Metrics;
use crate::{log, signals};

type Failure = Box<dyn Error>;

/// Runs until a signal asks to stop.
pub(super) fn run(arguments: &ServeArgs) -> ExitCode {
    let config = match arguments.load_config() {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    log::init(&config.log);
    match serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whosthere: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> Result<(), Failure> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let (accounts, new_org) = accounts(config, &data_dir)?;
    for id in accounts.open_org_ids() {
        tracing::warn!(
            org.id = id,
            "open_auth is on: anybody can log in as any user of {id}"
        );
    }
    let orgs: Arc<[Arc<Org>]> = accounts
        .org_ids()
        .map(|id| Arc::new(Org::new(id)))
        .collect();
    let readiness = Arc::new(Readiness::new());
    let metrics = Arc::new(Metrics::new(Arc::clone(&orgs)));
    let limits = config.http.clone();
    let state = AppState::new(
        Arc::new(accounts),
        orgs,
        metrics,
        Arc::clone(&readiness),
        limits,
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let http = match config.listen.http {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let mut bound = Listen {
            mqtt: None,
            ws: None,
            http: None,
        };
        bound.http = http.as_ref().map(TcpListener::local_addr).transpose()?;
        announce(&data_dir, new_org.as_ref(), &bound)?;
        readiness.set(Phase::Ready);
        let stop = async {
            signals::stop_requested().await;
            readiness.set(Phase::Stopping);
        };
        match http {
            Some(listener) => api::serve(listener, state, stop).await,
            None => stop.await,
        }
        Ok(())
    })
}

/// The configured organisations, or the one of the data directory, with its secrets if it is new.
fn accounts(config: &Config, data_dir: &DataDir) -> Result<(Accounts, Option<NewOrg>), Failure> {
    if !config.orgs.is_empty() {
        return Ok((Accounts::from_config(config), None));
    }
    let organisation = data_dir.organisation()?;
    let accounts = Accounts::from_generated(organisation.generated());
    match organisation {
        Organisation::Kept(_) => Ok((accounts, None)),
        Organisation::New(new) => Ok((accounts, Some(new))),
    }
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| format!("cannot listen on {address}: {error}.").into())
}

/// Keeps a new organisation and shows it, right after each other.
fn announce(data_dir: &DataDir, new: Option<&NewOrg>, bound: &Listen) -> Result<(), Failure> {
    let mut text = String::new();
    if let Some(new) = new {
        data_dir.keep(new)?;
        text = start_text::first_start(new, bound);
    }
    text += &start_text::doors(bound);
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
