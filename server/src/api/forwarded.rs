//! Connections that a load balancer forwards: its header comes before TLS and HTTP, and is read
//! before either sees the socket.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::{Header, header};

/// Reads the header, and answers what comes behind it and whom it names, if anybody. None: it is
/// wrong, or the connection ended.
pub(super) async fn read_header<S: AsyncRead + Unpin>(
    mut io: S,
) -> Option<(Rewound<S>, Option<SocketAddr>)> {
    let mut ahead = BytesMut::new();
    loop {
        let mut piece = [0; 512];
        let mut piece = ReadBuf::new(&mut piece);
        let read = poll_fn(|context| Pin::new(&mut io).poll_read(context, &mut piece));
        read.await.ok()?;
        if piece.filled().is_empty() {
            return None;
        }
        ahead.extend_from_slice(piece.filled());
        match header(&ahead) {
            Header::Incomplete => {}
            Header::Whole(length, source) => {
                ahead.advance(length);
                return Some((Rewound { ahead, inner: io }, source));
            }
            Header::Wrong => return None,
        }
    }
}

/// A socket of which something has been read already.
pub(super) struct Rewound<S> {
    /// Comes before what is in the socket.
    ahead: BytesMut,
    inner: S,
}

impl<S> From<S> for Rewound<S> {
    fn from(inner: S) -> Self {
        let ahead = BytesMut::new();
        Self { ahead, inner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        }
        let length = this.ahead.len().min(buffer.remaining());
        buffer.put_slice(&this.ahead[..length]);
        this.ahead.advance(length);
        if this.ahead.is_empty() {
            // Its memory goes with the last of it, not with the connection.
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}
