//! The published vector, and what must not verify.

use super::*;

const NONCE: &str = "14314";
const TIME: &str = "1408710653000";
const SIGNATURE: &str = "30be0bbca9c9b2e27578701e9fda2358a814c88f";

fn app() -> AppKey {
    AppKey::new("uwd1c0sxdlx2", "Y1W2MeFwwwRxa0").unwrap()
}

#[test]
fn the_published_vector_is_met() {
    assert_eq!(app().sign(NONCE, TIME), SIGNATURE);
    assert_eq!(
        app().values(NONCE, TIME),
        ["uwd1c0sxdlx2", NONCE, TIME, SIGNATURE]
    );
}

#[test]
fn a_query_string_is_kept() {
    let ours = format!("appKey=uwd1c0sxdlx2&nonce={NONCE}&timestamp={TIME}&signature={SIGNATURE}");
    let rows = [
        ("/hook", "/hook?"),
        ("/hook?", "/hook?"),
        ("/?a=b&c=%20", "/?a=b&c=%20&"),
    ];
    for (path, before) in rows {
        assert_eq!(
            app().sign_path(path, NONCE, TIME),
            format!("{before}{ours}"),
            "{path}"
        );
    }
}

#[test]
fn a_key_is_escaped_in_a_query() {
    let app = AppKey::new("a+b&c=d", "secret").unwrap();
    assert!(
        app.sign_path("/", NONCE, TIME)
            .starts_with("/?appKey=a%2Bb%26c%3Dd&nonce=")
    );
}

#[test]
fn only_what_was_signed_in_time_is_believed() {
    let genuine = AppKeyValues {
        app_key: "uwd1c0sxdlx2",
        nonce: NONCE,
        timestamp: TIME,
        signature: SIGNATURE,
    };
    let now = 1_408_710_653_000;
    let check = |signed: AppKeyValues<'_>, now_ms, expected| {
        assert_eq!(app().verify(&signed, now_ms, 1_000), expected);
    };
    check(genuine, now, Ok(()));
    check(genuine, now + 1_000, Ok(()));
    check(genuine, now + 1_001, Err(VerifyError::Timestamp));
    check(genuine, now - 1_001, Err(VerifyError::Timestamp));
    check(
        AppKeyValues {
            timestamp: "",
            ..genuine
        },
        now,
        Err(VerifyError::Timestamp),
    );
    check(
        AppKeyValues {
            nonce: "14315",
            ..genuine
        },
        now,
        Err(VerifyError::Signature),
    );
    check(
        AppKeyValues {
            app_key: "other",
            ..genuine
        },
        now,
        Err(VerifyError::Signature),
    );
    check(
        AppKeyValues {
            signature: "",
            ..genuine
        },
        now,
        Err(VerifyError::Signature),
    );
    let upper = SIGNATURE.to_uppercase();
    check(
        AppKeyValues {
            signature: &upper,
            ..genuine
        },
        now,
        Err(VerifyError::Signature),
    );
}

#[test]
fn keys_that_cannot_be_sent_are_refused() {
    for key in ["", "with space", "with\nline", "ä"] {
        assert_eq!(
            AppKey::new(key, "secret").unwrap_err(),
            AppKeyError::Key,
            "{key:?}"
        );
    }
    assert_eq!(AppKey::new("key", "").unwrap_err(), AppKeyError::Secret);
    assert!(!format!("{:?}", app()).contains("Y1W2"));
}
