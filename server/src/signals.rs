//! When the operator asks the server to stop, or to read again what it read at its start.

use tokio::signal::unix::{SignalKind, signal};

/// Ready at the first SIGINT or SIGTERM after the call.
pub async fn stop_requested() {
    let signals = signal(SignalKind::terminate()).and_then(|terminate| {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok((terminate, interrupt))
    });
    match signals {
        Ok((mut terminate, mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        Err(error) => {
            tracing::error!("signals cannot be caught, so only a kill stops this: {error}");
            std::future::pending().await
        }
    }
}

/// From now on SIGHUP ends the process no more, for as long as it runs: an operator who asks for
/// new certificates too early, or where there are none, must not stop the server.
///
/// # Errors
/// If the operating system does not allow it.
pub fn outlive_hangups() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _context = runtime.enter();
    signal(SignalKind::hangup()).map(drop)
}

/// Calls `reload` at each SIGHUP, for as long as the server runs.
pub async fn on_hangup(reload: impl Fn()) {
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => {
            while hangup.recv().await.is_some() {
                reload();
            }
        }
        Err(error) => tracing::error!("SIGHUP cannot be caught: {error}"),
    }
}
