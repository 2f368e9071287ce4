//! What one client says to the server and waits for, without the socket, and without TLS.
//!
//! ```text
//! (WebSocket: upgrade → 101) → CONNECT → CONNACK → SUBSCRIBE → SUBACK → idle
//! ```

use anyhow::Result;

use super::super::packets;
use super::Transport;
use super::websocket;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    ForUpgrade,
    ForConnack,
    ForSuback,
    Idle,
}

/// The state of one client.
pub(super) struct Conversation {
    number: usize,
    transport: Transport,
    waiting: Waiting,
    /// Bytes from the socket that are not used yet.
    raw: Vec<u8>,
    /// MQTT bytes that are not used yet.
    mqtt: Vec<u8>,
}

impl Conversation {
    /// A client that has not spoken.
    pub(super) fn new(number: usize, transport: Transport) -> Self {
        let waiting = match transport {
            Transport::Tcp | Transport::Tls => Waiting::ForConnack,
            Transport::WebSocket => Waiting::ForUpgrade,
        };
        Self {
            number,
            transport,
            waiting,
            raw: Vec::new(),
            mqtt: Vec::new(),
        }
    }

    /// The first bytes to send.
    pub(super) fn opening(&self) -> Result<Vec<u8>> {
        match self.transport {
            Transport::Tcp | Transport::Tls => Ok(packets::connect(self.number)),
            Transport::WebSocket => Ok(websocket::upgrade_request()),
        }
    }

    /// Takes bytes from the server and returns what to send next, if anything.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.raw.extend_from_slice(bytes);
        if self.waiting == Waiting::ForUpgrade {
            return self.handle_upgrade();
        }
        match self.transport {
            Transport::Tcp | Transport::Tls => self.mqtt.append(&mut self.raw),
            Transport::WebSocket => websocket::unwrap_frames(&mut self.raw, &mut self.mqtt)?,
        }
        self.handle_packets()
    }

    /// Whether the SUBACK has come.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting == Waiting::Idle
    }

    fn handle_upgrade(&mut self) -> Result<Vec<u8>> {
        if !websocket::take_upgrade_reply(&mut self.raw)? {
            return Ok(Vec::new());
        }
        self.waiting = Waiting::ForConnack;
        websocket::frame(&packets::connect(self.number))
    }

    fn handle_packets(&mut self) -> Result<Vec<u8>> {
        if self.waiting == Waiting::ForConnack && packets::take_connack(&mut self.mqtt)? {
            self.waiting = Waiting::ForSuback;
            let subscribe = packets::subscribe(self.number);
            return match self.transport {
                Transport::Tcp | Transport::Tls => Ok(subscribe),
                Transport::WebSocket => websocket::frame(&subscribe),
            };
        }
        if self.waiting == Waiting::ForSuback && packets::take_suback(&mut self.mqtt)? {
            self.waiting = Waiting::Idle;
            (self.raw, self.mqtt) = (Vec::new(), Vec::new());
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_over_tcp_connects_and_subscribes() {
        let mut client = Conversation::new(7, Transport::Tcp);
        assert_eq!(client.opening().unwrap(), packets::connect(7));
        assert_eq!(
            client.handle_bytes(&[0x20, 3, 0, 0, 0]).unwrap(),
            packets::subscribe(7)
        );
        assert!(!client.is_idle());
        assert!(
            client
                .handle_bytes(&[0x90, 4, 0, 1, 0, 0])
                .unwrap()
                .is_empty()
        );
        assert!(client.is_idle());
    }
}
