//! The command line: `whosthere serve`, `whosthere check`, `whosthere demo`.
//!
//! A wrong command line or configuration ends with exit code 64 before any port is opened or any
//! file is made; whatever fails later ends with 1.

mod check;
mod demo;
mod serve;
pub mod start_text;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, process_environment};

/// Exit code for a wrong command line or configuration (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// An MQTT server that always knows who is online.
#[derive(Debug, Parser)]
#[command(name = "whosthere", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(ServeArgs),
    /// Say whether a configuration is right, and stop.
    Check(CheckArgs),
    /// Run a server with a made-up organisation to look at.
    Demo(DemoArgs),
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Configuration file; without one, safe defaults on loopback.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration file; without one, the defaults and the environment are checked.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {}

impl ServeArgs {
    /// The validated configuration of this command line, with the environment of this process.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_config(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.config.as_deref(), &process_environment())?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        Ok(config)
    }
}

/// Runs the program with its command line, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(arguments) {
        Ok(Cli {
            command: Command::Serve(arguments),
        }) => serve::run(&arguments),
        Ok(Cli {
            command: Command::Check(arguments),
        }) => check::run(&arguments),
        Ok(Cli {
            command: Command::Demo(_),
        }) => demo::run(),
        Err(error) => {
            // Nothing is left to do when the terminal is gone.
            let _ = error.print();
            // Help and version also come this way.
            if error.use_stderr() {
                EXIT_USAGE.into()
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}

/// Shows what is wrong with a configuration.
fn refuse(error: &ConfigError) -> ExitCode {
    for sentence in error.sentences() {
        eprintln!("whosthere: {sentence}");
    }
    EXIT_USAGE.into()
}
