//! CONNECT: who gets in, and what CONNACK says.

use mqtt::{
    ASSIGNED_CLIENT_ID_BYTES_MAX, Accepted, Action, CloseReason, ConnectRequest, QoS, Refusal,
    Version,
};
use rmqtt_codec::{v3, v5};

use crate::script::*;

pub(crate) fn open(action: Action) -> ConnectRequest {
    match action {
        Action::Open(request) => *request,
        other => panic!("not opened: {other:?}"),
    }
}

pub(crate) fn connack_v5(client: &mut Client) -> v5::ConnectAck {
    match &client.replies_v5()[..] {
        [v5::Packet::ConnectAck(connack)] => (**connack).clone(),
        other => panic!("not one CONNACK: {other:?}"),
    }
}

pub(crate) fn return_code(client: &mut Client) -> v3::ConnectAckReason {
    match client.replies_v3()[..] {
        [v3::Packet::ConnectAck(connack)] => {
            assert!(!connack.session_present);
            connack.return_code
        }
        ref other => panic!("not one CONNACK: {other:?}"),
    }
}

// MQTT-3.1.2-17, MQTT-3.1.2-19, MQTT-3.1.3-12
#[test]
fn request_carries_what_the_client_said() {
    for version in ALL {
        let mut client = Client::new(version);
        let connect = match connect_of(version) {
            Connect::V3(connect) => Connect::V3(v3::Connect {
                username: Some("alice@acme".into()),
                password: Some("secret".into()),
                ..connect
            }),
            Connect::V5(connect) => Connect::V5(v5::Connect {
                username: Some("alice@acme".into()),
                password: Some("secret".into()),
                ..connect
            }),
        };
        let request = open(client.connect(connect));
        assert_eq!(client.session.version(), Some(version));
        assert_eq!(request.version, version);
        assert_eq!(request.client_id, "phone");
        assert!(request.clean_start);
        assert_eq!(request.keep_alive_secs, 60);
        assert_eq!(request.username.as_deref(), Some("alice@acme"));
        assert_eq!(request.password.as_deref(), Some(&b"secret"[..]));
        let shown = format!("{request:?}");
        assert!(
            shown.contains("phone") && !shown.contains("secret"),
            "{shown}"
        );
        assert!(
            client.out.is_empty(),
            "nothing is said before the caller decides"
        );
    }
}

#[test]
fn mqtt_5_user_properties_and_session_expiry_reach_the_caller() {
    let connect = v5::Connect {
        session_expiry_interval_secs: 3600,
        user_properties: vec![("os".into(), "iOS".into()), ("os".into(), "Android".into())],
        ..connect_v5()
    };
    let request = open(Client::new(Version::V5).connect(Connect::V5(connect)));
    assert_eq!(request.session_expiry_secs, 3600);
    let values: Vec<&str> = request
        .user_properties
        .iter()
        .map(|(_, value)| &**value)
        .collect();
    assert_eq!(values, ["iOS", "Android"]);
}

// MQTT-3.1.4-5, MQTT-3.2.0-1, MQTT-3.2.2-8
#[test]
fn connack_of_mqtt_5_announces_every_absence() {
    let mut client = Client::new(Version::V5);
    let connect = v5::Connect {
        session_expiry_interval_secs: 60,
        ..connect_v5()
    };
    open(client.connect(Connect::V5(connect)));
    client.accept();
    let expected = v5::ConnectAck {
        session_expiry_interval_secs: Some(0),
        receive_max: id(20),
        max_qos: QoS::ExactlyOnce,
        max_packet_size: Some(1024),
        retain_available: false,
        wildcard_subscription_available: true,
        subscription_identifiers_available: false,
        shared_subscription_available: false,
        topic_alias_max: 3,
        ..v5::ConnectAck::default()
    };
    assert_eq!(connack_v5(&mut client), expected);
    assert!(client.session.is_connected());
}

// MQTT-3.2.2-8
#[test]
fn connack_of_mqtt_5_follows_the_limits() {
    let mut client = Client::new(Version::V5);
    client.limits.retain_available = true;
    client.limits.shared_available = true;
    client.limits.subscription_ids_available = true;
    client.limits.topic_alias_max = 0;
    open(client.connect(connect_of(Version::V5)));
    client.accept();
    let expected = v5::ConnectAck {
        receive_max: id(20),
        max_packet_size: Some(1024),
        ..v5::ConnectAck::default()
    };
    assert_eq!(connack_v5(&mut client), expected);
}

