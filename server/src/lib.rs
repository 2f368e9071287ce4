//! The whosthere server: sockets, HTTP API, configuration, command line.
//!
//! # Layout
//! - [`cli`]: the command line
//! - [`app`]: the server as a whole: built, run, drained
//! - [`event_loop`]: the MQTT side: sockets, sessions, messages
//! - [`verifiers`]: the threads that check what takes time of a login
//! - [`lifecycle`]: the one place where sessions begin and end
//! - [`keeper`]: the thread that keeps stored sessions and retained messages
//! - [`config`]: settings from a file and the environment
//! - [`accounts`]: organisations, users and keys: who may come in
//! - [`tls`]: certificates, and the users that they name
//! - [`data_dir`]: what is kept between starts
//! - [`api`]: the HTTP API
//! - `proxy`: what load balancers say of whom they forward, at any door
//! - [`demo`]: a server with clients to look at; [`listen`]: a receiver of webhooks to look at
//! - [`fuzzing`]: a way in for fuzzers, to what reads bytes from outside
//! - [`metrics`], [`log`], [`signals`]: what the operator sees and says

pub mod accounts;
pub mod api;
pub mod app;
pub mod bell;
pub mod cli;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod demo;
pub mod event_loop;
pub mod follower;
#[doc(hidden)]
pub mod fuzzing;
pub mod keeper;
pub mod lifecycle;
pub mod listen;
pub mod log;
pub mod metrics;
mod proxy;
pub mod signals;
mod small_file;
pub mod tls;
pub mod verifiers;
pub mod webhooks;
