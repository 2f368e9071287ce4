//! The client's side of WebSocket: the upgrade, masked frames out, bare frames in.

use std::io::Cursor;

use anyhow::{Context, Result, ensure};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// Any mask is as good as another where nobody stands between.
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x8e];

/// The key is the example of RFC 6455, section 1.3, and so is the server's answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request that turns an HTTP connection into one that carries MQTT.
pub(super) fn upgrade_request() -> Vec<u8> {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    .into_bytes()
}

/// Takes the reply to the upgrade from the front of `input` if it is there in full.
pub(super) fn take_upgrade_reply(input: &mut Vec<u8>) -> Result<bool> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut reply = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = reply.parse(input)? else {
        return Ok(false);
    };
    ensure!(
        reply.code == Some(101),
        "upgrade refused with status {:?}",
        reply.code
    );
    let header = |name: &str| {
        reply
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name))
            .map(|h| h.value)
    };
    ensure!(
        header("sec-websocket-accept") == Some(ACCEPT),
        "the accept key is wrong"
    );
    ensure!(
        header("sec-websocket-protocol") == Some(b"mqtt"),
        "the subprotocol is not mqtt"
    );
    input.drain(..end);
    Ok(true)
}

/// `payload` as one masked binary frame.
pub(super) fn frame(payload: &[u8]) -> Result<Vec<u8>> {
    let opcode = OpCode::Data(Data::Binary);
    let header = FrameHeader {
        opcode,
        mask: Some(MASK),
        ..FrameHeader::default()
    };
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    header.format(payload.len() as u64, &mut bytes)?;
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    Ok(bytes)
}

/// Moves the payloads of all whole frames in `input` to `payload`.
pub(super) fn unwrap_frames(input: &mut Vec<u8>, payload: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut cursor = Cursor::new(input.as_slice());
        let Some((header, length)) = FrameHeader::parse(&mut cursor)? else {
            return Ok(());
        };
        let start = cursor.position() as usize;
        let end = start + usize::try_from(length).context("a frame without end")?;
        if input.len() < end {
            return Ok(());
        }
        ensure!(header.mask.is_none(), "the server masks its frames");
        ensure!(
            matches!(header.opcode, OpCode::Data(_)),
            "unexpected frame {:?}",
            header.opcode
        );
        payload.extend_from_slice(&input[start..end]);
        input.drain(..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_joined_and_a_half_frame_stays() {
        let (mut input, mut payload) = (
            vec![0x82, 2, b'a', b'b', 0x82, 1, b'c', 0x82, 3, b'd'],
            vec![],
        );
        unwrap_frames(&mut input, &mut payload).unwrap();
        assert_eq!(payload, b"abc");
        assert_eq!(input, [0x82, 3, b'd']);
    }

    #[test]
    fn frames_out_are_masked() {
        assert_eq!(
            frame(b"a").unwrap(),
            [0x82, 0x81, 0x5a, 0x17, 0xc3, 0x8e, b'a' ^ 0x5a]
        );
    }
}
