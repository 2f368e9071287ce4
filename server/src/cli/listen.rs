//! `whosthere listen`: see [`crate::listen`].

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use webhook::signature::app_key::AppKey;
use webhook::signature::standard::{Secret, StandardKeys};

use super::{EXIT_USAGE, ListenArgs};
use crate::listen::{self, Answer, Keys, Settings};

/// Exit code 0 when it was stopped by a signal, 64 when an argument is wrong.
pub(super) fn run(arguments: &ListenArgs) -> ExitCode {
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("whosthere: {why}");
            return EXIT_USAGE.into();
        }
    };
    match listen::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whosthere: {error}");
            ExitCode::FAILURE
        }
    }
}

fn settings(arguments: &ListenArgs) -> Result<Settings, String> {
    let answer = match (arguments.hang, arguments.status) {
        (true, _) => Answer::Never,
        (false, Some(status)) => Answer::Always(status),
        (false, None) => Answer::Honest,
    };
    Ok(Settings {
        address: SocketAddr::new(arguments.host, arguments.port),
        keys: keys(arguments)?,
        delay: Duration::from_millis(arguments.slow_ms),
        answer,
        record: record(arguments)?,
    })
}

fn keys(arguments: &ListenArgs) -> Result<Keys, String> {
    let parse = |text: &String| Secret::parse(text).map_err(|error| format!("--secret: {error}"));
    let secrets: Vec<_> = arguments
        .secrets
        .iter()
        .map(parse)
        .collect::<Result<_, _>>()?;
    let app_key = match (&arguments.app_key, &arguments.app_secret) {
        (Some(key), Some(secret)) => {
            Some(AppKey::new(key, secret).map_err(|error| format!("--app-key: {error}"))?)
        }
        _ => None,
    };
    Ok(Keys {
        // Without secrets there is nothing to verify with, which is allowed.
        standard: StandardKeys::new(secrets).ok(),
        app_key,
    })
}

fn record(arguments: &ListenArgs) -> Result<Option<File>, String> {
    let Some(path) = &arguments.record else {
        return Ok(None);
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map(Some)
        .map_err(|error| format!("--record {}: {error}", path.display()))
}
