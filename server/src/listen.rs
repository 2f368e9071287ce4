//! `whosthere listen`: a receiver of webhooks for development.
//!
//! It verifies what comes and prints a line for each event, and can be told to be a bad receiver:
//! slow, failing, or silent. Like a receiver that means it, it refuses what is not signed with its
//! keys (401) and takes everything else once: what it has seen before is marked.
//!
//! # Layout
//! - `verify`: who signed a request; `message`: what stands in it; `line`: what is printed
//! - `receiver`: what is done with a request

mod line;
mod message;
mod receiver;
mod verify;

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::signals;
use receiver::Receiver;
pub use verify::Keys;

/// How to receive.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub address: SocketAddr,
    /// What requests must be signed with.
    pub keys: Keys,
    /// How long to wait before an answer.
    pub delay: Duration,
    /// What to answer.
    pub answer: Answer,
    /// Where to append what came.
    pub record: Option<File>,
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 204 to what is genuine and can be read, 401 or 400 to the rest.
    Honest,
    /// This status to everything.
    Always(u16),
    /// Nothing, ever.
    Never,
}

/// Receives until a signal asks to stop.
///
/// # Errors
/// If the address cannot be listened on, or nothing can be printed.
pub fn run(settings: Settings) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(settings.address).await?;
        introduce(listener.local_addr()?, &settings)?;
        let router = Receiver::new(settings, io::stdout()).router();
        tokio::select! {
            served = axum::serve(listener, router).into_future() => served,
            // Whoever still waits for an answer waits in vain, as with any receiver that goes.
            () = signals::stop_requested() => Ok(()),
        }
    })?;
    runtime.shutdown_background();
    Ok(())
}

fn introduce(address: SocketAddr, settings: &Settings) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Waiting for events at http://{address}/")?;
    writeln!(out, "  signatures: {}", settings.keys)?;
    match settings.answer {
        Answer::Honest => {}
        Answer::Always(status) => writeln!(out, "  every answer is {status}")?,
        Answer::Never => writeln!(out, "  nothing is answered")?,
    }
    if !settings.delay.is_zero() {
        writeln!(out, "  answers take {} ms", settings.delay.as_millis())?;
    }
    if address.ip().is_loopback() {
        writeln!(
            out,
            "  the server must be allowed to come here: [webhook] allow_addresses = [\"{}\"]",
            if address.is_ipv4() {
                "127.0.0.0/8"
            } else {
                "::1"
            }
        )?;
    }
    writeln!(out)?;
    out.flush()
}

#[cfg(test)]
mod tests;
