//! Packets that are one step from a sound one. The sound one is sent, too: so each row fails for its
//! own reason, and not because something else is wrong with the bytes.

use mqtt::{Action, CloseReason, Version};
use rmqtt_codec::v5::DisconnectReasonCode as Code;

use crate::script::*;

/// What is wrong, the sound packet, the broken one.
type Row = (&'static str, Vec<u8>, Vec<u8>);

fn packet(first_byte: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = match body.len() {
        length @ 0..0x80 => vec![length as u8],
        length => vec![length as u8 | 0x80, (length >> 7) as u8],
    };
    [&[first_byte], &length[..], &body[..]].concat()
}

/// No properties, where the version has any.
fn none(version: Version) -> &'static [u8] {
    if version == Version::V5 { b"\0" } else { b"" }
}

fn publish(version: Version, first_byte: u8, name: &[u8], packet_id: &[u8]) -> Vec<u8> {
    packet(first_byte, &[name, packet_id, none(version), b"x"])
}

/// SUBSCRIBE or UNSUBSCRIBE.
fn request(version: Version, first_byte: u8, entries: &[u8]) -> Vec<u8> {
    packet(first_byte, &[b"\0\x09", none(version), entries])
}

/// QoS 0, with these properties.
fn with_properties(properties: &[u8]) -> Vec<u8> {
    let length = [properties.len() as u8];
    packet(0x30, &[b"\0\x01a", &length, properties, b"x"])
}

fn row(name: &'static str, sound: &[u8], broken: &[u8]) -> Row {
    (name, sound.to_vec(), broken.to_vec())
}

fn of_every_version(version: Version) -> Vec<Row> {
    let publish = |first, name: &[u8], id: &[u8]| publish(version, first, name, id);
    let request = |first, entries: &[u8]| request(version, first, entries);
    let plain = publish(0x30, b"\0\x03abc", b"");
    let named = |bytes: &[u8]| publish(0x30, &[b"\0\x03", bytes].concat(), b"");
    let filter = b"\0\x03abc\0";
    vec![
        row("PINGREQ with flags", b"\xC0\0", b"\xC1\0"),
        row("PINGREQ with a body", b"\xC0\0", b"\xC0\x01\0"),
        row("DISCONNECT with flags", b"\xE0\0", b"\xE1\0"),
        row("PUBACK with flags", b"\x40\x02\0\x01", b"\x41\x02\0\x01"),
        row("PUBACK of 0", b"\x40\x02\0\x01", b"\x40\x02\0\0"),
        row("PUBACK cut short", b"\x40\x02\0\x01", b"\x40\x01\0"),
        row("PUBREC with flags", b"\x50\x02\0\x01", b"\x51\x02\0\x01"),
        row("PUBREC of 0", b"\x50\x02\0\x01", b"\x50\x02\0\0"),
        row("PUBREL without flags", b"\x62\x02\0\x01", b"\x60\x02\0\x01"),
        row("PUBREL with others", b"\x62\x02\0\x01", b"\x63\x02\0\x01"),
        row("PUBREL of 0", b"\x62\x02\0\x01", b"\x62\x02\0\0"),
        row("PUBCOMP with flags", b"\x70\x02\0\x01", b"\x72\x02\0\x01"),
        row("PUBCOMP cut short", b"\x70\x02\0\x01", b"\x70\0"),
        row("PUBLISH without a name", &plain, b"\x30\0"),
        row("name cut short", &plain, b"\x30\x05\0\x05abc"),
        row("name is not UTF-8", &plain, &named(b"a\xFFc")),
        row("surrogate in a name", &plain, &named(b"\xED\xA0\x80")),
        row("overlong NUL in a name", &plain, &named(b"a\xC0\x80")),
        (
            "QoS 3",
            publish(0x34, b"\0\x01a", b"\0\x01"),
            publish(0x36, b"\0\x01a", b"\0\x01"),
        ),
        (
            "QoS 1 and packet id 0",
            publish(0x32, b"\0\x01a", b"\0\x01"),
            publish(0x32, b"\0\x01a", b"\0\0"),
        ),
        (
            "SUBSCRIBE with wrong flags",
            request(0x82, filter),
            request(0x80, filter),
        ),
        row("SUBSCRIBE without id", &request(0x82, filter), b"\x82\0"),
        (
            "SUBSCRIBE to what is not UTF-8",
            request(0x82, filter),
            request(0x82, b"\0\x03a\xFFc\0"),
        ),
        (
            "SUBSCRIBE to a surrogate",
            request(0x82, filter),
            request(0x82, b"\0\x03\xED\xA0\x80\0"),
        ),
        (
            "SUBSCRIBE with reserved bits",
            request(0x82, b"\0\x01a\x01"),
            request(0x82, b"\0\x01a\x41"),
        ),
        (
            "SUBSCRIBE with reserved bits later",
            request(0x82, b"\0\x01a\x01\0\x01b\x01"),
            request(0x82, b"\0\x01a\x01\0\x01b\x81"),
        ),
        (
            "SUBSCRIBE with QoS 3",
            request(0x82, b"\0\x01a\x02"),
            request(0x82, b"\0\x01a\x03"),
        ),
        (
            "UNSUBSCRIBE with wrong flags",
            request(0xA2, b"\0\x01a"),
            request(0xA0, b"\0\x01a"),
        ),
        (
            "UNSUBSCRIBE from what is not UTF-8",
            request(0xA2, b"\0\x03abc"),
            request(0xA2, b"\0\x03a\xFFc"),
        ),
    ]
}

