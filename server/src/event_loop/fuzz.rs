//! What stands before MQTT on a socket: the PROXY header and WebSocket. Whatever comes, and in
//! whatever pieces, it is understood in one way, and little is kept of it.

use bytes::BytesMut;

use super::connection::Pending;
use super::inbound::take_frames;
use super::websocket::{Closing, Fragmentation, UPGRADE_BYTES_MAX, Upgrade, upgrade};
use crate::proxy::{HEADER_BYTES_MAX, Header, header};

/// The longest head of a frame, and the longest control frame behind one.
const HELD_BYTES_MAX: usize = 14 + 125;

/// `bytes` as what a load balancer says first.
pub fn proxy(bytes: &[u8]) {
    match header(bytes) {
        Header::Whole(length, source) => {
            assert!((1..=bytes.len().min(HEADER_BYTES_MAX)).contains(&length));
            assert_eq!(header(&bytes[..length]), Header::Whole(length, source));
            for cut in 0..length {
                assert_eq!(header(&bytes[..cut]), Header::Incomplete, "at {cut}");
            }
        }
        Header::Incomplete => assert!(bytes.len() < HEADER_BYTES_MAX),
        Header::Wrong => {}
    }
}

/// `bytes` as an upgrade request, and as frames: all at once, and in pieces of the first byte's size.
pub fn websocket(bytes: &[u8]) {
    let mut reply = BytesMut::new();
    match upgrade(bytes, &mut reply) {
        Upgrade::Incomplete => assert!(bytes.len() < UPGRADE_BYTES_MAX && reply.is_empty()),
        Upgrade::Accepted(length) => assert!(length <= bytes.len() && !reply.is_empty()),
        Upgrade::Refused => assert!(!reply.is_empty()),
    }
    let Some((size, frames)) = bytes.split_first() else {
        return;
    };
    let whole = read(frames, frames.len().max(1));
    let pieces = read(frames, usize::from(*size).max(1));
    assert_eq!(whole, pieces);
    assert!(whole.payload.len() <= frames.len());
}

/// What a stream of frames came to.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    payload: Vec<u8>,
    answers: BytesMut,
    ending: Option<Closing>,
}

fn read(frames: &[u8], piece: usize) -> Heard {
    let (mut fragmentation, mut pending) = (Fragmentation::default(), Pending::default());
    let mut payload = Vec::new();
    let mut ending = None;
    for piece in frames.chunks(piece) {
        let mut input = std::mem::take(&mut pending.input);
        input.extend_from_slice(piece);
        ending = take_frames(&input, &mut fragmentation, &mut pending, &mut payload);
        assert!(pending.input.len() <= HELD_BYTES_MAX);
        if ending.is_some() {
            break;
        }
    }
    Heard {
        payload,
        answers: pending.frames,
        ending,
    }
}
