//! A CONNECT packet made out, whatever its version (§3.1).
//!
//! What the codec lets pass or mixes up is checked here: which protocol name
//! goes with which level, flags that contradict each other, U+0000, bytes after
//! the end, and an empty client id without clean start, which is legal in MQTT 5
//! only. All versions come out in the shape of MQTT 5.

use bytes::BytesMut;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{self, ConnectAckReason};

use super::Version;
use super::will::{self, Will};
use crate::frame::variable_length;
use crate::packet::{body_offset, check_text, check_user_properties, decode_v3, decode_v5};
use crate::properties::{self, PACKET_BYTES_MAX, RECEIVE_MAX};
use crate::reason::{CloseReason, Violation};

/// Why there is no CONNECT to decide about, and how to say so.
pub(super) enum ConnectError {
    /// Close without an answer.
    Silent(CloseReason),
    /// CONNACK of MQTT 3.
    ReturnCode(Version, v3::ConnectAckReason, &'static str),
    /// CONNACK of MQTT 5.
    ReasonCode(ConnectAckReason, &'static str),
}

const FLAG_CLEAN_START: u8 = 0b0000_0010;
const FLAG_WILL: u8 = 0b0000_0100;
const FLAGS_OF_WILL: u8 = 0b0011_1000;

/// Decodes the first packet of a connection. `frame` must be exactly one packet.
pub(super) fn decode(
    mut frame: BytesMut,
    now_ms: u64,
) -> Result<(Version, v5::Connect, Option<Box<Will>>), ConnectError> {
    let greeting = Greeting::read(&frame)?;
    let version = greeting.version;
    // An empty client id without clean start is legal in MQTT 5 (§3.1.3.1: the
    // server assigns one) and has a return code in MQTT 3; the codec refuses the
    // packet in both. So it sees the bit set, and the real one is put back below.
    frame[greeting.flags_at] |= FLAG_CLEAN_START;
    greeting
        .check_numbers(&frame)
        .map_err(|violation| answer(violation, version))?;
    let expires_at_once = greeting.mend_will_expiry(&mut frame);
    let connect = match version {
        Version::V5 => decode_connect_v5(frame),
        Version::V31 | Version::V311 => decode_connect_v3(frame),
    };
    let mut connect = connect.map_err(|violation| answer(violation, version))?;
    connect.clean_start = greeting.flags & FLAG_CLEAN_START != 0;
    check(&greeting, &connect).map_err(|violation| answer(violation, version))?;
    check_client_id_v3(version, &connect)?;
    if version != Version::V5 && !connect.clean_start {
        // 3.1.1 §3.1.2.4: such a session has no end of its own.
        connect.session_expiry_interval_secs = u32::MAX;
    }
    let will = connect.last_will.take();
    let will = will.map(|will| will::from_connect(will, expires_at_once, now_ms));
    let will = will
        .transpose()
        .map_err(|violation| answer(violation, version))?;
    Ok((version, connect, will.map(Box::new)))
}

/// MQTT 5 is told what is wrong; MQTT 3 has no code for it.
fn answer(violation: Violation, version: Version) -> ConnectError {
    match version {
        Version::V5 => ConnectError::ReasonCode(violation.connect_code(), violation.text),
        Version::V31 | Version::V311 => ConnectError::Silent(violation.close_reason()),
    }
}

/// The rules that the codec leaves out.
fn check(greeting: &Greeting, connect: &v5::Connect) -> Result<(), Violation> {
    if greeting.flags & FLAG_WILL == 0 && greeting.flags & FLAGS_OF_WILL != 0 {
        return Err(Violation::malformed("will flags without a will")); // MQTT-3.1.2-11, -13
    }
    if greeting.version != Version::V5 && connect.password.is_some() && connect.username.is_none() {
        return Err(Violation::malformed("password without user name")); // 3.1.1: MQTT-3.1.2-22
    }
    if connect.auth_data.is_some() && connect.auth_method.is_none() {
        return Err(Violation::protocol("authentication data without a method")); // §3.1.2.11.10
    }
    check_text(&connect.client_id)?;
    connect
        .username
        .as_ref()
        .map_or(Ok(()), |username| check_text(username))?;
    check_user_properties(&connect.user_properties)?;
    check_end(greeting, connect)
}

/// The codec does not look behind the last field.
fn check_end(greeting: &Greeting, connect: &v5::Connect) -> Result<(), Violation> {
    let will = connect.last_will.as_ref();
    let fields = [
        Some(connect.client_id.len()),
        will.map(|will| will.topic.len()),
        will.map(|will| will.message.len()),
        connect.username.as_ref().map(|username| username.len()),
        connect.password.as_ref().map(|password| password.len()),
    ];
    let payload_len: usize = fields.iter().flatten().map(|len| 2 + len).sum();
    let properties_len = greeting.properties_len + greeting.will_properties_len;
    let expected = greeting.header_len() + properties_len + payload_len;
    if expected != greeting.body_len {
        return Err(Violation::malformed("bytes after the end of the packet"));
    }
    Ok(())
}

/// 3.1.1 §3.1.3.1: an empty id needs a clean session; 3.1 §3.1 has none at all.
fn check_client_id_v3(version: Version, connect: &v5::Connect) -> Result<(), ConnectError> {
    let allowed = match version {
        Version::V5 => true,
        Version::V311 => !connect.client_id.is_empty() || connect.clean_start,
        Version::V31 => !connect.client_id.is_empty(),
    };
    if allowed {
        return Ok(());
    }
    let code = v3::ConnectAckReason::IdentifierRejected;
    Err(ConnectError::ReturnCode(
        version,
        code,
        "client id is empty",
    ))
}

/// What stands before everything else: protocol name, level, flags (§3.1.2.1-3).
struct Greeting {
    version: Version,
    flags: u8,
    flags_at: usize,
    body_at: usize,
    body_len: usize,
    /// The properties with their length field; MQTT 3: 0.
    properties_len: usize,
    /// The will's properties likewise; without a will: 0.
    will_properties_len: usize,
}

impl Greeting {
    fn read(frame: &[u8]) -> Result<Self, ConnectError> {
        let silent = |text| ConnectError::Silent(CloseReason::ProtocolError(text));
        match frame.first() {
            Some(0x10) => {}
            Some(0x11..=0x1F) => return Err(silent("flags of CONNECT")),
            _ => return Err(silent("first packet is not CONNECT")), // MQTT-3.1.0-1
        }
        let body_at = body_offset(frame);
        let body = &frame[body_at.min(frame.len())..];
        let (name_len, is_31) = match body {
            [0, 4, b'M', b'Q', b'T', b'T', ..] => (6, false),
            [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', ..] => (8, true),
            _ => return Err(silent("unknown protocol name")), // MQTT-3.1.2-1
        };
        let [level, flags, ..] = body[name_len..] else {
            return Err(silent("CONNECT is cut short"));
        };
        let version = match (level, is_31) {
            (3, true) => Version::V31,
            (4, false) => Version::V311,
            (5, false) => Version::V5,
            (3..=5, _) => return Err(silent("protocol name of another level")),
            (6..0x80, false) => return Err(unsupported_version()),
            _ => return Err(unacceptable_level()),
        };
        let mut greeting = Self {
            version,
            flags,
            flags_at: body_at + name_len + 1,
            body_at,
            body_len: body.len(),
            properties_len: 0,
            will_properties_len: 0,
        };
        if version == Version::V5 {
            greeting.properties_len = properties_len(body, greeting.header_len());
        }
        if version == Version::V5 && flags & FLAG_WILL != 0 {
            let at = greeting.will_properties_at(frame) - body_at;
            greeting.will_properties_len = properties_len(body, at);
        }
        Ok(greeting)
    }

    /// Where the length of the will's properties stands: behind the client id.
    fn will_properties_at(&self, frame: &[u8]) -> usize {
        let client_id_at = self.body_at + self.header_len() + self.properties_len;
        let client_id = frame.get(client_id_at..).and_then(properties::text_len);
        client_id_at + client_id.unwrap_or_default()
    }

    /// Zeros that are protocol errors, while the codec takes them for malformed
    /// (§3.1.2.11.3, §3.1.2.11.4), and lengths that it takes and are malformed.
    fn check_numbers(&self, frame: &[u8]) -> Result<(), Violation> {
        let at = self.body_at + self.header_len();
        if self.version != Version::V5 {
            return Ok(());
        }
        let has_padded_will = self.will_properties_len > 0
            && properties::are_padded(frame, self.will_properties_at(frame));
        if properties::are_padded(frame, at) || has_padded_will {
            return Err(Violation::malformed("length of properties is padded")); // MQTT-1.5.5-1
        }
        if properties::is_zero(frame, at, RECEIVE_MAX, 2) {
            return Err(Violation::protocol("Receive Maximum is 0"));
        }
        if properties::is_zero(frame, at, PACKET_BYTES_MAX, 4) {
            return Err(Violation::protocol("Maximum Packet Size is 0"));
        }
        Ok(())
    }

    fn mend_will_expiry(&self, frame: &mut [u8]) -> bool {
        self.will_properties_len > 0 && {
            let at = self.will_properties_at(frame);
            properties::mend_zero_expiry(frame, at)
        }
    }

    /// Bytes of name, level, flags and keep alive.
    fn header_len(&self) -> usize {
        if self.version == Version::V31 { 12 } else { 10 }
    }
}

/// A client of a later version most likely understands the answer of MQTT 5
/// (MQTT-3.1.2-2).
fn unsupported_version() -> ConnectError {
    let code = ConnectAckReason::UnsupportedProtocolVersion;
    ConnectError::ReasonCode(code, "unsupported protocol version")
}

/// One of an earlier version, or a bridge that sets the upper bit, understands that of
/// 3.1.1 (MQTT-3.1.2-2 of 3.1.1).
fn unacceptable_level() -> ConnectError {
    let code = v3::ConnectAckReason::UnacceptableProtocolVersion;
    ConnectError::ReturnCode(Version::V311, code, "unacceptable protocol level")
}

/// Bytes of properties, with their length field at `at`, which the codec will check.
fn properties_len(body: &[u8], at: usize) -> usize {
    let length = variable_length(body.get(at..).unwrap_or_default());
    length.ok().flatten().map_or(0, |length| {
        usize::from(length.width) + usize::try_from(length.value).unwrap_or(usize::MAX / 4)
    })
}

fn decode_connect_v5(frame: BytesMut) -> Result<v5::Connect, Violation> {
    match decode_v5(frame)? {
        v5::Packet::Connect(connect) => Ok(*connect),
        _ => Err(Violation::protocol("first packet is not CONNECT")),
    }
}

fn decode_connect_v3(frame: BytesMut) -> Result<v5::Connect, Violation> {
    let v3::Packet::Connect(connect) = decode_v3(frame)? else {
        return Err(Violation::protocol("first packet is not CONNECT"));
    };
    Ok(v5::Connect {
        keep_alive: connect.keep_alive,
        last_will: connect.last_will.map(will_of_v3),
        client_id: connect.client_id,
        username: connect.username,
        password: connect.password,
        ..v5::Connect::default()
    })
}

fn will_of_v3(will: v3::LastWill) -> v5::LastWill {
    v5::LastWill {
        qos: will.qos,
        retain: will.retain,
        topic: will.topic,
        message: will.message,
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    }
}
