//! A message as bytes that outlive the process.
//!
//! ```text
//! version  1 byte: 1
//! arrived  8 bytes, big endian: milliseconds of Unix time from which its expiry runs
//! PUBLISH  the packet as MQTT 5 has it, with RETAIN and QoS as published, the whole
//!          Message Expiry Interval and, over QoS 0, the packet identifier 1
//! ```
//!
//! What a version has once meant it means for ever: a change is a new version, and
//! old ones stay readable.

use std::num::NonZeroU16;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rmqtt_codec::types::QoS;

use super::{Envelope, Message};
use crate::packet::{self, Packet};
use crate::session::Version;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 9;

/// Why bytes are not a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredMessageError {
    /// Written by a later version of this server.
    #[error("stored message has the unknown version {0}")]
    UnknownVersion(u8),
    /// Cut short, or not a message at all.
    #[error("stored message is damaged")]
    Damaged,
}

impl Message {
    /// The message as bytes to be kept; `None` if it has no packet, being over the
    /// 268,435,455 bytes of the protocol. Such a one never came from a client.
    pub fn encode_stored(&self) -> Option<Bytes> {
        let acknowledged = self.qos != QoS::AtMostOnce;
        let envelope = Envelope {
            version: Version::V5,
            qos: self.qos,
            dup: false,
            retain: self.retain,
            packet_id: acknowledged.then_some(NonZeroU16::MIN),
            subscription_ids: &[],
            alias: None,
            remaining_secs: self.expiry.map(|expiry| expiry.secs),
        };
        let packet_bytes = self.packet_bytes(&envelope)? as usize;
        let mut stored = BytesMut::with_capacity(HEADER_BYTES + packet_bytes);
        stored.put_u8(VERSION);
        stored.put_u64(self.expiry.map_or(0, |expiry| expiry.since_ms));
        self.write(&envelope, &mut stored);
        Some(stored.freeze())
    }

    /// The message that [`Self::encode_stored`] has written. It keeps `stored` alive.
    ///
    /// # Errors
    /// If `stored` is of a version that is not known, or no message.
    pub fn decode_stored(mut stored: Bytes) -> Result<Self, StoredMessageError> {
        let version = stored.first().ok_or(StoredMessageError::Damaged)?;
        if *version != VERSION {
            return Err(StoredMessageError::UnknownVersion(*version));
        }
        if stored.len() < HEADER_BYTES {
            return Err(StoredMessageError::Damaged);
        }
        stored.advance(1);
        let since_ms = stored.get_u64();
        match packet::decode(BytesMut::from(stored), Version::V5) {
            Ok(Packet::Publish {
                publish,
                expires_at_once,
            }) => Ok(Self::from_publish(*publish, expires_at_once, since_ms)),
            _ => Err(StoredMessageError::Damaged),
        }
    }
}
