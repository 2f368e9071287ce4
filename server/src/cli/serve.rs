//! `whosthere serve`: from a configuration to a running server, and down again.
//!
//! Doors are bound before a new organisation is written down and shown, so that a start that
//! fails on a taken port does not use up the one time its secrets are shown.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use super::{ServeArgs, refuse, start_text};
use crate::accounts::Accounts;
use crate::app::App;
use crate::config::{Config, JwtConfig, Listen};
use crate::data_dir::{DataDir, NewOrg, Organisation};
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
    signals::outlive_hangups()?;
    let data_dir = DataDir::open(&config.data_dir)?;
    let (accounts, new_org) = accounts(config, &data_dir)?;
    for id in accounts.open_org_ids() {
        tracing::warn!(
            org.id = id,
            "open_auth is on: anybody can log in as any user of {id}"
        );
    }
    for org in &config.orgs {
        if org.jwts.iter().any(JwtConfig::is_exposed) {
            tracing::warn!(
                org.id = org.id,
                "keys of tokens come over http: whoever is on the way can log in as anybody"
            );
        }
    }
    let app = App::build(config, accounts, data_dir.path(), None)?;
    announce(&data_dir, new_org.as_ref(), app.bound())?;
    let server = app.run()?;
    server.reload_on_hangup();
    server.wait_for_stop();
    tracing::info!("stopping");
    server.stop();
    Ok(())
}

/// The configured organisations, or the one of the data directory, with its secrets if it is new.
fn accounts(config: &Config, data_dir: &DataDir) -> Result<(Accounts, Option<NewOrg>), Failure> {
    if !config.orgs.is_empty() {
        return Ok((Accounts::from_config(config)?, None));
    }
    let organisation = data_dir.organisation()?;
    let accounts = Accounts::from_generated(organisation.generated(), config)?;
    match organisation {
        Organisation::Kept(_) => Ok((accounts, None)),
        Organisation::New(new) => Ok((accounts, Some(new))),
    }
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
