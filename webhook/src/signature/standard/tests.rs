//! The published vector, rotation, and what must not verify.

use super::*;

/// The vector that the reference implementations publish in their tests.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP: &str = "1614265330";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const NOW: u64 = 1_614_265_330;

fn keys(secrets: &[&str]) -> StandardKeys {
    let secrets = secrets.iter().map(|text| Secret::parse(text).unwrap());
    StandardKeys::new(secrets.collect()).unwrap()
}

fn other() -> String {
    Secret::encode(&[7; 32])
}

fn verify(keys: &StandardKeys, signature: &str) -> Result<(), VerifyError> {
    let signed = StandardHeaders {
        id: ID,
        timestamp: TIMESTAMP,
        signature,
    };
    keys.verify(&signed, BODY, NOW, 300)
}

#[test]
fn the_published_vector_is_met() {
    assert_eq!(keys(&[SECRET]).sign(ID, TIMESTAMP, BODY), SIGNATURE);
    assert_eq!(verify(&keys(&[SECRET]), SIGNATURE), Ok(()));
}

#[test]
fn during_a_rotation_either_secret_verifies() {
    let both = keys(&[&other(), SECRET]).sign(ID, TIMESTAMP, BODY);
    assert_eq!(both.split(' ').count(), 2);
    assert!(both.ends_with(SIGNATURE));
    assert_eq!(verify(&keys(&[SECRET]), &both), Ok(()));
    assert_eq!(verify(&keys(&[&other()]), &both), Ok(()));
    assert_eq!(verify(&keys(&[&other(), SECRET]), SIGNATURE), Ok(()));
}

#[test]
fn a_changed_request_is_not_believed() {
    let keys = keys(&[SECRET]);
    let genuine = StandardHeaders {
        id: ID,
        timestamp: TIMESTAMP,
        signature: SIGNATURE,
    };
    let check = |signed: StandardHeaders<'_>, body, error| {
        assert_eq!(keys.verify(&signed, body, NOW, 300), Err(error));
    };
    check(genuine, b"{}", VerifyError::Signature);
    check(
        StandardHeaders {
            id: "msg_other",
            ..genuine
        },
        BODY,
        VerifyError::Signature,
    );
    let timestamp = "1614265331";
    check(
        StandardHeaders {
            timestamp,
            ..genuine
        },
        BODY,
        VerifyError::Signature,
    );
    let timestamp = "soon";
    check(
        StandardHeaders {
            timestamp,
            ..genuine
        },
        BODY,
        VerifyError::Timestamp,
    );
    let unversioned = SIGNATURE.trim_start_matches("v1,");
    let cut = &SIGNATURE[..SIGNATURE.len() - 4];
    let asymmetric = SIGNATURE.replace("v1,", "v1a,");
    for signature in ["", "v1,", "v1,=", unversioned, cut, &asymmetric] {
        check(
            StandardHeaders {
                signature,
                ..genuine
            },
            BODY,
            VerifyError::Signature,
        );
    }
}

#[test]
fn an_old_or_future_request_is_not_believed() {
    let keys = keys(&[SECRET]);
    let signed = StandardHeaders {
        id: ID,
        timestamp: TIMESTAMP,
        signature: SIGNATURE,
    };
    let at = |now| keys.verify(&signed, BODY, now, 300);
    assert_eq!(at(NOW + 300), Ok(()));
    assert_eq!(at(NOW - 300), Ok(()));
    assert_eq!(at(NOW + 301), Err(VerifyError::Timestamp));
    assert_eq!(at(NOW - 301), Err(VerifyError::Timestamp));
}

#[test]
fn a_secret_has_24_to_64_bytes() {
    let of_length = |bytes| format!("whsec_{}", BASE64.encode(&vec![1; bytes]));
    for bytes in [24, 32, 64] {
        assert!(Secret::parse(&of_length(bytes)).is_ok(), "{bytes}");
    }
    for bytes in [0, 23, 65] {
        let error = Secret::parse(&of_length(bytes)).unwrap_err();
        assert_eq!(error, SecretError::Length { bytes });
    }
    assert_eq!(Secret::parse("MfKQ9r8G").unwrap_err(), SecretError::Prefix);
    assert_eq!(
        Secret::parse("whsec_not base64").unwrap_err(),
        SecretError::Base64
    );
    assert_eq!(
        StandardKeys::new(Vec::new()).unwrap_err(),
        SecretError::None
    );
}

#[test]
fn a_secret_is_not_shown() {
    let shown = format!("{:?}", keys(&[SECRET]));
    assert_eq!(shown, "StandardKeys([Secret(..)])");
}
