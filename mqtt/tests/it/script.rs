//! The client's side of a scripted session.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use mqtt::{
    Accepted, Action, CloseReason, Delivery, Inbound, Limits, Message, Outgoing, QoS, Session,
    Version, whole_frame,
};
use rmqtt_codec::types::{Protocol, Publish};
use rmqtt_codec::v5::DisconnectReasonCode;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

pub(crate) const V3: [Version; 2] = [Version::V31, Version::V311];
pub(crate) const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

pub(crate) fn limits() -> Limits {
    Limits {
        packet_bytes_max: 1024,
        keep_alive_secs_max: 200,
        topic_levels_max: 8,
        receive_max: 20,
        inflight_max: 3,
        queue_messages_max: 4,
        queue_bytes_max: 400,
        topic_alias_max: 3,
        topic_alias_sent_max: 2,
        session_expiry_secs_max: 0,
        retain_available: false,
        shared_available: false,
        subscription_ids_available: false,
        filters_per_packet_max: 5,
    }
}

/// One client and the server's session of it.
pub(crate) struct Client {
    pub(crate) session: Session,
    pub(crate) limits: Limits,
    pub(crate) out: BytesMut,
    /// Time by hand: Unix time in milliseconds.
    pub(crate) now_ms: u64,
    version: Version,
}

impl Client {
    /// The socket has room for so many bytes again.
    pub(crate) fn resume(&mut self, room: usize) {
        let (now_ms, limits) = (self.now_ms, &self.limits);
        self.session.resume(room, now_ms, limits, &mut self.out);
    }

    pub(crate) fn new(version: Version) -> Self {
        Self {
            session: Session::new(),
            limits: limits(),
            out: BytesMut::new(),
            now_ms: 1_800_000_000_000,
            version,
        }
    }

    /// Connected and accepted, its CONNACK read.
    pub(crate) fn connected(version: Version) -> Self {
        Self::connected_with(connect_of(version))
    }

    pub(crate) fn connected_with(connect: Connect) -> Self {
        let mut client = Self::new(connect.version());
        let action = client.connect(connect);
        assert!(matches!(action, Action::Open(_)), "{action:?}");
        client.accept();
        client.out.clear();
        client
    }

    pub(crate) fn connect(&mut self, connect: Connect) -> Action {
        match connect {
            Connect::V3(connect) => self.send_v3(v3::Packet::Connect(Box::new(connect))),
            Connect::V5(connect) => self.send_v5(connect.into()),
        }
    }

    pub(crate) fn accept(&mut self) {
        self.accept_as(&Accepted::default());
    }

