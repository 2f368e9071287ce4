//! The whosthere server: sockets, HTTP API, configuration, command line.

pub mod accounts;
pub mod api;
pub mod config;
pub mod data_dir;
pub mod metrics;
