//! Why a server did not start, in words for its operator.

use std::io;
use std::net::SocketAddr;

use crate::tls::TlsError;
use crate::{keeper, webhooks};

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A door could not be opened.
    #[error("cannot listen on {address} (listen.{key}): {source}")]
    Listen {
        /// The key in `[listen]`.
        key: &'static str,
        /// What it is set to.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A certificate cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The journal could not be opened, or not be written.
    #[error("cannot use the journal: {0}")]
    Journal(#[from] journal::Fault),
    /// The views of the journal could not be opened.
    #[error("{0}")]
    Views(#[from] views::OpenError),
    /// The views of the journal could not be written.
    #[error("cannot write the views of the journal: {0}")]
    WriteViews(#[from] views::FlushError),
    /// The views of the journal could not be read.
    #[error("cannot read the views of the journal: {0}")]
    ReadViews(#[from] views::ReadError),
    /// A webhook cannot be set up.
    #[error(transparent)]
    Hooks(#[from] webhooks::SettingsError),
    /// Webhooks could not be started.
    #[error("cannot start the webhooks: {0}")]
    Webhooks(#[from] webhooks::StartError),
    /// Stored sessions and retained messages could not be opened.
    #[error(transparent)]
    Messages(#[from] keeper::OpenError),
    /// The operating system gave no thread, poll or random numbers.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}
