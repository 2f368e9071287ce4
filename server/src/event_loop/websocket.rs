//! MQTT inside WebSocket (MQTT 5 §6, RFC 6455), as a stream: the payload of binary frames is taken
//! as it comes, so that neither an idle connection nor a large frame needs a buffer.
//!
//! The upgrade and the frame headers are `tungstenite`'s; ours is only what depends on the place
//! between socket and session. No I/O here.

use std::io::Cursor;

use bytes::{BufMut, BytesMut};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::{HeaderValue, Response, StatusCode, header};
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

/// Most bytes of an upgrade request.
pub(super) const UPGRADE_BYTES_MAX: usize = 8 * 1024;

/// RFC 6455 §5.5.
const CONTROL_BYTES_MAX: u64 = 125;

const SUBPROTOCOL: &str = "mqtt";

/// What an upgrade request came to.
pub(super) enum Upgrade {
    /// More bytes are needed.
    Incomplete,
    /// Accepted; this many bytes of the input were the request.
    Accepted(usize),
    /// Answered with an HTTP error.
    Refused,
}

/// Reads the upgrade request and appends the answer. Paths `/` and `/mqtt`; the client must offer
/// the subprotocol `mqtt` ([MQTT-6.0.0-3], [MQTT-6.0.0-4]).
pub(super) fn upgrade(input: &[u8], reply: &mut BytesMut) -> Upgrade {
    match Request::try_parse(input) {
        Ok(None) if input.len() < UPGRADE_BYTES_MAX => Upgrade::Incomplete,
        Ok(None) => refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reply),
        Err(_) => refuse(StatusCode::BAD_REQUEST, reply),
        Ok(Some((length, request))) => match answer(&request) {
            Ok(response) => {
                write(&response, reply);
                Upgrade::Accepted(length)
            }
            Err(status) => refuse(status, reply),
        },
    }
}

fn answer(request: &Request) -> Result<Response<()>, StatusCode> {
    if !matches!(request.uri().path(), "/" | "/mqtt") {
        return Err(StatusCode::NOT_FOUND);
    }
    let mut response = create_response(request).map_err(|_| StatusCode::UPGRADE_REQUIRED)?;
    let offered = request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|name| name.trim() == SUBPROTOCOL);
    if !offered {
        return Err(StatusCode::BAD_REQUEST);
    }
    response.headers_mut().insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    Ok(response)
}

fn refuse(status: StatusCode, reply: &mut BytesMut) -> Upgrade {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    write(&response, reply);
    Upgrade::Refused
}

fn write(response: &Response<()>, reply: &mut BytesMut) {
    write_response(reply.writer(), response).expect("writing to memory does not fail");
}

/// Whether a fragmented message is under way (RFC 6455 §5.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fragmentation {
    pub(super) under_way: bool,
}

/// A data frame whose payload has not been read to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFrame {
    left: u64,
    mask: [u8; 4],
    /// How far into the mask the next byte is.
    phase: u8,
}

/// What the next bytes of the stream are.
pub(super) enum Next {
    /// More bytes are needed for a header or a control frame.
    Incomplete,
    /// A data frame begins behind this many bytes.
    Data(usize, OpenFrame),
    /// A control frame of this many bytes, to be ignored or answered as written.
    Control(usize),
    /// It is the last one.
    End(Closing),
}

/// Why the stream ends, and with it what our closing frame says: the last of all (RFC 6455 §5.5.1), so
/// it is written when what came before has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// The peer's closing frame.
    Answered,
    /// The peer broke the protocol in this way.
    Broken(CloseCode, &'static str),
}