fn of_mqtt_3() -> Vec<Row> {
    let filter = b"\x82\x06\0\x09\0\x01a\0";
    vec![
        row("DISCONNECT with a body", b"\xE0\0", b"\xE0\x01\0"),
        row("PUBACK with more", b"\x40\x02\0\x01", b"\x40\x03\0\x01\0"),
        row(
            "No Local is of MQTT 5",
            filter,
            b"\x82\x06\0\x09\0\x01a\x04",
        ),
        row("SUBSCRIBE to nothing", filter, b"\x82\x02\0\x09"),
        row("an empty filter", filter, b"\x82\x05\0\x09\0\0\0"),
        row(
            "UNSUBSCRIBE from nothing",
            b"\xA2\x05\0\x09\0\x01a",
            b"\xA2\x02\0\x09",
        ),
    ]
}

fn of_mqtt_5() -> Vec<Row> {
    let with = with_properties;
    vec![
        row("DISCONNECT with more", b"\xE0\x02\0\0", b"\xE0\x03\0\0\0"),
        row("no such DISCONNECT", b"\xE0\x01\x04", b"\xE0\x01\x01"),
        row(
            "no such PUBACK",
            b"\x40\x03\0\x01\x10",
            b"\x40\x03\0\x01\x01",
        ),
        row(
            "PUBREL with a reason of PUBREC",
            b"\x62\x03\0\x01\x92",
            b"\x62\x03\0\x01\x10",
        ),
        row(
            "SUBSCRIBE with retain handling 3",
            b"\x82\x07\0\x09\0\0\x01a\x20",
            b"\x82\x07\0\x09\0\0\x01a\x30",
        ),
        ("unknown property", with(b"\x01\x01"), with(b"\x7F\x01")),
        (
            "property of another packet",
            with(b"\x01\x01"),
            with(b"\x17\x01"),
        ),
        (
            "property twice",
            with(b"\x01\x01"),
            with(b"\x01\x01\x01\x01"),
        ),
        row(
            "properties too long",
            b"\x30\x04\0\x01a\0",
            b"\x30\x04\0\x01a\x7F",
        ),
        (
            "response topic is not UTF-8",
            with(b"\x08\0\x02ab"),
            with(b"\x08\0\x02a\xFF"),
        ),
        (
            "content type is not UTF-8",
            with(b"\x03\0\x02ab"),
            with(b"\x03\0\x02a\xFF"),
        ),
        (
            "name of a user property is not UTF-8",
            with(b"\x26\0\x01a\0\x01b"),
            with(b"\x26\0\x01\xFF\0\x01b"),
        ),
        (
            "value of a user property is not UTF-8",
            with(b"\x26\0\x01a\0\x01b"),
            with(b"\x26\0\x01a\0\x01\xFF"),
        ),
    ]
}