// MQTT-3.1.2-28
#[test]
fn response_information_is_never_returned() {
    for request_response_info in [true, false] {
        let mut client = Client::new(Version::V5);
        let connect = v5::Connect {
            request_response_info,
            ..connect_v5()
        };
        open(client.connect(Connect::V5(connect)));
        client.accept();
        assert_eq!(connack_v5(&mut client).response_info, None);
    }
}

// MQTT-3.1.3-5
#[test]
fn any_client_id_is_let_through_to_the_caller() {
    for version in ALL {
        for client_id in ["a", "0123456789abcdefghijABC", &"é/+#".repeat(50)] {
            let connect = match connect_of(version) {
                Connect::V3(connect) => Connect::V3(connect.client_id(client_id)),
                Connect::V5(connect) => Connect::V5(connect.client_id(client_id)),
            };
            let request = open(Client::new(version).connect(connect));
            assert_eq!(request.client_id, client_id);
        }
    }
}

#[test]
fn session_expiry_is_not_mentioned_to_a_client_that_did_not_ask() {
    let mut client = Client::new(Version::V5);
    open(client.connect(connect_of(Version::V5)));
    client.accept();
    assert_eq!(connack_v5(&mut client).session_expiry_interval_secs, None);
}

// MQTT-3.2.2-1
#[test]
fn connack_of_mqtt_3_is_two_bytes() {
    for (version, flags) in [(Version::V31, 0), (Version::V311, 1)] {
        let mut client = Client::new(version);
        open(client.connect(connect_of(version)));
        let accepted = Accepted {
            assigned_client_id: None,
            session_present: true,
            ..Default::default()
        };
        client
            .session
            .accept(&accepted, &client.limits, &mut client.out);
        assert_eq!(client.out[..], [0x20, 2, flags, 0], "{version:?}");
    }
}

// MQTT-3.1.2-21, MQTT-3.1.2-22, MQTT-3.2.2-22
#[test]
fn keep_alive_is_capped_for_mqtt_5_only() {
    let rows = [
        // version, asked for, announced, in force, bearable silence
        (Version::V5, 0, Some(200), 200, Some(300)),
        (Version::V5, 1, None, 1, Some(2)),
        (Version::V5, 200, None, 200, Some(300)),
        (Version::V5, 201, Some(200), 200, Some(300)),
        (Version::V5, 65_535, Some(200), 200, Some(300)),
        (Version::V311, 0, None, 0, None),
        (Version::V311, 65_535, None, 65_535, Some(98_303)),
        (Version::V31, 30, None, 30, Some(45)),
    ];
    for (version, asked, announced, in_force, silence) in rows {
        let mut client = Client::new(version);
        let connect = match connect_of(version) {
            Connect::V3(connect) => Connect::V3(v3::Connect {
                keep_alive: asked,
                ..connect
            }),
            Connect::V5(connect) => Connect::V5(v5::Connect {
                keep_alive: asked,
                ..connect
            }),
        };
        assert_eq!(open(client.connect(connect)).keep_alive_secs, asked);
        client.accept();
        if version == Version::V5 {
            assert_eq!(
                connack_v5(&mut client).server_keepalive_sec,
                announced,
                "{asked}"
            );
        }
        assert_eq!(
            client.session.keep_alive_secs(),
            in_force,
            "{version:?} {asked}"
        );
        assert_eq!(
            client.session.silent_secs_max(),
            silence,
            "{version:?} {asked}"
        );
    }
}

#[test]
fn without_a_cap_the_client_chooses_its_keep_alive() {
    let mut client = Client::new(Version::V5);
    client.limits.keep_alive_secs_max = 0;
    let connect = v5::Connect {
        keep_alive: 0,
        ..connect_v5()
    };
    open(client.connect(Connect::V5(connect)));
    client.accept();
    assert_eq!(connack_v5(&mut client).server_keepalive_sec, None);
    assert_eq!(client.session.silent_secs_max(), None);
}