/// Reads one frame header, or one whole control frame, from the beginning of `input`. A ping is answered
/// in `reply`.
pub(super) fn next(input: &[u8], state: &mut Fragmentation, reply: &mut BytesMut) -> Next {
    let mut cursor = Cursor::new(input);
    let (header, length) = match FrameHeader::parse(&mut cursor) {
        Ok(Some(parsed)) => parsed,
        Ok(None) => return Next::Incomplete,
        Err(_) => return broken("frame header"),
    };
    let start = usize::try_from(cursor.position()).expect("a header is short");
    let Some(mask) = header.mask else {
        return broken("unmasked frame");
    };
    // RFC 6455 §5.2: the most significant bit is 0.
    if length > u64::MAX >> 1 {
        return broken("frame length");
    }
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return broken("reserved bits");
    }
    match header.opcode {
        OpCode::Data(data) => match begin(data, &header, state) {
            Ok(()) => Next::Data(
                start,
                OpenFrame {
                    left: length,
                    mask,
                    phase: 0,
                },
            ),
            Err((what, code)) => Next::End(Closing::Broken(code, what)),
        },
        OpCode::Control(_) if length > CONTROL_BYTES_MAX || !header.is_final => {
            broken("control frame")
        }
        OpCode::Control(control) => {
            let length = usize::try_from(length).expect("at most 125");
            match input.get(start..start + length) {
                None => Next::Incomplete,
                Some(payload) => control_frame(control, payload, mask, start + length, reply),
            }
        }
    }
}

fn begin(
    data: Data,
    header: &FrameHeader,
    state: &mut Fragmentation,
) -> Result<(), (&'static str, CloseCode)> {
    match (data, state.under_way) {
        (Data::Binary, false) | (Data::Continue, true) => {
            state.under_way = !header.is_final;
            Ok(())
        }
        // [MQTT-6.0.0-1]
        (Data::Text, _) => Err(("text frame", CloseCode::Unsupported)),
        _ => Err(("fragmentation", CloseCode::Protocol)),
    }
}

fn control_frame(
    control: Control,
    payload: &[u8],
    mask: [u8; 4],
    length: usize,
    reply: &mut BytesMut,
) -> Next {
    let mut payload = payload.to_vec();
    unmask(&mut payload, mask, 0);
    match control {
        Control::Ping => {
            write_frame(Frame::pong(payload), reply);
            Next::Control(length)
        }
        Control::Pong => Next::Control(length),
        Control::Close => Next::End(Closing::Answered),
        Control::Reserved(_) => broken("opcode"),
    }
}

/// Appends a closing frame, behind the packets in `output`: with it the last thing is said.
pub(super) fn write_close(closing: Closing, output: &mut BytesMut, frames: &mut BytesMut) {
    wrap(output, frames);
    let close = match closing {
        Closing::Answered => None,
        Closing::Broken(code, what) => Some(tungstenite::protocol::CloseFrame {
            code,
            reason: what.into(),
        }),
    };
    write_frame(Frame::close(close), frames);
}

fn broken(what: &'static str) -> Next {
    Next::End(Closing::Broken(CloseCode::Protocol, what))
}

fn write_frame(frame: Frame, reply: &mut BytesMut) {
    frame
        .format(&mut reply.writer())
        .expect("writing to memory does not fail");
}

impl OpenFrame {
    /// Moves as much payload as there is from `input` to the end of `packet`, unmasked. Answers how
    /// many bytes it took.
    pub(super) fn read(&mut self, input: &[u8], packet: &mut Vec<u8>) -> usize {
        let available = u64::try_from(input.len()).unwrap_or(u64::MAX);
        let taken = usize::try_from(self.left.min(available)).expect("no more than there is");
        let start = packet.len();
        packet.extend_from_slice(&input[..taken]);
        self.phase = unmask(&mut packet[start..], self.mask, self.phase);
        self.left -= self.left.min(available);
        taken
    }

    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4], phase: u8) -> u8 {
    let mut at = usize::from(phase);
    for byte in bytes {
        *byte ^= mask[at];
        at = (at + 1) % 4;
    }
    at as u8
}

/// Moves the packets in `output` into one binary frame at the end of `frames`.
pub(super) fn wrap(output: &mut BytesMut, frames: &mut BytesMut) {
    if output.is_empty() {
        return;
    }
    let header = FrameHeader {
        opcode: OpCode::Data(Data::Binary),
        ..FrameHeader::default()
    };
    let length = u64::try_from(output.len()).unwrap_or(u64::MAX);
    frames.reserve(output.len() + 10);
    header
        .format(length, &mut frames.writer())
        .expect("writing to memory does not fail");
    frames.extend_from_slice(output);
    output.clear();
}

#[cfg(test)]
mod tests;
