//! One packet: where it ends is the same however much of it is there, and decoding it in any
//! version does no more than close.

use bytes::BytesMut;
use mqtt::{Accepted, Action, Session};

use crate::session::{CONNECTS, NOW_MS, limits};

/// The first byte says which version, the rest is what a client sends, packet after packet.
pub fn check(bytes: &[u8]) {
    frames_end_where_they_do(bytes);
    let Some((version, bytes)) = bytes.split_first() else {
        return;
    };
    first_packet(bytes);
    later_packets(CONNECTS[usize::from(*version) % CONNECTS.len()], bytes);
}

fn frames_end_where_they_do(bytes: &[u8]) {
    let Ok(Some(length)) = mqtt::whole_frame(bytes, u32::MAX) else {
        return;
    };
    assert!((2..=bytes.len()).contains(&length), "{length}");
    for cut in [1, length / 2, length - 1] {
        assert_eq!(mqtt::whole_frame(&bytes[..cut], u32::MAX), Ok(None));
    }
    assert_eq!(
        mqtt::whole_frame(&bytes[..length], u32::MAX),
        Ok(Some(length))
    );
}

fn first_packet(bytes: &[u8]) {
    let mut out = BytesMut::new();
    if let Ok(Some(length)) = mqtt::whole_frame(bytes, u32::MAX) {
        let frame = BytesMut::from(&bytes[..length]);
        let mut session = Session::new();
        match session.handle_frame(frame, NOW_MS, &limits(), &mut out) {
            Action::Open(request) => {
                assert!(session.is_opening());
                assert!(!request.client_id.contains('\0'));
            }
            Action::Close(_) => assert!(!session.is_opening() && !session.is_connected()),
            other => panic!("a first packet came to {other:?}"),
        }
    }
}

fn later_packets(connect: &[u8], mut bytes: &[u8]) {
    let (limits, mut out) = (limits(), BytesMut::new());
    while let Ok(Some(length)) = mqtt::whole_frame(bytes, limits.packet_bytes_max) {
        let mut session = Session::new();
        let _ = session.handle_frame(connect.into(), NOW_MS, &limits, &mut out);
        session.accept(&Accepted::default(), &limits, &mut out);
        assert!(session.is_connected());
        out.clear();
        let action = session.handle_frame(bytes[..length].into(), NOW_MS, &limits, &mut out);
        if let Action::Close(_) = action {
            assert!(!session.is_connected());
        }
        assert!(
            out.len() < 256,
            "{} bytes in answer to one packet",
            out.len()
        );
        bytes = &bytes[length..];
    }
}