// MQTT-3.1.3-6, MQTT-3.1.3-8
#[test]
fn empty_client_id_is_assigned_where_the_version_allows() {
    let rows = [
        (Version::V5, true, true),
        (Version::V5, false, true),
        (Version::V311, true, true),
        (Version::V311, false, false),
        (Version::V31, true, false),
        (Version::V31, false, false),
    ];
    for (version, clean_start, allowed) in rows {
        let mut client = Client::new(version);
        let action = client.connect(empty_id(version, clean_start));
        if allowed {
            let request = open(action);
            assert_eq!(request.client_id, "");
            assert_eq!(
                request.clean_start, clean_start,
                "{version:?}: the client's own flag"
            );
        } else {
            assert!(matches!(close_reason(action), CloseReason::Refused(_)));
            assert_eq!(
                return_code(&mut client),
                v3::ConnectAckReason::IdentifierRejected
            );
            client.assert_closed();
        }
    }
}

fn empty_id(version: Version, clean: bool) -> Connect {
    match connect_of(version) {
        Connect::V3(connect) => {
            let client_id = "".into();
            Connect::V3(v3::Connect {
                client_id,
                clean_session: clean,
                ..connect
            })
        }
        Connect::V5(connect) => {
            let client_id = "".into();
            Connect::V5(v5::Connect {
                client_id,
                clean_start: clean,
                ..connect
            })
        }
    }
}

#[test]
fn clean_start_is_reported_as_sent() {
    for clean_start in [true, false] {
        let connect = v5::Connect {
            clean_start,
            ..connect_v5()
        };
        let request = open(Client::new(Version::V5).connect(Connect::V5(connect)));
        assert_eq!(request.clean_start, clean_start);
    }
}

// MQTT-3.1.3-7
#[test]
fn assigned_client_id_is_told_to_mqtt_5() {
    let mut client = Client::new(Version::V5);
    open(client.connect(empty_id(Version::V5, true)));
    let accepted = Accepted {
        assigned_client_id: Some("auto-1"),
        session_present: false,
        ..Default::default()
    };
    client
        .session
        .accept(&accepted, &client.limits, &mut client.out);
    assert_eq!(
        connack_v5(&mut client).assigned_client_id.as_deref(),
        Some("auto-1")
    );
}

// MQTT-3.1.2-24, MQTT-3.2.2-16, MQTT-3.2.2-19
#[test]
fn connack_fits_every_client_that_is_let_in() {
    let longest = "x".repeat(ASSIGNED_CLIENT_ID_BYTES_MAX);
    let mut let_in = 0;
    for client_id in ["phone", ""] {
        for bytes_max in 1..200_u32 {
            let mut client = Client::new(Version::V5);
            let connect = v5::Connect {
                max_packet_size: bytes_max.try_into().ok(),
                session_expiry_interval_secs: 1,
                keep_alive: 0,
                client_id: client_id.into(),
                ..connect_v5()
            };
            if let Action::Open(_) = client.connect(Connect::V5(connect)) {
                let assigned_client_id = client_id.is_empty().then_some(&*longest);
                let accepted = Accepted {
                    assigned_client_id,
                    session_present: false,
                    reason: Some("as good as ever"),
                    ..Default::default()
                };
                client
                    .session
                    .accept(&accepted, &client.limits, &mut client.out);
                assert!(!client.out.is_empty(), "{bytes_max}: CONNACK is written");
                let needed = if client_id.is_empty() { 71 } else { 32 };
                assert!(bytes_max >= needed, "{bytes_max}: it might not have fitted");
                let_in += 1;
            }
            assert!(client.out.len() <= bytes_max as usize, "{bytes_max}");
            client.replies_v5();
        }
    }
    assert_eq!(
        let_in,
        (200 - 32) + (200 - 71),
        "nobody else is turned away"
    );
}

// MQTT-3.2.2-19
#[test]
fn connack_says_in_words_what_there_is_to_say_where_that_fits() {
    let said = |bytes_max: u32| {
        let mut client = Client::new(Version::V5);
        let connect = v5::Connect {
            max_packet_size: bytes_max.try_into().ok(),
            ..connect_v5()
        };
        let _ = client.connect(Connect::V5(connect));
        client.accept_as(&Accepted {
            reason: Some("as good as ever"),
            ..Accepted::default()
        });
        match &client.replies_v5()[..] {
            [v5::Packet::ConnectAck(connack)] => connack.reason_string.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(said(200).as_deref(), Some("as good as ever"));
    assert_eq!(said(30), None);
}

// MQTT-3.2.0-2
#[test]
fn connack_is_sent_once() {
    for version in ALL {
        let mut client = Client::connected(version);
        client.accept();
        assert!(client.out.is_empty());
        client
            .session
            .refuse(Refusal::NotAuthorized, "too late", &mut client.out);
        assert!(client.out.is_empty());
    }
}
