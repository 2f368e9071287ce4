//! The stream of frames, cut at every place and broken in every way.

use bytes::{BufMut, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::{
    Closing, Fragmentation, Next, OpenFrame, UPGRADE_BYTES_MAX, Upgrade, next, upgrade, wrap,
    write_close,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        is_final,
        opcode,
        mask: Some([1, 2, 3, 4]),
        ..FrameHeader::default()
    };
    let mut bytes = Vec::new();
    header.format(payload.len() as u64, &mut bytes).unwrap();
    bytes.extend(
        payload
            .iter()
            .zip([1, 2, 3, 4].iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Data::Binary), true, payload)
}

/// What a connection does with bytes that come in these portions.
#[derive(Default)]
struct Reader {
    state: Fragmentation,
    open: Option<OpenFrame>,
    held: Vec<u8>,
    payload: Vec<u8>,
    reply: BytesMut,
    ended: Option<Closing>,
}

impl Reader {
    fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = [std::mem::take(&mut self.held).as_slice(), bytes].concat();
        while self.ended.is_none() && !bytes.is_empty() {
            if let Some(open) = &mut self.open {
                let taken = open.read(&bytes, &mut self.payload);
                bytes.drain(..taken);
                if open.is_done() {
                    self.open = None;
                }
                continue;
            }
            match next(&bytes, &mut self.state, &mut self.reply) {
                Next::Incomplete => {
                    self.held = bytes;
                    return;
                }
                Next::Data(start, open) => {
                    bytes.drain(..start);
                    self.open = Some(open).filter(|open| !open.is_done());
                }
                Next::Control(length) => drop(bytes.drain(..length)),
                Next::End(closing) => self.ended = Some(closing),
            }
        }
    }
}

fn read(bytes: &[u8]) -> Reader {
    let mut reader = Reader::default();
    reader.feed(bytes);
    reader
}

#[test]
fn payload_is_the_same_wherever_the_stream_is_cut() {
    let long = vec![7; 70_000];
    let stream = [
        binary(b"hello"),
        frame(OpCode::Data(Data::Binary), false, b" fra"),
        frame(OpCode::Control(Control::Ping), true, b"still there?"),
        frame(OpCode::Data(Data::Continue), true, b"gments"),
        binary(b""),
        binary(&long[..300]),
    ]
    .concat();
    let expected = [b"hello fragments".as_slice(), &long[..300]].concat();
    for cut in 0..=stream.len() {
        let mut reader = Reader::default();
        reader.feed(&stream[..cut]);
        reader.feed(&stream[cut..]);
        assert_eq!(reader.payload, expected, "cut at {cut}");
        assert_eq!(reader.ended, None);
        assert!(
            reader.reply.ends_with(b"still there?"),
            "the ping is answered"
        );
    }
    assert_eq!(read(&binary(&long)).payload, long);
}

#[test]
fn what_breaks_the_protocol_ends_the_stream_and_says_so() {
    let text = frame(OpCode::Data(Data::Text), true, b"hi");
    let lone = frame(OpCode::Data(Data::Continue), true, b"hi");
    let twice = [frame(OpCode::Data(Data::Binary), false, b"a"), binary(b"b")].concat();
    let long_ping = frame(OpCode::Control(Control::Ping), true, &[0; 126]);
    let split_ping = frame(OpCode::Control(Control::Ping), false, b"");
    let mut unmasked = Vec::new();
    FrameHeader {
        opcode: OpCode::Data(Data::Binary),
        ..FrameHeader::default()
    }
    .format(0, &mut unmasked)
    .unwrap();
    let mut reserved = binary(b"x");
    reserved[0] |= 0x40;
    let endless = [&[0x82, 0xff][..], &[0xff; 8], &[0; 4]].concat();
    let unknown = vec![0x83, 0x80, 0, 0, 0, 0];
    for (bytes, what) in [
        (text, "text frame"),
        (lone, "fragmentation"),
        (twice, "fragmentation"),
        (long_ping, "control frame"),
        (split_ping, "control frame"),
        (unmasked, "unmasked frame"),
        (reserved, "reserved bits"),
        (unknown, "frame header"),
        (endless, "frame length"),
    ] {
        let reader = read(&bytes);
        let code = match what {
            "text frame" => CloseCode::Unsupported,
            _ => CloseCode::Protocol,
        };
        assert_eq!(reader.ended, Some(Closing::Broken(code, what)));
        assert!(reader.reply.is_empty(), "the closing frame comes last");
    }
}

#[test]
fn a_closing_frame_is_answered_by_one() {
    let reader = read(&frame(
        OpCode::Control(Control::Close),
        true,
        &1000u16.to_be_bytes(),
    ));
    assert_eq!(reader.ended, Some(Closing::Answered));
    assert!(reader.reply.is_empty(), "not before what came before it");
    let mut output = BytesMut::from(&b"PUBACK"[..]);
    let mut frames = BytesMut::new();
    write_close(Closing::Answered, &mut output, &mut frames);
    assert_eq!(&frames[..], b"\x82\x06PUBACK\x88\0");
    let broken = Closing::Broken(CloseCode::Protocol, "opcode");
    frames.clear();
    write_close(broken, &mut output, &mut frames);
    assert_eq!(&frames[..], b"\x88\x08\x03\xeaopcode");
}

#[test]
fn packets_are_wrapped_in_one_binary_frame() {
    let mut output = BytesMut::from(&b"two packets"[..]);
    let mut frames = BytesMut::new();
    wrap(&mut output, &mut frames);
    assert!(output.is_empty());
    assert_eq!(&frames[..], b"\x82\x0btwo packets");
    wrap(&mut output, &mut frames);
    assert_eq!(frames.len(), 13, "nothing to say makes no frame");
}

fn request(path: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
    .into_bytes()
}

fn status(request: &[u8]) -> String {
    let mut reply = BytesMut::new();
    let _ = upgrade(request, &mut reply);
    String::from_utf8_lossy(&reply)
        .chars()
        .skip(9)
        .take(3)
        .collect()
}

#[test]
fn an_upgrade_needs_the_path_and_the_subprotocol() {
    let mqtt = "Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n";
    for (path, headers, expected) in [
        ("/", mqtt, "101"),
        ("/mqtt", mqtt, "101"),
        ("/mqtt?token=1", mqtt, "101"),
        ("/other", mqtt, "404"),
        ("/mqtt", "", "400"),
        ("/mqtt", "Sec-WebSocket-Protocol: mqttv3.1\r\n", "400"),
    ] {
        assert_eq!(
            status(&request(path, headers)),
            expected,
            "{path} {headers:?}"
        );
    }
    assert_eq!(status(b"GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n"), "426");
    assert_eq!(
        status(b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0\r\n\r\n"),
        "400"
    );
}

#[test]
fn an_upgrade_may_come_in_parts_but_not_without_end() {
    let whole = request("/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n");
    let mut reply = BytesMut::new();
    for cut in 0..whole.len() {
        assert!(matches!(
            upgrade(&whole[..cut], &mut reply),
            Upgrade::Incomplete
        ));
    }
    assert!(reply.is_empty());
    let behind = [whole.as_slice(), b"first frame"].concat();
    let Upgrade::Accepted(length) = upgrade(&behind, &mut reply) else {
        panic!("it is accepted");
    };
    assert_eq!(length, whole.len());
    let mut endless = BytesMut::from(&b"GET /mqtt HTTP/1.1\r\nX: "[..]);
    endless.put_bytes(b'x', UPGRADE_BYTES_MAX);
    assert_eq!(status(&endless), "431");
}
