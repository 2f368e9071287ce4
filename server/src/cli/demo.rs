//! `whosthere demo`: see [`crate::demo`].

use std::process::ExitCode;

use crate::config::{Config, process_environment};
use crate::{demo, log};

/// Exit code 0 when it was stopped by a signal.
pub(super) fn run() -> ExitCode {
    // Only the addresses are taken from the environment: everything else is the demo's own.
    let listen = match Config::load(None, &process_environment()) {
        Ok(config) => config.listen,
        Err(error) => return super::refuse(&error),
    };
    log::init(&demo::log_config());
    match demo::run(&listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("whosthere: {error}");
            ExitCode::FAILURE
        }
    }
}
