//! TLS of one connection: records in and out, no socket and no clock.
//!
//! rustls' unbuffered interface, so that an idle connection keeps keys and no buffer: records are
//! opened where they were read, and what is sealed lives until the socket has taken it.

use bytes::BytesMut;
use tokio_rustls::rustls::server::UnbufferedServerConnection;
use tokio_rustls::rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use tokio_rustls::rustls::{Error, HandshakeKind, ServerConfig, pki_types::CertificateDer};

/// Plain bytes of one record at most (RFC 8446 §5.1).
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024;

/// What a record adds to its content: more than any cipher suite does.
const RECORD_OVERHEAD: usize = 64;

/// TLS between a socket and what is spoken inside.
pub(super) struct Secure {
    connection: UnbufferedServerConnection,
    /// Records that are not whole yet. At most one record, or what a handshake may have.
    held: Vec<u8>,
    /// Records that the socket has not taken.
    pub(super) sealed: BytesMut,
    /// Bytes that have come since the beginning, until the handshake is complete.
    handshake_bytes: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Handshake,
    Established,
    /// We have said goodbye, or the peer broke TLS and has its alert. Nothing more is sealed.
    Over,
}

/// Why a connection has to end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The peer does not keep to TLS, or not to a version, suite or certificate that is accepted.
    #[error("{0}")]
    Tls(Error),
    /// The handshake is longer than `tls.handshake_bytes_max`.
    #[error("the handshake is too long")]
    TooLong,
}

/// What received bytes came to, besides what they said.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The handshake is complete with these bytes.
    pub(super) shook_hands: Option<HandshakeKind>,
    /// The peer will say no more.
    pub(super) is_closed: bool,
}

impl Secure {
    pub(super) fn new(config: std::sync::Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            held: Vec::new(),
            sealed: BytesMut::new(),
            handshake_bytes: 0,
            stage: Stage::Handshake,
        })
    }

    /// Takes bytes from the socket and appends what they say to `plain`. They are changed. An
    /// answer of TLS itself, also an alert that tells the peer what is wrong, is in
    /// [`Secure::sealed`].
    pub(super) fn receive(
        &mut self,
        bytes: &mut [u8],
        handshake_bytes_max: usize,
        plain: &mut Vec<u8>,
    ) -> Result<Received, Broken> {
        if self.stage == Stage::Handshake {
            self.handshake_bytes += bytes.len();
        }
        let received = if self.held.is_empty() {
            let (used, received) = self.open(bytes, plain);
            self.held = bytes[used..].to_vec();
            received
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let (used, received) = self.open(&mut held, plain);
            held.drain(..used);
            if !held.is_empty() {
                self.held = held;
            }
            received
        };
        let mut received = match received {
            Ok(received) => received,
            Err(error) => {
                self.alert();
                self.give_up();
                return Err(Broken::Tls(error));
            }
        };
        if self.stage == Stage::Handshake && !self.connection.is_handshaking() {
            self.stage = Stage::Established;
            received.shook_hands = self.connection.handshake_kind();
        }
        // Whoever sends its first words along with the end of the handshake is not too long.
        if self.stage == Stage::Handshake && self.handshake_bytes > handshake_bytes_max {
            self.give_up();
            return Err(Broken::TooLong);
        }
        Ok(received)
    }

    /// Opens records from the beginning of `bytes`. Answers how many bytes those were.
    fn open(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> (usize, Result<Received, Error>) {
        let mut used = 0;
        let mut received = Received::default();
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut bytes[used..]);
            let mut is_done = false;
            match state {
                Err(error) => return (used + discard, Err(error)),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => plain.extend_from_slice(record.payload),
                            Err(error) => return (used + discard, Err(error)),
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.sealed, RECORD_OVERHEAD, |room| data.encode(room));
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    received.is_closed = true;
                    is_done = true;
                }
                // Blocked in the handshake, or nothing more to read.
                Ok(_) => is_done = true,
            }
            used += discard;
            if is_done {
                return (used, Ok(received));
            }
        }
    }

    /// Collects the alert that tells the peer why the connection ends. What waits to be sent is
    /// handed out before anything is read, so no bytes are needed.
    fn alert(&mut self) {
        while self.connection.wants_write() {
            let ConnectionState::EncodeTlsData(mut data) =
                (match self.connection.process_tls_records(&mut []).state {
                    Ok(state) => state,
                    Err(_) => return,
                })
            else {
                return;
            };
            append(&mut self.sealed, RECORD_OVERHEAD, |room| data.encode(room));
        }
    }

    fn give_up(&mut self) {
        self.stage = Stage::Over;
        self.held = Vec::new();
    }

    /// Whether what is said inside can be sent.
    pub(super) fn is_established(&self) -> bool {
        self.stage == Stage::Established
    }

    /// Appends the records of `plain`, at most [`RECORD_BYTES_MAX`] bytes, to what is sealed.
    ///
    /// # Errors
    /// If the connection can say nothing more: the keys are worn out, or it is over.
    pub(super) fn seal(&mut self, plain: &[u8]) -> Result<(), Exhausted> {
        if !self.is_established() {
            return Err(Exhausted);
        }
        self.write(plain.len() + RECORD_OVERHEAD, |traffic, room| {
            traffic.encrypt(plain, room)
        })
    }

    /// Appends the goodbye (close_notify), once.
    pub(super) fn say_goodbye(&mut self) {
        if self.is_established() {
            // It fails only if nothing more can be said.
            let _ = self.write(RECORD_OVERHEAD, |traffic, room| {
                traffic.queue_close_notify(room)
            });
            self.stage = Stage::Over;
        }
    }

    /// Writes when the connection is ready for it. It wants to see the bytes again that it could
    /// not use yet: it remembers how far it has come in them.
    fn write(
        &mut self,
        room: usize,
        mut encrypt: impl FnMut(&mut WriteTraffic<'_, Data>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Exhausted> {
        let mut held = std::mem::take(&mut self.held);
        let mut used = 0;
        let written = loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut held[used..]);
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.sealed, RECORD_OVERHEAD, |room| data.encode(room));
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                // It says once that the peer has closed, and may be written to after that.
                Ok(ConnectionState::PeerClosed) => {}
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let written =
                        append(&mut self.sealed, room, |room| encrypt(&mut traffic, room));
                    used += discard;
                    break written.ok_or(Exhausted);
                }
                _ => break Err(Exhausted),
            }
            used += discard;
        };
        held.drain(..used);
        self.held = held;
        written
    }

    /// The client's own certificate, if it showed one; its signatures are verified.
    pub(super) fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }
}

type Data = tokio_rustls::rustls::server::ServerConnectionData;

/// Nothing more can be sealed.
#[derive(Debug)]
pub(super) struct Exhausted;

/// An answer of rustls that the room is too small, and for how much it asks.
trait Short {
    fn required(&self) -> Option<usize>;
}

impl Short for EncodeError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(short) => Some(short.required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl Short for EncryptError {
    fn required(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(short) => Some(short.required_size),
            Self::EncryptExhausted => None,
        }
    }
}

/// Lets `write` write behind the end of `sealed`, with as much room as it asks for.
fn append<E: Short>(
    sealed: &mut BytesMut,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Option<()> {
    let start = sealed.len();
    let mut room = room;
    loop {
        sealed.resize(start + room, 0);
        match write(&mut sealed[start..]) {
            Ok(written) => {
                sealed.truncate(start + written);
                return Some(());
            }
            Err(error) => match error.required() {
                Some(required) if required > room => room = required,
                _ => {
                    sealed.truncate(start);
                    return None;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
