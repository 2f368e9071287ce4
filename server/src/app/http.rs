//! The doors of the HTTP API: bound before anything is served, then served on tokio.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ipnet::IpNet;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::StartError;
use crate::api::{self, AppState, Door};
use crate::config::{Config, Listen};
use crate::tls::Tls;

/// The doors that are open, bound but not yet served.
pub(super) struct HttpDoors {
    http: Option<Bound>,
    https: Option<Bound>,
}

struct Bound {
    listener: TcpListener,
    /// If it speaks the PROXY protocol: the load balancers that may.
    balancers: Option<Arc<[IpNet]>>,
}

/// The doors while they are served: what asks each to stop, and its task.
pub(super) struct Serving(Vec<(oneshot::Sender<()>, JoinHandle<()>)>);

impl HttpDoors {
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            http: bind("http", config.listen.http, config)?,
            https: bind("https", config.listen.https, config)?,
        })
    }

    /// `others` with the real addresses of these doors, ports of 0 resolved.
    pub(super) fn bound(&self, others: Listen) -> io::Result<Listen> {
        let address = |door: &Option<Bound>| {
            let door = door.as_ref();
            door.map(|door| door.listener.local_addr()).transpose()
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
        for (bound, tls) in doors {
            if let Some(bound) = bound {
                serving.push(serve(runtime, bound, tls, Arc::clone(state))?);
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

fn bind(
    key: &'static str,
    address: Option<SocketAddr>,
    config: &Config,
) -> Result<Option<Bound>, StartError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).map_err(|source| StartError::Listen {
        key,
        address,
        source,
    })?;
    listener.set_nonblocking(true)?;
    let proxy = &config.proxy_protocol;
    Ok(Some(Bound {
        listener,
        balancers: proxy
            .is_spoken_at(key)
            .then(|| proxy.trusted.as_slice().into()),
    }))
}

fn serve(
    runtime: &Runtime,
    bound: Bound,
    tls: Option<Arc<Tls>>,
    state: Arc<AppState>,
) -> io::Result<(oneshot::Sender<()>, JoinHandle<()>)> {
    let _context = runtime.enter();
    let door = Door {
        listener: tokio::net::TcpListener::from_std(bound.listener)?,
        tls,
        balancers: bound.balancers,
    };
    let (stop, stopped) = oneshot::channel();
    let served = runtime.spawn(api::serve(door, state, async {
        // Dropping the sender stops it just as well.
        let _ = stopped.await;
    }));
    Ok((stop, served))
}