    pub(crate) fn accept_as(&mut self, accepted: &Accepted<'_>) {
        self.session.accept(accepted, &self.limits, &mut self.out);
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> Action {
        assert_eq!(
            whole_frame(bytes, u32::MAX),
            Ok(Some(bytes.len())),
            "one packet"
        );
        let frame = BytesMut::from(bytes);
        self.session
            .handle_frame(frame, self.now_ms, &self.limits, &mut self.out)
    }

    pub(crate) fn send_v3(&mut self, packet: v3::Packet) -> Action {
        let bytes = encode_v3(packet);
        self.send_raw(&bytes)
    }

    pub(crate) fn send_v5(&mut self, packet: v5::Packet) -> Action {
        let bytes = encode_v5(packet);
        self.send_raw(&bytes)
    }

    pub(crate) fn publish(&mut self, publish: Publish) -> Action {
        match self.version {
            Version::V5 => self.send_v5(publish.into()),
            Version::V31 | Version::V311 => self.send_v3(publish.into()),
        }
    }

    pub(crate) fn publish_ack(&mut self, packet_id: u16) {
        let packet_id = id(packet_id);
        let action = match self.version {
            Version::V5 => {
                let ack = v5::PublishAck {
                    packet_id,
                    ..Default::default()
                };
                self.send_v5(v5::Packet::PublishAck(ack))
            }
            Version::V31 | Version::V311 => self.send_v3(v3::Packet::PublishAck { packet_id }),
        };
        assert!(matches!(action, Action::Continue), "{action:?}");
    }

    /// PUBREC, PUBREL or PUBCOMP: `first_byte` says which.
    pub(crate) fn send_ack(&mut self, first_byte: u8, packet_id: u16) -> Action {
        let [high, low] = packet_id.to_be_bytes();
        self.send_raw(&[first_byte, 2, high, low])
    }

    /// The bytes written since the last look, as (first byte, packet identifier, reason
    /// code) of acknowledgements, which they must be.
    pub(crate) fn acks(&mut self) -> Vec<(u8, u16, u8)> {
        let mut acks = Vec::new();
        while let Some(length) = whole_frame(&self.out, u32::MAX).unwrap() {
            let frame = self.out.split_to(length);
            assert!((4..8).contains(&(frame[0] >> 4)), "{frame:?}");
            let packet_id = u16::from_be_bytes([frame[2], frame[3]]);
            acks.push((frame[0], packet_id, frame.get(4).copied().unwrap_or(0)));
        }
        assert!(self.out.is_empty(), "half a packet: {:?}", self.out);
        acks
    }

    /// What the client's PUBLISH asks to be routed.
    pub(crate) fn publish_inbound(&mut self, publish: Publish) -> Inbound {
        match self.publish(publish) {
            Action::Publish(inbound) => inbound,
            other => panic!("not routed: {other:?}"),
        }
    }

    /// Delivers with room, as `options` say.
    pub(crate) fn deliver(&mut self, message: &Arc<Message>, options: Outgoing<'_>) -> Delivery {
        let Self {
            session,
            limits,
            out,
            now_ms,
            ..
        } = self;
        session.deliver(message, options, true, *now_ms, limits, out)
    }

    /// All replies since the last look, which must be whole packets.
    pub(crate) fn replies_v3(&mut self) -> Vec<v3::Packet> {
        let mut codec = v3::Codec::new(0);
        let mut packets = Vec::new();
        while let Some((packet, _)) = codec.decode(&mut self.out).unwrap() {
            packets.push(packet);
        }
        assert!(self.out.is_empty(), "half a packet: {:?}", self.out);
        packets
    }

    /// As [`Self::replies_v3`].
    pub(crate) fn replies_v5(&mut self) -> Vec<v5::Packet> {
        let mut codec = v5::Codec::new(0, 0);
        let mut packets = Vec::new();
        while let Some((packet, _)) = codec.decode(&mut self.out).unwrap() {
            packets.push(packet);
        }
        assert!(self.out.is_empty(), "half a packet: {:?}", self.out);
        packets
    }

    /// All replies, whatever the version, which must be PUBLISH packets.
    pub(crate) fn published(&mut self) -> Vec<Publish> {
        let mut publishes = Vec::new();
        if self.version == Version::V5 {
            for packet in self.replies_v5() {
                let v5::Packet::Publish(publish) = packet else {
                    panic!("{packet:?}")
                };
                publishes.push(*publish);
            }
        } else {
            for packet in self.replies_v3() {
                let v3::Packet::Publish(publish) = packet else {
                    panic!("{packet:?}")
                };
                publishes.push(*publish);
            }
        }
        publishes
    }

    /// The code of the DISCONNECT that is the only reply.
    pub(crate) fn disconnect_code(&mut self) -> DisconnectReasonCode {
        match &self.replies_v5()[..] {
            [v5::Packet::Disconnect(disconnect)] => disconnect.reason_code,
            other => panic!("not one DISCONNECT: {other:?}"),
        }
    }

    /// That the session is over, without another word of it.
    pub(crate) fn assert_closed(&mut self) {
        assert!(!self.session.is_connected());
        assert!(self.out.is_empty(), "{:?}", self.out);
        let action = self.send_raw(&[0xC0, 0]);
        assert!(matches!(action, Action::Continue), "{action:?}");
        assert!(self.out.is_empty(), "{:?}", self.out);
    }

    /// What both versions of a violation look like: DISCONNECT with `code` for
    /// MQTT 5, silence for MQTT 3, and closed.
    pub(crate) fn assert_thrown_out(&mut self, action: &Action, code: DisconnectReasonCode) {
        assert!(matches!(action, Action::Close(_)), "{action:?}");
        if self.version == Version::V5 {
            assert_eq!(self.disconnect_code(), code);
        }
        self.assert_closed();
    }
}

/// A CONNECT of either kind.
#[expect(clippy::large_enum_variant, reason = "one at a time, in tests")]
pub(crate) enum Connect {
    V3(v3::Connect),
    V5(v5::Connect),
}

impl Connect {
    fn version(&self) -> Version {
        match self {
            Self::V3(connect) if connect.protocol == Protocol(3) => Version::V31,
            Self::V3(_) => Version::V311,
            Self::V5(_) => Version::V5,
        }
    }
}

pub(crate) fn connect_of(version: Version) -> Connect {
    match version {
        Version::V5 => Connect::V5(connect_v5()),
        Version::V31 | Version::V311 => Connect::V3(connect_v3(version)),
    }
}

pub(crate) fn connect_v5() -> v5::Connect {
    v5::Connect {
        clean_start: true,
        keep_alive: 60,
        client_id: "phone".into(),
        ..Default::default()
    }
}

pub(crate) fn connect_v3(version: Version) -> v3::Connect {
    v3::Connect {
        protocol: Protocol(version.level()),
        clean_session: true,
        keep_alive: 60,
        client_id: "phone".into(),
        ..Default::default()
    }
}

pub(crate) fn encode_v3(packet: v3::Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    v3::Codec::new(0).encode(packet, &mut bytes).unwrap();
    // The codec writes the protocol name of 3.1 with the level of 3.1.1.
    if bytes[0] == 0x10
        && let Some(at) = bytes.windows(7).position(|part| part == b"MQIsdp\x04")
    {
        bytes[at + 6] = 3;
    }
    bytes
}

pub(crate) fn encode_v5(packet: v5::Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    v5::Codec::new(0, 0).encode(packet, &mut bytes).unwrap();
    bytes
}

pub(crate) fn id(packet_id: u16) -> NonZeroU16 {
    NonZeroU16::new(packet_id).unwrap()
}

pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;

/// A message of the server's own.
pub(crate) fn own_message(topic: &str, payload: &str, qos: QoS) -> Arc<Message> {
    Arc::new(Message::new(topic.into(), payload.to_owned().into(), qos))
}

pub(crate) fn message(topic: &str, qos: QoS) -> Publish {
    Publish {
        dup: false,
        retain: false,
        qos,
        topic: ByteString::from(topic),
        packet_id: (qos != QoS::AtMostOnce).then(|| id(7)),
        payload: Bytes::from_static(b"hello"),
        properties: None,
    }
}

pub(crate) fn close_reason(action: Action) -> CloseReason {
    match action {
        Action::Close(reason) => reason,
        other => panic!("not closed: {other:?}"),
    }
}