/// A packet with a text among its properties, and the same with U+0000 in it.
fn nul_in_mqtt_5() -> Vec<Row> {
    let reason = |head: &[u8], text: u8| packet(head[0], &[&head[1..], b"\x04\x1F\0\x01", &[text]]);
    let pair = |head: &[u8], name: u8, value: u8, tail: &[u8]| {
        let parts = [b"\x07\x26\0\x01", &[name][..], b"\0\x01", &[value], tail];
        packet(head[0], &[&head[1..], &parts.concat()])
    };
    let heads: [(&'static str, &[u8], &[u8]); 8] = [
        ("PUBLISH", b"\x30\0\x01a", b""),
        ("PUBACK", b"\x40\0\x01\0", b""),
        ("PUBREC", b"\x50\0\x01\0", b""),
        ("PUBREL", b"\x62\0\x01\0", b""),
        ("PUBCOMP", b"\x70\0\x01\0", b""),
        ("DISCONNECT", b"\xE0\0", b""),
        ("SUBSCRIBE", b"\x82\0\x09", b"\0\x01a\0"),
        ("UNSUBSCRIBE", b"\xA2\0\x09", b"\0\x01a"),
    ];
    let mut rows = Vec::new();
    for (name, head, tail) in heads {
        for (first, second) in [(0, b'b'), (b'a', 0)] {
            let sound = pair(head, b'a', b'b', tail);
            rows.push((name, sound, pair(head, first, second, tail)));
        }
        if !matches!(name, "PUBLISH" | "SUBSCRIBE" | "UNSUBSCRIBE") {
            rows.push((name, reason(head, b'a'), reason(head, 0)));
        }
    }
    rows
}

/// Lengths and numbers that take more bytes than they need (§1.5.5).
fn padded_in_mqtt_5() -> Vec<Row> {
    vec![
        row("length of a packet", b"\xC0\0", b"\xC0\x80\0"),
        row(
            "properties of PUBLISH",
            b"\x30\x05\0\x01a\0x",
            b"\x30\x06\0\x01a\x80\0x",
        ),
        row(
            "properties of PUBLISH behind a packet id",
            b"\x32\x07\0\x01a\0\x01\0x",
            b"\x32\x08\0\x01a\0\x01\x80\0x",
        ),
        row(
            "properties of PUBACK",
            b"\x40\x04\0\x01\0\0",
            b"\x40\x05\0\x01\0\x80\0",
        ),
        row(
            "properties of PUBREL",
            b"\x62\x04\0\x01\0\0",
            b"\x62\x05\0\x01\0\x80\0",
        ),
        row(
            "properties of SUBSCRIBE",
            b"\x82\x07\0\x09\0\0\x01a\0",
            b"\x82\x08\0\x09\x80\0\0\x01a\0",
        ),
        (
            "properties of a long SUBSCRIBE",
            packet(0x82, &[b"\0\x09\0\0\x80", &[b'a'; 128], b"\0"]),
            packet(0x82, &[b"\0\x09\x80\0\0\x80", &[b'a'; 128], b"\0"]),
        ),
        row(
            "subscription identifier",
            b"\x82\x09\0\x09\x02\x0B\x01\0\x01a\0",
            b"\x82\x0A\0\x09\x03\x0B\x81\0\0\x01a\0",
        ),
        row(
            "properties of UNSUBSCRIBE",
            b"\xA2\x06\0\x09\0\0\x01a",
            b"\xA2\x07\0\x09\x80\0\0\x01a",
        ),
        row(
            "properties of DISCONNECT",
            b"\xE0\x02\0\0",
            b"\xE0\x03\0\x80\0",
        ),
    ]
}

fn is_let_pass(action: &Action) -> bool {
    let is_closed = matches!(action, Action::Close(_));
    !is_closed || matches!(action, Action::Close(CloseReason::ClientDisconnect { .. }))
}

fn check(version: Version, rows: &[Row]) {
    let connected = || {
        let mut client = Client::connected(version);
        client.limits.subscription_ids_available = true;
        client
    };
    for (name, sound, broken) in rows {
        let action = connected().send_raw(sound);
        assert!(is_let_pass(&action), "{name} {version:?}: {action:?}");
        let mut client = connected();
        let action = client.send_raw(broken);
        assert!(!is_let_pass(&action), "{name} {version:?}: {action:?}");
        client.assert_thrown_out(&action, Code::MalformedPacket);
    }
}

// MQTT-1.5.4-1, MQTT-1.5.7-1, MQTT-2.1.3-1, MQTT-2.2.2-1, MQTT-3.3.1-4, MQTT-3.3.2-1, MQTT-3.3.2-13,
// MQTT-3.3.2-19, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.8.3-1, MQTT-3.8.3-5, MQTT-3.10.1-1,
// MQTT-3.10.3-1, MQTT-3.14.1-1, MQTT-3.14.2-1, MQTT-4.13.1-1
#[test]
fn one_step_from_a_sound_packet_ends_the_session() {
    for version in ALL {
        check(version, &of_every_version(version));
        if version == Version::V5 {
            check(version, &of_mqtt_5());
        } else {
            check(version, &of_mqtt_3());
        }
    }
}

// MQTT-1.5.4-2, MQTT-1.5.7-1
#[test]
fn nul_in_any_text_of_mqtt_5_ends_the_session() {
    check(Version::V5, &nul_in_mqtt_5());
}

// MQTT-1.5.5-1
#[test]
fn a_number_of_more_bytes_than_it_needs_ends_an_mqtt_5_session() {
    check(Version::V5, &padded_in_mqtt_5());
}
