//! Accepts HTTP connections and serves the router on them, within limits.
//!
//! Our own loop over hyper instead of `axum::serve`, which knows no limit on connections, heads
//! or time. At the limit of connections nothing more is accepted: the rest waits in the system's
//! backlog.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::forwarded::{Rewound, read_header};
use super::key::Peer;
use super::stall::StallGuard;
use super::{AppState, router};
use crate::metrics::HttpMetrics;
use crate::proxy;
use crate::tls::Tls;

/// How long to wait when the system cannot give a connection, for lack of files mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where callers come in.
pub struct Door {
    /// The socket, bound.
    pub listener: TcpListener,
    /// If it speaks TLS.
    pub tls: Option<Arc<Tls>>,
    /// If it speaks the PROXY protocol: the load balancers that may.
    pub balancers: Option<Arc<[IpNet]>>,
}

/// Serves until `stop` is ready, then lets requests under way finish for as long as
/// `http.drain_timeout_secs` says, and closes what is left.
pub async fn serve(door: Door, state: Arc<AppState>, stop: impl Future<Output = ()>) {
    let Door {
        listener,
        tls,
        balancers,
    } = door;
    let (stopping, watch_stop) = watch::channel(());
    let server = Server {
        http1: builder(&state),
        router: router(Arc::clone(&state)),
        stall_limit: Duration::from_secs(state.limits.stall_timeout_secs),
        handshake_limit: Duration::from_secs(state.limits.header_timeout_secs),
        tls,
        balancers,
        state,
        watch_stop,
    };
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (stream, peer, permit) = server.accept(&listener) => {
                connections.spawn(server.connection(stream, peer, permit));
            }
        }
    }
    drop(listener);
    drop(stopping);
    let drain_limit = Duration::from_secs(server.state.limits.drain_timeout_secs);
    let drained = timeout(drain_limit, async {
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!("HTTP connections were still busy at the end and are closed");
    }
}

/// What all connections share.
struct Server {
    http1: http1::Builder,
    router: Router,
    state: Arc<AppState>,
    tls: Option<Arc<Tls>>,
    balancers: Option<Arc<[IpNet]>>,
    handshake_limit: Duration,
    stall_limit: Duration,
    /// Fails to wait once the server stops.
    watch_stop: watch::Receiver<()>,
}

fn builder(state: &AppState) -> http1::Builder {
    let limits = &state.limits;
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_timeout_secs))
        .max_header_size(limits.header_bytes_max)
        // The buffer must hold a head of the full size, or it would be refused a little earlier.
        .max_buf_size(limits.header_bytes_max + 1024);
    http1
}

impl Server {
    /// The next connection, once there is room for one.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let is_stranger = |from| {
            let balancers = self.balancers.as_ref();
            balancers.is_some_and(|balancers| !proxy::is_trusted(balancers, from))
        };
        loop {
            let Ok(permit) = Arc::clone(&self.state.permits).acquire_owned().await else {
                // Nobody closes the semaphore.
                return std::future::pending().await;
            };
            match listener.accept().await {
                Ok((_, from)) if is_stranger(from) => {
                    self.state.metrics.http.proxy_refused.inc();
                }
                Ok((stream, from)) => return (stream, from, permit),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!("cannot accept an HTTP connection, trying again: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection until it ends.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<> {
        // Answers are written in few large pieces; waiting to fill packets would only delay them.
        // A socket that cannot take the option is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let metrics = self.state.metrics.http.clone();
        let io = StallGuard::new(stream, self.stall_limit, metrics.stalled.clone());
        let arrival = Arrival {
            peer,
            is_forwarded: self.balancers.is_some(),
            tls: self.tls.clone(),
            limit: self.handshake_limit,
            talk: Talk {
                http1: self.http1.clone(),
                router: self.router.clone(),
                watch_stop: self.watch_stop.clone(),
                metrics: metrics.clone(),
            },
        };
        async move {
            metrics.connections.inc();
            arrival.serve(io).await;
            metrics.connections.dec();
            drop(permit);
        }
    }
}

/// A connection before its first request.
struct Arrival {
    peer: SocketAddr,
    is_forwarded: bool,
    tls: Option<Arc<Tls>>,
    /// For the header of a load balancer, and for the handshake of TLS.
    limit: Duration,
    talk: Talk,
}

impl Arrival {
    async fn serve(mut self, io: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let Some(io) = self.take_header(io).await else {
            return;
        };
        self.talk.router = self.talk.router.layer(Extension(Peer(self.peer)));
        let Some(tls) = self.tls else {
            return self.talk.run(io).await;
        };
        if let Some(io) = shake_hands(&tls, io, self.limit, &self.talk.metrics).await {
            self.talk.run(io).await;
        }
    }

    /// Learns from the load balancer who is calling, if there is one.
    async fn take_header<S: AsyncRead + Unpin>(&mut self, io: S) -> Option<Rewound<S>> {
        if !self.is_forwarded {
            return Some(io.into());
        }
        let metrics = &self.talk.metrics;
        match timeout(self.limit, read_header(io)).await {
            Ok(Some((io, source))) => {
                self.peer = source.unwrap_or(self.peer);
                Some(io)
            }
            Ok(None) => {
                metrics.proxy_refused.inc();
                None
            }
            Err(_) => {
                metrics.stalled.inc();
                None
            }
        }
    }
}

/// Requests and answers of one connection.
struct Talk {
    http1: http1::Builder,
    router: Router,
    watch_stop: watch::Receiver<()>,
    metrics: HttpMetrics,
}

impl Talk {
    async fn run(mut self, io: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let service = TowerToHyperService::new(self.router);
        let connection = self.http1.serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        let result = tokio::select! {
            result = &mut connection => result,
            _ = self.watch_stop.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            if error.is_timeout() {
                self.metrics.stalled.inc();
            }
            tracing::debug!("an HTTP connection ended early: {error}");
        }
    }
}

/// Begins TLS, with the certificate of this moment. A caller has as long for its handshake as for
/// the head of a request.
async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    tls: &Tls,
    io: S,
    limit: Duration,
    metrics: &HttpMetrics,
) -> Option<TlsStream<S>> {
    let accepting = TlsAcceptor::from(tls.for_api()).accept(io);
    match timeout(limit, accepting).await {
        Ok(Ok(stream)) => {
            if let Some(kind) = stream.get_ref().1.handshake_kind() {
                tls.metrics().shake_hands(kind);
            }
            Some(stream)
        }
        Ok(Err(error)) => {
            metrics.tls_failed.inc();
            tracing::debug!("an HTTPS handshake failed: {error}");
            None
        }
        Err(_) => {
            metrics.stalled.inc();
            None
        }
    }
}

/// Whether only the connection that was being accepted is at fault.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
