//! Idle connections of one endpoint, the last used first.
//!
//! Only connections that the [`Dialer`](super::dial::Dialer) made get in, so each goes to an
//! address that was checked. A connection's task ends when its sender is dropped.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ClientSettings, dial::Stream};
use crate::outcome::DownReason;

pub(super) type Sender = SendRequest<Full<Bytes>>;

pub(super) struct Connection {
    pub(super) sender: Sender,
    opened: Instant,
}

impl Connection {
    /// Starts HTTP on a new connection; a task drives it.
    pub(super) async fn open(stream: Stream) -> Result<Self, DownReason> {
        let sender = match stream {
            Stream::Plain(tcp) => start_http(tcp).await,
            Stream::Tls(tls) => start_http(*tls).await,
        };
        Ok(Self {
            sender: sender.map_err(|error| DownReason::Incomplete(error.to_string()))?,
            opened: Instant::now(),
        })
    }
}

async fn start_http<S>(stream: S) -> hyper::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    let builder = builder.max_buf_size(READ_BUFFER_BYTES_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // Its errors come out at the request that suffers from them.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Idle>>);

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_fit(&self, now: Instant, settings: &ClientSettings) -> bool {
        let rested = now.duration_since(self.since) < settings.idle_timeout;
        let young = now.duration_since(self.connection.opened) < settings.connection_age_max;
        rested && young && !self.connection.sender.is_closed()
    }
}

impl Pool {
    /// A connection that, as far as is known, is still open.
    pub(super) fn take(&self, settings: &ClientSettings) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(last) = idle.pop() {
            if last.is_fit(now, settings) {
                return Some(last.connection);
            }
        }
        None
    }

    /// Drops the connections that would not be used again.
    pub(super) fn close_unfit(&self, settings: &ClientSettings) {
        let now = Instant::now();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|one| one.is_fit(now, settings));
    }

    /// Keeps a connection whose answer has been read to its end, if there is room.
    pub(super) fn put(&self, connection: Connection, settings: &ClientSettings) {
        let since = Instant::now();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < settings.idle_max {
            idle.push(Idle { connection, since });
        }
    }
}

/// Bounds the head of an answer, and with it a connection's memory.
const READ_BUFFER_BYTES_MAX: usize = 16 * 1024;
