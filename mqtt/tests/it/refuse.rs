//! CONNECT that is turned away, or comes at the wrong time.

use mqtt::{Action, CloseReason, Refusal, Version};
use rmqtt_codec::{v3, v5};

use crate::connect::{connack_v5, open, return_code};
use crate::script::*;

// MQTT-3.1.4-2, MQTT-3.2.2-6, MQTT-3.2.2-7, MQTT-3.2.2-8, MQTT-4.13.2-1
#[test]
fn refusals_have_a_code_in_each_version() {
    use v3::ConnectAckReason as Code3;
    use v5::ConnectAckReason as Code5;
    let rows = [
        (
            Refusal::BadUserNameOrPassword,
            Code5::BadUserNameOrPassword,
            Code3::BadUserNameOrPassword,
        ),
        (
            Refusal::NotAuthorized,
            Code5::NotAuthorized,
            Code3::NotAuthorized,
        ),
        (
            Refusal::ClientIdentifierNotValid,
            Code5::ClientIdentifierNotValid,
            Code3::IdentifierRejected,
        ),
        (
            Refusal::ServerUnavailable,
            Code5::ServerUnavailable,
            Code3::ServiceUnavailable,
        ),
        (
            Refusal::ServerBusy,
            Code5::ServerBusy,
            Code3::ServiceUnavailable,
        ),
        (
            Refusal::QuotaExceeded,
            Code5::QuotaExceeded,
            Code3::ServiceUnavailable,
        ),
        (
            Refusal::ConnectionRateExceeded,
            Code5::ConnectionRateExceeded,
            Code3::ServiceUnavailable,
        ),
        (
            Refusal::ImplementationSpecific,
            Code5::ImplementationSpecificError,
            Code3::ServiceUnavailable,
        ),
    ];
    for (refusal, code_v5, code_v3) in rows {
        let mut client = Client::new(Version::V5);
        open(client.connect(connect_of(Version::V5)));
        client.session.refuse(refusal, "because", &mut client.out);
        let connack = connack_v5(&mut client);
        assert_eq!(connack.reason_code, code_v5);
        assert!(!connack.session_present);
        assert_eq!(connack.reason_string.as_deref(), Some("because"));
        client.assert_closed();
        for version in V3 {
            let mut client = Client::new(version);
            open(client.connect(connect_of(version)));
            client.session.refuse(refusal, "because", &mut client.out);
            assert_eq!(return_code(&mut client), code_v3);
            client.assert_closed();
        }
    }
}

// MQTT-4.12.0-1, MQTT-4.12.0-4
#[test]
fn an_authentication_method_is_refused() {
    let mut client = Client::new(Version::V5);
    let connect = v5::Connect {
        auth_method: Some("SCRAM".into()),
        ..connect_v5()
    };
    let action = client.connect(Connect::V5(connect));
    assert!(matches!(close_reason(action), CloseReason::Refused(_)));
    assert_eq!(
        connack_v5(&mut client).reason_code,
        v5::ConnectAckReason::BadAuthenticationMethod
    );
    client.assert_closed();
}

#[test]
fn authentication_data_without_a_method_is_a_protocol_error() {
    let mut client = Client::new(Version::V5);
    let connect = v5::Connect {
        auth_data: Some("x".into()),
        ..connect_v5()
    };
    let _ = client.connect(Connect::V5(connect));
    assert_eq!(
        connack_v5(&mut client).reason_code,
        v5::ConnectAckReason::ProtocolError
    );
    client.assert_closed();
}

// MQTT-3.1.0-2
#[test]
fn a_second_connect_is_a_protocol_error() {
    for version in ALL {
        let mut client = Client::connected(version);
        let action = client.connect(connect_of(version));
        client.assert_thrown_out(&action, v5::DisconnectReasonCode::ProtocolError);
    }
}

// MQTT-3.1.4-6, MQTT-3.2.0-2
#[test]
fn a_packet_before_connack_closes_an_opening_session() {
    for version in ALL {
        let mut client = Client::new(version);
        open(client.connect(connect_of(version)));
        assert!(client.session.is_opening());
        let action = client.send_raw(&[0xC0, 0]);
        assert!(
            matches!(action, Action::Close(CloseReason::ProtocolError(_))),
            "{action:?}"
        );
        client.assert_closed();
        client.accept();
        client.assert_closed();
    }
}

// MQTT-3.2.2-19
#[test]
fn the_reason_of_a_refusal_is_left_out_where_it_does_not_fit() {
    let reason = "because ".repeat(20);
    for (bytes_max, has_text) in [(200, true), (100, false)] {
        let mut client = Client::new(Version::V5);
        let connect = v5::Connect {
            max_packet_size: bytes_max.try_into().ok(),
            ..connect_v5()
        };
        open(client.connect(Connect::V5(connect)));
        let refusal = Refusal::NotAuthorized;
        client.session.refuse(refusal, &reason, &mut client.out);
        assert!(client.out.len() <= bytes_max as usize);
        let connack = connack_v5(&mut client);
        assert_eq!(connack.reason_code, v5::ConnectAckReason::NotAuthorized);
        assert_eq!(connack.reason_string.is_some(), has_text);
    }
}
