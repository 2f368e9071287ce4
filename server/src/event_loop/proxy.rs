//! Connections that a load balancer forwards: its header, and whom it names.

use std::net::SocketAddr;

use presence::EndReason;

use super::connection::Phase;
use super::inbound::Flow;
use super::worker::Worker;
use crate::proxy::{Header, header};

impl Worker {
    /// Takes the header of a forwarded connection, and goes on with what follows it.
    pub(super) fn arrive(&mut self, key: usize, bytes: &[u8]) -> Flow {
        let Some((connection, mut pending)) = self.pending_of(key) else {
            return Flow::Ended;
        };
        pending.input.extend_from_slice(bytes);
        match header(&pending.input) {
            Header::Incomplete => {
                self.put_back(key, pending);
                Flow::Open
            }
            Header::Whole(length, source) => {
                connection.phase = Phase::Open;
                pending.forwarded = source;
                let mut input = std::mem::take(&mut pending.input);
                self.put_back(key, pending);
                match input.get_mut(length..) {
                    Some(rest) if !rest.is_empty() => self.receive_raw(key, rest),
                    _ => Flow::Open,
                }
            }
            Header::Wrong => {
                self.keep_spare(pending);
                self.house.shared.metrics.refuse("proxy_header");
                self.close(key, EndReason::ProtocolError);
                Flow::Ended
            }
        }
    }

    /// The client's address until it is online: the balancer's word, or the socket's.
    pub(super) fn peer_of(&self, key: usize) -> Option<SocketAddr> {
        let connection = self.connections.get(key)?;
        let pending = connection.pending.as_ref();
        let forwarded = pending.and_then(|pending| pending.forwarded);
        forwarded.or_else(|| connection.socket.peer_addr().ok())
    }
}
