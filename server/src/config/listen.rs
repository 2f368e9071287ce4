//! Addresses to listen on.

use std::net::{Ipv4Addr, SocketAddr};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// One address per kind of door; `None` is closed.
///
/// A table that is there opens only what it names, hence no default for a missing key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// MQTT over TCP.
    #[serde(default, deserialize_with = "address")]
    pub mqtt: Option<SocketAddr>,
    /// MQTT over TLS.
    #[serde(default, deserialize_with = "address")]
    pub mqtts: Option<SocketAddr>,
    /// MQTT over WebSocket.
    #[serde(default, deserialize_with = "address")]
    pub ws: Option<SocketAddr>,
    /// MQTT over WebSocket over TLS.
    #[serde(default, deserialize_with = "address")]
    pub wss: Option<SocketAddr>,
    /// The HTTP API.
    #[serde(default, deserialize_with = "address")]
    pub http: Option<SocketAddr>,
    /// The HTTP API over TLS.
    #[serde(default, deserialize_with = "address")]
    pub https: Option<SocketAddr>,
}

impl Default for Listen {
    /// The three plain ones on loopback: nothing is reachable from the network unasked. TLS needs a
    /// certificate, so its doors are closed until there is one.
    fn default() -> Self {
        let loopback = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Self {
            mqtt: loopback(1883),
            ws: loopback(8083),
            http: loopback(8080),
            ..Self::closed()
        }
    }
}

impl Listen {
    /// No door at all.
    #[must_use]
    pub fn closed() -> Self {
        Self {
            mqtt: None,
            mqtts: None,
            ws: None,
            wss: None,
            http: None,
            https: None,
        }
    }

    /// The open doors with the key of each, in a fixed order.
    pub fn open(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let doors = [
            ("mqtt", self.mqtt),
            ("mqtts", self.mqtts),
            ("ws", self.ws),
            ("wss", self.wss),
            ("http", self.http),
            ("https", self.https),
        ];
        doors
            .into_iter()
            .filter_map(|(key, address)| Some((key, address?)))
    }

    /// The open doors that need a certificate.
    pub fn open_tls(&self) -> impl Iterator<Item = &'static str> {
        self.open()
            .map(|(key, _)| key)
            .filter(|key| ["mqtts", "wss", "https"].contains(key))
    }
}

/// An address as text; empty text is a closed door.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        D::Error::custom(format!(
            "`{text}` is not an address; expected ip:port such as 127.0.0.1:1883 or [::1]:1883"
        ))
    })
}
