//! Logins and keys as tables of claims and answers.

mod stored;
mod tokens;

use super::*;
use crate::config::ConfigError;

/// Unix time of all logins, unless a story is about time.
const NOW: u64 = 1_800_000_000;

const KEY_A: &str = "sk_test_0123456789abcdef0123456789abcdef";
const KEY_B: &str = "sk_live_ffffffffffffffffffffffffffffffff";

fn accounts(top: &str) -> Accounts {
    let text = format!(
        r#"
{top}
[[org]]
id = "closed"
secret_keys = ["{KEY_A}"]
[[org.user]]
username = "alice"
password = "alice-password"
display_name = "Alice Martin"
[[org.user]]
username = "ann@home"
password = "p"
[[org]]
id = "open"
secret_keys = ["{KEY_B}"]
open_auth = true
[[org.user]]
username = "alice"
password = "other"
"#
    );
    let config = Config::from_text(&text, "t.toml", &HashMap::new()).unwrap();
    Accounts::from_config(&config).unwrap()
}

/// Logs in at a time, makes the check that is asked for, and gives organisation id and name.
fn decide(
    accounts: &Accounts,
    username: Option<&str>,
    password: Option<&[u8]>,
    client_id: &str,
) -> Result<(String, String), LoginRefused> {
    let admission = match accounts.log_in(username, password, client_id, NOW) {
        Decision::Admitted(admission) => admission,
        Decision::Refused(refused) => return Err(refused),
        Decision::Check(check) => accounts.check(check, password, NOW)?,
    };
    Ok((
        accounts.org_id(admission.org).to_owned(),
        admission.username.to_string(),
    ))
}

/// Logs in and gives organisation id and name.
fn log_in(
    accounts: &Accounts,
    username: &str,
    password: &str,
) -> Result<(String, String), LoginRefused> {
    decide(accounts, Some(username), Some(password.as_bytes()), "c")
}

#[track_caller]
fn check_in(accounts: &Accounts, username: &str, password: &str, org: &str, name: &str) {
    assert_eq!(
        log_in(accounts, username, password),
        Ok((org.to_owned(), name.to_owned()))
    );
}

#[test]
fn a_user_logs_in_with_the_suffix_of_the_organisation() {
    let accounts = accounts("");
    check_in(
        &accounts,
        "alice@closed",
        "alice-password",
        "closed",
        "alice",
    );
}

#[test]
fn the_suffix_begins_at_the_last_at_sign() {
    check_in(&accounts(""), "ann@home@closed", "p", "closed", "ann@home");
    check_in(&accounts(""), "@@open", "p", "open", "@");
}

#[test]
fn refusals_say_what_is_wrong_but_not_who_exists() {
    use LoginRefused::*;
    let accounts = accounts("");
    let table = [
        ("alice@closed", "wrong", UnknownUserOrPassword),
        ("alice@closed", "other", UnknownUserOrPassword),
        ("bob@closed", "alice-password", UnknownUserOrPassword),
        ("Alice@closed", "alice-password", UnknownUserOrPassword),
        ("alice@nowhere", "alice-password", UnknownOrganisation),
        ("alice@", "alice-password", UnknownOrganisation),
        ("@closed", "alice-password", EmptyName),
        ("@nowhere", "", EmptyName),
        ("@open", "", EmptyName),
        ("", "", EmptyName),
        ("alice", "alice-password", MissingSuffix),
    ];
    for (username, password, refused) in table {
        assert_eq!(
            log_in(&accounts, username, password),
            Err(refused),
            "{username}"
        );
    }
    assert_eq!(
        UnknownOrganisation.to_string(),
        UnknownUserOrPassword.to_string()
    );
}

#[test]
fn a_missing_password_is_no_password() {
    let accounts = accounts("");
    let refused = decide(&accounts, Some("alice@closed"), None, "c");
    assert_eq!(refused, Err(LoginRefused::UnknownUserOrPassword));
    assert!(decide(&accounts, Some("alice@open"), None, "c").is_ok());
}

#[test]
fn an_open_organisation_lets_in_any_name() {
    let accounts = accounts("");
    let long = "x".repeat(10_240);
    for name in ["alice", "nobody", "a/b%2F", "ü", &long] {
        check_in(&accounts, &format!("{name}@open"), "whatever", "open", name);
    }
    assert_eq!(accounts.open_org_ids().collect::<Vec<_>>(), ["open"]);
}

#[test]
fn a_login_without_suffix_belongs_to_the_default_organisation() {
    check_in(
        &accounts("default_org = \"closed\""),
        "alice",
        "alice-password",
        "closed",
        "alice",
    );
    check_in(
        &accounts("default_org = \"open\""),
        "anybody",
        "",
        "open",
        "anybody",
    );
    let refused = log_in(&accounts("default_org = \"closed\""), "ann@home", "p");
    assert_eq!(refused, Err(LoginRefused::UnknownOrganisation));
}

