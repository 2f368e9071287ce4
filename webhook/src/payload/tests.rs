//! The JSON, compared with the contract's own example.

use std::net::{Ipv6Addr, SocketAddrV6};

use super::*;

fn event() -> StatusEvent<'static> {
    StatusEvent {
        id: Uuid::from_u128(0x550e_8400_e29b_41d4_a716_4466_5544_0001),
        status: Status::Online,
        org: "org_1",
        user_id: "user_001",
        os: Some(Os::Ios),
        at_ms: 1_730_192_400_000,
        generated_at_ms: 1_730_192_400_000,
        client_ip: Some("192.168.1.100:12345".parse().unwrap()),
        session_id: Uuid::from_u128(0xabc_123),
        client_id: "phone-1",
        seq: 7,
        reason: None,
        online_sessions: 2,
        connected_at_ms: 1_730_192_400_000,
        protocol: 5,
    }
}

fn json(event: &StatusEvent<'_>, shape: Shape) -> String {
    String::from_utf8(event.to_json(shape).to_vec()).unwrap()
}

/// `text` without the white space between its tokens; no string in it has any.
fn compact(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn an_online_event_is_the_contracts_example() {
    let example = r#"
        {
        "type": "user:connection_status",
        "id": "550e8400-e29b-41d4-a716-446655440001",
        "time": 1730192400000,
        "data": [
        {
        "status": "0",
        "userId": "user_001",
        "os": "iOS",
        "time": 1730192400000,
        "clientIp": "192.168.1.100:12345",
        "sessionId": "sess_00000000000000000000000000abc123"
        }
        ]
        }"#;
    assert_eq!(json(&event(), Shape::Contract), compact(example));
}

#[test]
fn what_is_absent_is_omitted() {
    let event = StatusEvent {
        os: None,
        client_ip: None,
        ..event()
    };
    let text = json(&event, Shape::Extended);
    for word in ["null", "os", "clientIp", "reason"] {
        assert!(
            !text.contains(&format!("\"{word}\"")) && !text.contains("null"),
            "{word}: {text}"
        );
    }
}

#[test]
fn an_ending_has_no_platform_but_a_reason() {
    for (status, digit) in [(Status::Offline, "1"), (Status::LoggedOut, "2")] {
        let event = StatusEvent {
            status,
            at_ms: 1_730_192_460_000,
            generated_at_ms: 1_730_192_461_000,
            reason: Some("keep_alive_timeout"),
            online_sessions: 1,
            ..event()
        };
        let extended = r#"{"type":"user:connection_status",
            "id":"550e8400-e29b-41d4-a716-446655440001","time":1730192461000,
            "data":[{"status":"DIGIT","userId":"user_001","time":1730192460000,
            "clientIp":"192.168.1.100:12345",
            "sessionId":"sess_00000000000000000000000000abc123",
            "clientId":"phone-1","seq":7,"reason":"keep_alive_timeout","onlineSessions":1,
            "connectedAt":1730192400000,"protocol":"5"}]}"#;
        let expected = compact(extended).replace("DIGIT", digit);
        assert_eq!(json(&event, Shape::Extended), expected);
        let contract = json(&event, Shape::Contract);
        assert!(contract.ends_with(r#""sessionId":"sess_00000000000000000000000000abc123"}]}"#));
    }
}

#[test]
fn an_online_event_never_has_a_reason() {
    let event = StatusEvent {
        reason: Some("connection_lost"),
        ..event()
    };
    assert!(!json(&event, Shape::Extended).contains("reason"));
}

#[test]
fn an_address_is_shown_with_its_port() {
    let scoped = SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 9, 0, 3);
    let rows = [
        (
            "192.168.1.100:12345".parse().unwrap(),
            "192.168.1.100:12345",
        ),
        ("[2001:db8::1]:443".parse().unwrap(), "[2001:db8::1]:443"),
        ("[::ffff:10.1.2.3]:80".parse().unwrap(), "10.1.2.3:80"),
        (SocketAddr::V6(scoped), "[fe80::1]:9"),
    ];
    for (address, shown) in rows {
        let event = StatusEvent {
            client_ip: Some(address),
            ..event()
        };
        let expected = format!(r#""clientIp":"{shown}""#);
        assert!(json(&event, Shape::Contract).contains(&expected), "{shown}");
    }
}

#[test]
fn any_name_is_valid_json() {
    for name in ["\"", "\\", "\u{0}", "\n", "名前", "\u{2028}", "</script>"] {
        let event = StatusEvent {
            user_id: name,
            client_id: name,
            ..event()
        };
        let body = event.to_json(Shape::Extended);
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["data"][0]["userId"], name);
        assert_eq!(read["data"][0]["clientId"], name);
    }
}

#[test]
fn a_platform_is_compared_without_case() {
    let rows = [
        ("iOS", Some(Os::Ios)),
        ("IOS", Some(Os::Ios)),
        ("android", Some(Os::Android)),
        ("WebSocket", Some(Os::Websocket)),
        ("", None),
        ("linux", None),
    ];
    for (name, os) in rows {
        assert_eq!(Os::from_client(name), os, "{name}");
    }
}
