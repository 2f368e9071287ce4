//! A small blocking MQTT client for the demo: enough to come, subscribe, say something and go.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::{MqttCodec, MqttPacket, v3, v5};
use tokio_util::codec::{Decoder, Encoder};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

/// What carries the packets.
#[derive(Clone, Copy)]
pub(super) enum Via {
    Tcp,
    WebSocket,
}

/// Which version of MQTT.
#[derive(Clone, Copy)]
pub(super) enum Speaks {
    V311,
    V5,
}

const KEEP_ALIVE_SECS: u16 = 30;

/// How long [`Client::listen`] waits for something to come.
const LISTEN: Duration = Duration::from_millis(250);

enum Link {
    Tcp(TcpStream),
    WebSocket(Box<WebSocket<TcpStream>>),
}

/// A connected client.
pub(super) struct Client {
    link: Link,
    codec: MqttCodec,
    input: BytesMut,
    pinged_at: Instant,
    next_packet_id: NonZeroU16,
}

impl Client {
    pub(super) fn connect(
        address: SocketAddr,
        via: Via,
        speaks: Speaks,
        username: &str,
        password: &str,
        client_id: &str,
    ) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let mut client = Self {
            link: link(socket, via, address)?,
            codec: match speaks {
                Speaks::V311 => MqttCodec::V3(v3::Codec::new(0)),
                Speaks::V5 => MqttCodec::V5(v5::Codec::new(0, 0)),
            },
            input: BytesMut::new(),
            pinged_at: Instant::now(),
            next_packet_id: NonZeroU16::MIN,
        };
        client.send(connect_packet(speaks, username, password, client_id))?;
        client.await_accepted()?;
        Ok(client)
    }

    fn await_accepted(&mut self) -> io::Result<()> {
        match self.receive_one()? {
            MqttPacket::V3(v3::Packet::ConnectAck(ack))
                if ack.return_code == v3::ConnectAckReason::ConnectionAccepted =>
            {
                Ok(())
            }
            MqttPacket::V5(v5::Packet::ConnectAck(ack))
                if ack.reason_code == v5::ConnectAckReason::Success =>
            {
                Ok(())
            }
            other => Err(io::Error::other(format!("refused: {other:?}"))),
        }
    }

    pub(super) fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let packet_id = self.packet_id();
        let packet = match self.codec {
            MqttCodec::V5(_) => MqttPacket::V5(v5::Packet::Subscribe(v5::Subscribe {
                packet_id,
                id: None,
                user_properties: Vec::new(),
                topic_filters: vec![(filter.into(), v5::SubscriptionOptions::default())],
            })),
            _ => MqttPacket::V3(v3::Packet::Subscribe {
                packet_id,
                topic_filters: vec![(filter.into(), QoS::AtMostOnce)],
            }),
        };
        self.send(packet)
    }

    pub(super) fn publish(&mut self, topic: &str, text: &str) -> io::Result<()> {
        let publish = Publish {
            dup: false,
            retain: false,
            qos: QoS::AtMostOnce,
            topic: topic.into(),
            packet_id: None,
            payload: Bytes::copy_from_slice(text.as_bytes()),
            properties: None,
        };
        self.send(match self.codec {
            MqttCodec::V5(_) => MqttPacket::V5(publish.into()),
            _ => MqttPacket::V3(publish.into()),
        })
    }

    /// Reads what comes for a moment, and keeps the connection alive.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        self.read()?;
        while self
            .codec
            .decode(&mut self.input)
            .map_err(io::Error::other)?
            .is_some()
        {}
        if self.pinged_at.elapsed() > Duration::from_secs(u64::from(KEEP_ALIVE_SECS) / 2) {
            self.pinged_at = Instant::now();
            self.send(match self.codec {
                MqttCodec::V5(_) => MqttPacket::V5(v5::Packet::PingRequest),
                _ => MqttPacket::V3(v3::Packet::PingRequest),
            })?;
        }
        Ok(())
    }

    pub(super) fn disconnect(mut self) -> io::Result<()> {
        self.send(match self.codec {
            MqttCodec::V5(_) => MqttPacket::V5(v5::Packet::Disconnect(v5::Disconnect::default())),
            _ => MqttPacket::V3(v3::Packet::Disconnect),
        })
    }

    fn packet_id(&mut self) -> NonZeroU16 {
        let id = self.next_packet_id;
        self.next_packet_id = id.checked_add(1).unwrap_or(NonZeroU16::MIN);
        id
    }

    fn send(&mut self, packet: MqttPacket) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        self.codec
            .encode(packet, &mut bytes)
            .map_err(io::Error::other)?;
        match &mut self.link {
            Link::Tcp(socket) => socket.write_all(&bytes),
            Link::WebSocket(socket) => socket
                .send(Message::Binary(bytes.freeze()))
                .map_err(io::Error::other),
        }
    }

    fn receive_one(&mut self) -> io::Result<MqttPacket> {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if let Some((packet, _)) = self
                .codec
                .decode(&mut self.input)
                .map_err(io::Error::other)?
            {
                return Ok(packet);
            }
            self.read()?;
        }
        Err(ErrorKind::TimedOut.into())
    }

    /// Reads once, for at most [`LISTEN`].
    fn read(&mut self) -> io::Result<()> {
        let read = match &mut self.link {
            Link::Tcp(socket) => {
                let mut buffer = [0; 4096];
                socket
                    .read(&mut buffer)
                    .map(|length| buffer[..length].to_vec())
            }
            Link::WebSocket(socket) => match socket.read() {
                Ok(message) => Ok(message.into_data().to_vec()),
                Err(tungstenite::Error::Io(error)) => Err(error),
                Err(error) => Err(io::Error::other(error)),
            },
        };
        match read {
            Ok(bytes) if bytes.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                self.input.extend_from_slice(&bytes);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn link(socket: TcpStream, via: Via, address: SocketAddr) -> io::Result<Link> {
    let link = match via {
        Via::Tcp => Link::Tcp(socket),
        Via::WebSocket => {
            let mut request = format!("ws://{address}/mqtt")
                .into_client_request()
                .map_err(io::Error::other)?;
            request
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
            let (socket, _) = tungstenite::client(request, socket).map_err(io::Error::other)?;
            Link::WebSocket(Box::new(socket))
        }
    };
    match &link {
        Link::Tcp(socket) => socket.set_read_timeout(Some(LISTEN))?,
        Link::WebSocket(socket) => socket.get_ref().set_read_timeout(Some(LISTEN))?,
    }
    Ok(link)
}

fn connect_packet(speaks: Speaks, username: &str, password: &str, client_id: &str) -> MqttPacket {
    let password = Bytes::copy_from_slice(password.as_bytes());
    match speaks {
        Speaks::V5 => MqttPacket::V5(
            v5::Connect {
                clean_start: true,
                keep_alive: KEEP_ALIVE_SECS,
                client_id: client_id.into(),
                username: Some(username.into()),
                password: Some(password),
                ..v5::Connect::default()
            }
            .into(),
        ),
        Speaks::V311 => MqttPacket::V3(
            v3::Connect {
                clean_session: true,
                keep_alive: KEEP_ALIVE_SECS,
                client_id: client_id.into(),
                username: Some(username.into()),
                password: Some(password),
                ..v3::Connect::default()
            }
            .into(),
        ),
    }
}
