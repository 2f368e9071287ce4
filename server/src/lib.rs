//! The whosthere server: sockets, HTTP API, configuration, command line.
//!
//! # Layout
//! - [`cli`]: the command line; `serve` wires everything below together
//! - [`config`]: settings from a file and the environment
//! - [`accounts`]: organisations, users and keys: who may come in
//! - [`data_dir`]: what is kept between starts
//! - [`api`]: the HTTP API
//! - [`metrics`], [`log`], [`signals`]: what the operator sees and says

pub mod accounts;
pub mod api;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod log;
pub mod metrics;
pub mod signals;
