//! The doors of the HTTP API: bound before anything is served, then served on tokio.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::StartError;
use crate::api::{self, AppState};
use crate::config::Listen;
use crate::tls::Tls;

/// The doors that are open, bound but not yet served.
pub(super) struct HttpDoors {
    http: Option<TcpListener>,
    https: Option<TcpListener>,
}

/// The doors while they are served: what asks each to stop, and its task.
pub(super) struct Serving(Vec<(oneshot::Sender<()>, JoinHandle<()>)>);

impl HttpDoors {
    pub(super) fn open(listen: &Listen) -> Result<Self, StartError> {
        Ok(Self {
            http: bind("http", listen.http)?,
            https: bind("https", listen.https)?,
        })
    }

    /// `others` with the real addresses of these doors, ports of 0 resolved.
    pub(super) fn bound(&self, others: Listen) -> io::Result<Listen> {
        let address = |listener: &Option<TcpListener>| {
            let listener = listener.as_ref();
            listener.map(TcpListener::local_addr).transpose()
        };
        Ok(Listen {
            http: address(&self.http)?,
            https: address(&self.https)?,
            ..others
        })
    }

    pub(super) fn serve(
        self,
        runtime: &Runtime,
        tls: Option<&Arc<Tls>>,
        state: &Arc<AppState>,
    ) -> io::Result<Serving> {
        let doors = [(self.http, None), (self.https, tls.cloned())];
        let mut serving = Vec::new();
        for (listener, tls) in doors {
            if let Some(listener) = listener {
                serving.push(serve(runtime, listener, tls, Arc::clone(state))?);
            }
        }
        Ok(Serving(serving))
    }
}

impl Serving {
    /// Answers the requests under way, and returns.
    pub(super) fn stop(self, runtime: &Runtime) {
        let (stops, served): (Vec<_>, Vec<_>) = self.0.into_iter().unzip();
        // Dropping them asks to stop, all doors at the same time.
        drop(stops);
        for served in served {
            if runtime.block_on(served).is_err() {
                tracing::error!("serving HTTP had panicked");
            }
        }
    }
}

fn bind(key: &'static str, address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).map_err(|source| StartError::Listen {
        key,
        address,
        source,
    })?;
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    state: Arc<AppState>,
) -> io::Result<(oneshot::Sender<()>, JoinHandle<()>)> {
    let _context = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (stop, stopped) = oneshot::channel();
    let served = runtime.spawn(api::serve(listener, tls, state, async {
        // Dropping the sender stops it just as well.
        let _ = stopped.await;
    }));
    Ok((stop, served))
}
