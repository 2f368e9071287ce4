//! The whosthere server: sockets, HTTP API, configuration, command line.

pub mod accounts;
pub mod config;
pub mod data_dir;