#[test]
fn a_client_without_a_name_goes_by_its_client_id_only_in_an_open_default_organisation() {
    let open = accounts("default_org = \"open\"");
    let login = decide(&open, None, None, "sensor@7").unwrap();
    assert_eq!(login, ("open".to_owned(), "sensor@7".to_owned()));
    assert_eq!(decide(&open, None, None, ""), Err(LoginRefused::EmptyName));
    for top in ["", "default_org = \"closed\""] {
        let refused = decide(&accounts(top), None, Some(b"p"), "sensor");
        assert_eq!(refused, Err(LoginRefused::NoUserName));
    }
}

#[test]
fn a_key_selects_its_own_organisation_and_a_wrong_one_none() {
    let accounts = accounts("");
    let org = |key| accounts.org_of_key(key).map(|org| accounts.org_id(org));
    assert_eq!(org(KEY_A), Some("closed"));
    assert_eq!(org(KEY_B), Some("open"));
    for wrong in [
        "",
        "sk_",
        &KEY_A[..KEY_A.len() - 1],
        &format!("{KEY_A}0"),
        "closed",
    ] {
        assert_eq!(org(wrong), None);
    }
}

#[test]
fn display_names_belong_to_one_organisation() {
    let accounts = accounts("");
    let [closed, open] = [KEY_A, KEY_B].map(|key| accounts.org_of_key(key).unwrap());
    let name = accounts.display_name(closed, "alice");
    assert_eq!(name.as_deref(), Some("Alice Martin"));
    assert_eq!(accounts.display_name(closed, "ann@home"), None);
    assert_eq!(accounts.display_name(open, "alice"), None);
    assert_eq!(accounts.org_ids().collect::<Vec<_>>(), ["closed", "open"]);
}

#[test]
fn the_generated_organisation_is_the_default_one() {
    let generated = GeneratedOrg {
        id: "org_1".into(),
        secret_key: Digest::of(KEY_A.as_bytes()),
        username: "me".into(),
        password: Digest::of(b"secret"),
    };
    let accounts = Accounts::from_generated(&generated, &Default::default()).unwrap();
    check_in(&accounts, "me", "secret", "org_1", "me");
    check_in(&accounts, "me@org_1", "secret", "org_1", "me");
    assert!(log_in(&accounts, "me", "").is_err());
    assert_eq!(accounts.org_of_key(KEY_A).map(OrgIndex::get), Some(0));
}

#[test]
fn digests_survive_being_written_and_only_in_one_form() {
    let digest = Digest::of(b"secret");
    let hex = digest.to_hex();
    assert_eq!(Digest::from_hex(&hex), Some(digest.clone()));
    let sign = format!("+{}", &hex[1..]);
    for wrong in ["", &hex[1..], &hex.to_uppercase(), &sign, &"é".repeat(32)] {
        assert_eq!(Digest::from_hex(wrong), None, "{wrong}");
    }
    assert!(!format!("{digest:?}").contains(&hex));
}

#[test]
fn a_certificate_logs_in_its_own_user_without_a_password() {
    let accounts = accounts("default_org = \"closed\"");
    let own = |certified, username| match accounts.log_in_certified(certified, username) {
        Decision::Admitted(login) => Ok((accounts.org_id(login.org), login.username)),
        Decision::Refused(refused) => Err(refused),
        Decision::Check(_) => panic!("there is no password to check"),
    };
    let (known, unknown) = (
        Ok(("closed", "alice".into())),
        Ok(("closed", "nobody yet".into())),
    );
    assert_eq!(own("alice@closed", None), known);
    assert_eq!(own("alice", None), known);
    assert_eq!(own("nobody yet@closed", None), unknown);
    for username in ["alice@closed", "alice"] {
        assert_eq!(own("alice@closed", Some(username)), known);
    }
    for username in [
        "bob",
        "alice@open",
        "alice@",
        "@closed",
        "",
        "alice@closed@closed",
    ] {
        let refused = Err(LoginRefused::NotTheCertificates);
        assert_eq!(own("alice@closed", Some(username)), refused, "{username}");
    }
    assert_eq!(
        own("alice@gone", None),
        Err(LoginRefused::UnknownOrganisation)
    );
    assert_eq!(own("", None), Err(LoginRefused::EmptyName));
    assert_eq!(own("@closed", None), Err(LoginRefused::EmptyName));
}

#[test]
fn a_user_has_one_limit_of_guesses_however_the_login_is_written() {
    let accounts = accounts("default_org = \"closed\"");
    let here = Some("192.0.2.1".parse().unwrap());
    for turn in 0..10 {
        let login = ["alice", "alice@closed"][turn % 2];
        assert!(!accounts.is_slowed(here, login, NOW), "{turn}");
        accounts.count_guess(here, login, NOW);
    }
    assert!(accounts.is_slowed(here, "alice", NOW));
    assert!(accounts.is_slowed(here, "alice@closed", NOW));
    assert!(
        !accounts.is_slowed(here, "alice@open", NOW),
        "somebody else"
    );
}
