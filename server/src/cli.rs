//! The command line: `whosthere serve`, `check`, `hash-password`, `demo`, `listen`.
//!
//! A wrong command line or configuration ends with exit code 64 before any port is opened or any
//! file is made; whatever fails later ends with 1.

mod check;
mod demo;
mod hash_password;
mod listen;
mod serve;
pub mod start_text;

use std::ffi::OsString;
use std::net::IpAddr;
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
    /// Read a password and print its hash for `password_hash` in a configuration.
    HashPassword(HashPasswordArgs),
    /// Run a server with a made-up organisation to look at.
    Demo(DemoArgs),
    /// Receive webhooks and show them, for development.
    Listen(ListenArgs),
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

/// Arguments of `hash-password`.
#[derive(Debug, Args)]
pub struct HashPasswordArgs {}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {}

/// Arguments of `listen`.
#[derive(Args)]
pub struct ListenArgs {
    /// Port to listen on; 0 lets the system choose one.
    #[arg(long, default_value_t = 9000)]
    pub port: u16,
    /// Address to listen on.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Secret of the Standard Webhooks signature, whsec_…; may be given several times.
    #[arg(long = "secret", value_name = "SECRET")]
    pub secrets: Vec<String>,
    /// Key of the SHA1 signature.
    #[arg(long, value_name = "KEY", requires = "app_secret")]
    pub app_key: Option<String>,
    /// Secret of the SHA1 signature.
    #[arg(long, value_name = "SECRET", requires = "app_key")]
    pub app_secret: Option<String>,
    /// Wait so long before each answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub slow_ms: u64,
    /// Answer everything with this status.
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: Option<u16>,
    /// Never answer.
    #[arg(long, conflicts_with = "status")]
    pub hang: bool,
    /// Append what comes to this file, a JSON object per line.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

impl std::fmt::Debug for ListenArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenArgs")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

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
            command: Command::HashPassword(_),
        }) => hash_password::run(),
        Ok(Cli {
            command: Command::Demo(_),
        }) => demo::run(),
        Ok(Cli {
            command: Command::Listen(arguments),
        }) => listen::run(&arguments),
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
