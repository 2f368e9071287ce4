//! A new connection: resolve, check the address, connect, TLS.
//!
//! The address that passed the check is the address that is dialled. There is no second look-up
//! in between, so a name that changes its mind cannot lead anywhere else.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use rustls_pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::target::Target;
use crate::{address::AddressPolicy, outcome::DownReason};

/// What [`Resolve::resolve`] gives.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Finds the addresses of a name.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, in the order in which to try them. `host` may be an address.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// Resolves as the system does: hosts file, DNS, search domains.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let found = lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

pub(super) struct Dialer {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) policy: AddressPolicy,
    pub(super) connect_timeout: Duration,
    pub(super) tls: TlsConnector,
}

/// A connection on which HTTP can be spoken.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Dialer {
    pub(super) async fn dial(&self, target: &Target) -> Result<Stream, DownReason> {
        let resolved = self.resolver.resolve(&target.host).await;
        let resolved = resolved.map_err(|error| DownReason::Resolve(error.to_string()))?;
        let tcp = self.connect(&resolved, target.port).await?;
        // Best effort: without it a small request waits for an acknowledgement.
        let _ = tcp.set_nodelay(true);
        if !target.https {
            return Ok(Stream::Plain(tcp));
        }
        let tls = self.start_tls(target, tcp).await?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    async fn connect(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, DownReason> {
        let mut why = DownReason::Resolve("no address".to_owned());
        for &address in addresses {
            if let Err(error) = self.policy.check(address) {
                why = DownReason::Address(error);
                continue;
            }
            let connecting = TcpStream::connect(SocketAddr::new(address, port));
            match timeout(self.connect_timeout, connecting).await {
                Ok(Ok(tcp)) => return Ok(tcp),
                Ok(Err(error)) => why = DownReason::Connect(error.kind()),
                Err(_) => why = DownReason::Connect(io::ErrorKind::TimedOut),
            }
        }
        Err(why)
    }

    async fn start_tls(
        &self,
        target: &Target,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, DownReason> {
        let failed = |error: &dyn std::error::Error| DownReason::Tls(error.to_string());
        let name = ServerName::try_from(target.host.clone()).map_err(|error| failed(&error))?;
        self.tls
            .connect(name, tcp)
            .await
            .map_err(|error| failed(&error))
    }
}
