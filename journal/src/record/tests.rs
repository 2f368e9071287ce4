//! Round trips of records, and what never changes about them.

use compact_str::CompactString;
use proptest::prelude::*;

use super::*;

const PROTOCOLS: [Protocol; 3] = [Protocol::V31, Protocol::V311, Protocol::V5];
const SYSTEMS: [Option<Os>; 4] = [None, Some(Os::Ios), Some(Os::Android), Some(Os::Websocket)];
const REASONS: [EndReason; 11] = [
    EndReason::ClientDisconnect,
    EndReason::ConnectionLost,
    EndReason::KeepAliveTimeout,
    EndReason::TakenOver,
    EndReason::KickedByDevice,
    EndReason::Terminated,
    EndReason::LoggedOut,
    EndReason::CredentialsExpired,
    EndReason::ProtocolError,
    EndReason::ServerStopped,
    EndReason::ServerCrashed,
];

fn any_peer() -> impl Strategy<Value = Option<SocketAddr>> {
    prop_oneof![
        Just(None),
        any::<([u8; 4], u16)>().prop_map(|peer| Some(peer.into())),
        any::<([u8; 16], u16)>().prop_map(|peer| Some(peer.into())),
        any::<([u8; 16], u16, u32, u32)>().prop_map(|(ip, port, flow, scope)| {
            Some(SocketAddrV6::new(ip.into(), port, flow, scope).into())
        }),
    ]
}

fn any_text() -> impl Strategy<Value = CompactString> {
    ".{0,200}".prop_map(CompactString::from)
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let names = (
        any_text(),
        any::<[u8; 16]>(),
        any_text(),
        any_text(),
        any_peer(),
    );
    let numbers = any::<(bool, u64, u64, u16, usize)>();
    (names, numbers).prop_map(|(names, (opens, at_ms, connected_at_ms, node, pick))| {
        let (org, session, username, client_id, peer) = names;
        let session = SessionId(session);
        let protocol = PROTOCOLS[pick % PROTOCOLS.len()];
        if opens {
            let os = SYSTEMS[pick % SYSTEMS.len()];
            Fact::Opened(Opened {
                org,
                session,
                username,
                client_id,
                protocol,
                peer,
                os,
                at_ms,
                node,
            })
        } else {
            let reason = REASONS[pick % REASONS.len()];
            Fact::Ended(Ended {
                org,
                session,
                username,
                client_id,
                protocol,
                peer,
                connected_at_ms,
                at_ms,
                reason,
            })
        }
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(fact in any_fact(), rest in any::<[u8; 3]>()) {
        let mut bytes = Vec::new();
        encode(&fact, &mut bytes);
        bytes.extend_from_slice(&rest);
        let mut input = &bytes[..];
        prop_assert_eq!(decode(&mut input), Ok(fact));
        prop_assert_eq!(input, rest);
    }

    #[test]
    fn a_record_that_ends_too_early_is_no_fact(fact in any_fact(), cut in any::<usize>()) {
        let mut bytes = Vec::new();
        encode(&fact, &mut bytes);
        bytes.truncate(cut % bytes.len());
        prop_assert!(decode(&mut &bytes[..]).is_err());
    }

    #[test]
    fn any_bytes_are_a_fact_or_an_error(bytes in any::<Vec<u8>>()) {
        let _ = decode(&mut &bytes[..]);
    }
}

#[test]
fn the_numbers_of_words_stay_as_they_are() {
    assert_eq!(PROTOCOLS.map(protocol_number), [3, 4, 5]);
    assert_eq!(SYSTEMS.map(os_number), [0, 1, 2, 3]);
    assert_eq!(
        REASONS.map(reason_number),
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    );
}

#[test]
fn an_unknown_word_is_named() {
    assert_eq!(
        reason_of(12),
        Err(DecodeError::Unknown {
            what: "the reason of an ending",
            number: 12
        })
    );
}
