//! The client's side of TLS, between a conversation and its socket.

use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::Result;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use super::super::certificate::NAME;

/// One client's TLS.
pub(super) struct Secure(Box<ClientConnection>);

impl Secure {
    pub(super) fn new(config: &Arc<ClientConfig>) -> Result<Self> {
        let client = ClientConnection::new(Arc::clone(config), NAME.try_into()?)?;
        Ok(Self(Box::new(client)))
    }

    /// What is to be sent for `plain` to get there, and for the handshake; `plain` waits for its end.
    pub(super) fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        self.0.writer().write_all(plain)?;
        let mut sealed = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut sealed)?;
        }
        Ok(sealed)
    }

    /// What the bytes that came say.
    pub(super) fn open(&mut self, mut sealed: &[u8]) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        while !sealed.is_empty() {
            self.0.read_tls(&mut sealed)?;
            let waiting = self.0.process_new_packets()?.plaintext_bytes_to_read();
            let start = plain.len();
            plain.resize(start + waiting, 0);
            self.0.reader().read_exact(&mut plain[start..])?;
        }
        Ok(plain)
    }
}
