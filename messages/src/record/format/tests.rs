//! Round trips of records, and what never changes about them.

use journal::Record as _;
use proptest::prelude::*;

use super::*;

fn any_text() -> impl Strategy<Value = compact_str::CompactString> {
    ".{0,60}".prop_map(compact_str::CompactString::from)
}

fn any_session() -> impl Strategy<Value = StoredRef> {
    any::<u64>().prop_map(StoredRef)
}

fn any_message() -> impl Strategy<Value = Message> {
    let numbers = (any::<u64>(), proptest::option::of(1..u64::MAX));
    (any_text(), any::<Vec<u8>>(), 0..3_u8, numbers).prop_map(
        |(topic, body, qos, (at_ms, expires_at_ms))| Message {
            topic,
            body: body.into(),
            qos,
            at_ms,
            expires_at_ms,
        },
    )
}

fn any_will() -> impl Strategy<Value = Option<Box<Will>>> {
    let will =
        (any::<u32>(), any::<bool>(), any_message()).prop_map(|(delay_secs, retain, message)| {
            Box::new(Will {
                delay_secs,
                retain,
                message,
            })
        });
    proptest::option::of(will)
}

fn any_target() -> impl Strategy<Value = Target> {
    let ids = proptest::collection::vec(any::<u32>(), 0..3);
    (any_session(), any::<u16>(), 1..3_u8, any::<bool>(), ids).prop_map(
        |(session, packet_id, qos, retain, ids)| Target {
            session,
            packet_id,
            qos,
            retain,
            subscription_ids: ids.into(),
        },
    )
}

fn any_published() -> impl Strategy<Value = Record> {
    let retain = prop_oneof![Just(Retain::No), Just(Retain::Set), Just(Retain::Clear)];
    let received = proptest::option::of((any_session(), any::<u16>()));
    let will = proptest::option::of((any_session(), any::<u32>()))
        .prop_map(|will| will.map(|(session, number)| Attachment { session, number }));
    let targets = proptest::collection::vec(any_target(), 0..4);
    (any_text(), any_message(), received, will, retain, targets).prop_map(
        |(org, message, received, will, retain, targets)| {
            Record::Published(Published {
                org,
                message,
                received,
                will,
                retain,
                targets,
            })
        },
    )
}

fn any_record() -> impl Strategy<Value = Record> {
    let began = (
        any_session(),
        (any_text(), any_text(), any_text()),
        any::<u64>(),
        any::<u32>(),
        any_will(),
    )
        .prop_map(
            |(session, (org, client_id, username), at_ms, expiry_secs, will)| {
                Record::Began(Began {
                    session,
                    org,
                    client_id,
                    username,
                    at_ms,
                    expiry_secs,
                    will,
                })
            },
        );
    let attached = (any_session(), any::<u64>(), any::<u32>(), any_will()).prop_map(
        |(session, at_ms, expiry_secs, will)| Record::Attached {
            session,
            at_ms,
            expiry_secs,
            will,
        },
    );
    let detached = (any_session(), any::<(u64, u32, bool, u32)>()).prop_map(
        |(session, (at_ms, expiry_secs, with_will, sent))| Record::Detached {
            session,
            at_ms,
            expiry_secs,
            with_will,
            sent,
        },
    );
    let subscribed = (
        any_session(),
        any_text(),
        any::<u8>(),
        proptest::option::of(1..u32::MAX),
    )
        .prop_map(|(session, filter, options, id)| Record::Subscribed {
            session,
            filter,
            subscription: Subscription { options, id },
        });
    let packet =
        (any_session(), any::<u16>(), 0..3).prop_map(|(session, packet_id, kind)| match kind {
            0 => Record::Acknowledged { session, packet_id },
            1 => Record::Received { session, packet_id },
            _ => Record::Released { session, packet_id },
        });
    prop_oneof![
        began,
        attached,
        detached,
        subscribed,
        packet,
        any_published(),
        any_session().prop_map(|session| Record::Ended { session }),
        any_session().prop_map(|session| Record::WillDue { session }),
        (any_session(), any_text())
            .prop_map(|(session, filter)| Record::Unsubscribed { session, filter }),
        (any_text(), any_text()).prop_map(|(org, topic)| Record::Cleared { org, topic }),
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_read(record in any_record(), rest in any::<[u8; 3]>()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes.extend_from_slice(&rest);
        let mut input = &bytes[..];
        prop_assert_eq!(Record::decode(&mut input), Ok(record));
        prop_assert_eq!(input, rest);
    }

    #[test]
    fn a_record_that_ends_too_early_is_none(record in any_record(), cut in any::<usize>()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes.truncate(cut % bytes.len());
        prop_assert!(Record::decode(&mut &bytes[..]).is_err());
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in any::<Vec<u8>>()) {
        let _ = Record::decode(&mut &bytes[..]);
    }
}

#[test]
fn the_form_on_disk_stays_as_it_is() {
    let record = Record::Published(Published {
        org: "o".into(),
        message: Message {
            topic: "t".into(),
            body: Bytes::from_static(b"body"),
            qos: 1,
            at_ms: 300,
            expires_at_ms: None,
        },
        received: Some((StoredRef(3), 258)),
        will: None,
        retain: Retain::Set,
        targets: vec![Target {
            session: StoredRef(9),
            packet_id: 1,
            qos: 2,
            retain: true,
            subscription_ids: [5].into(),
        }],
    });
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    let expected = b"\x47\x01o\x01t\x04body\x01\xac\x02\x00\x01\x03\x02\x01\x00\x01\x01\x09\x01\x00\x06\x01\x05";
    assert_eq!(bytes, expected);
}
