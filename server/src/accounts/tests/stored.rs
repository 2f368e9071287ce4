//! Users with stored passwords: when a hash is paid for, and that nobody learns who exists.

use super::*;

/// An organisation of its own for each way to keep passwords; `alice` has hers hashed.
fn hashed() -> Accounts {
    let text = format!(
        r#"
[accounts]
known_password_secs = 60
hash_work_kib_min = 64
[[org]]
id = "hashed"
[[org.user]]
username = "alice"
password_hash = "{}"
[[org.user]]
username = "bob"
password = "bob-password"
[[org]]
id = "plain"
[[org.user]]
username = "alice"
password = "alice-password"
"#,
        hash(b"alice-password").unwrap()
    );
    Accounts::from_config(&Config::from_text(&text, "t.toml", &HashMap::new()).unwrap()).unwrap()
}

/// Logs in and tells whether that let in, and how many hashes it took.
fn paid(accounts: &Accounts, username: &str, password: Option<&str>) -> (bool, u64) {
    let before = accounts.metrics.hashes.get();
    let password = password.map(str::as_bytes);
    let is_in = decide(accounts, Some(username), password, "c").is_ok();
    (is_in, accounts.metrics.hashes.get() - before)
}

#[test]
fn a_right_password_is_hashed_once_and_known_then() {
    let accounts = hashed();
    let alice = |password| paid(&accounts, "alice@hashed", Some(password));
    assert_eq!(alice("alice-password"), (true, 1));
    assert_eq!(alice("alice-password"), (true, 0));
    assert_eq!(alice("wrong"), (false, 1));
    assert_eq!(alice("wrong"), (false, 1), "failures are not remembered");
    assert_eq!(alice("alice-password"), (true, 0));
}

#[test]
fn two_connections_that_wait_for_the_same_check_pay_once() {
    let accounts = hashed();
    let password = Some(&b"alice-password"[..]);
    let ask = || match accounts.log_in(Some("alice@hashed"), password, "c", NOW) {
        Decision::Check(check) => check,
        other => panic!("{other:?}"),
    };
    let (first, second) = (ask(), ask());
    assert!(accounts.check(first, password, NOW).is_ok());
    assert!(accounts.check(second, password, NOW).is_ok());
    assert_eq!(accounts.metrics.hashes.get(), 1);
}

#[test]
fn a_success_is_paid_for_again_when_its_time_is_over() {
    let accounts = hashed();
    let password = Some(&b"alice-password"[..]);
    assert_eq!(
        paid(&accounts, "alice@hashed", Some("alice-password")),
        (true, 1)
    );
    let later = |secs| accounts.log_in(Some("alice@hashed"), password, "c", NOW + secs);
    assert!(matches!(later(59), Decision::Admitted(_)));
    assert!(matches!(later(60), Decision::Check(_)));
}

#[test]
fn whoever_is_turned_away_has_waited_for_a_hash_where_there_are_any() {
    let accounts = hashed();
    for name in ["nobody@hashed", "bob@hashed", "alice@nowhere"] {
        assert_eq!(paid(&accounts, name, Some("wrong")), (false, 1), "{name}");
    }
    assert_eq!(
        paid(&accounts, "bob@hashed", Some("bob-password")),
        (true, 0)
    );
    // The decoy is alice's hash: her password opens nothing but her own account.
    for name in ["nobody@hashed", "bob@hashed", "alice@nowhere"] {
        let with_hers = paid(&accounts, name, Some("alice-password"));
        assert_eq!(with_hers, (false, 1), "{name}");
    }
    assert_eq!(paid(&accounts, "alice@plain", Some("wrong")), (false, 0));
    assert_eq!(paid(&accounts, "nobody@plain", Some("wrong")), (false, 0));
}

#[test]
fn no_password_is_no_password_for_a_stored_one_either() {
    let accounts = hashed();
    for name in ["alice@hashed", "nobody@hashed"] {
        assert_eq!(paid(&accounts, name, None), (false, 0));
    }
}
