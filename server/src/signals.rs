//! When the operator asks the server to stop.

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
