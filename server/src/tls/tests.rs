//! Files that are right, wrong, and that change while the server runs.

use std::fs;

use super::files::load;
use super::reload::{Seen, Wrong};
use super::testing::{Authority, Files};
use super::*;
use crate::config::{ClientCertificates, ClientName};

/// Some time in 2027, when the certificates of these tests are valid.
const NOW_SECS: i64 = 1_800_000_000;

fn loaded(files: &Files) -> Tls {
    Tls::load(&files.settings, TlsMetrics::default()).unwrap()
}

#[track_caller]
fn check_refused(files: &Files, parts: &[&str]) {
    let message = check(&files.settings).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

fn look(tls: &Tls, wrong: &mut Option<Wrong>) -> Seen {
    tls.look_again(wrong, clock::unix_ms())
}

#[test]
fn wrong_files_are_named_with_what_to_do() {
    let authority = Authority::new();
    let files = Files::new("wrong");
    check_refused(&files, &["tls.certificate", "server.pem", "cannot read"]);
    fs::write(&files.settings.certificate, "no certificate").unwrap();
    fs::write(&files.settings.key, "no key").unwrap();
    check_refused(&files, &["tls.certificate", "holds no certificate in PEM"]);
    files.write_certificate(&authority.server(false));
    check_refused(&files, &["tls.key", "holds no private key in PEM"]);
    files.write_server(&authority.server(false));
    assert!(check(&files.settings).is_ok());
    files.write_certificate(&authority.server(false));
    check_refused(&files, &["is not the key of the first certificate"]);
    files.write_server(&authority.server(true));
    check_refused(&files, &["expired on 2001-02-03", "renew it"]);
    // The doors without TLS are worth a start.
    loaded(&files);
}

#[test]
fn client_authorities_are_read_only_when_clients_are_asked() {
    let authority = Authority::new();
    let mut files = Files::with("authorities", &authority, ClientCertificates::Off);
    fs::write(&files.settings.client_ca, "nothing").unwrap();
    assert!(check(&files.settings).is_ok());
    files.settings.client_certificates = ClientCertificates::Required;
    check_refused(&files, &["tls.client_ca", "holds no certificate"]);
}

#[test]
fn a_new_certificate_is_taken_and_a_broken_one_is_told_once() {
    let authority = Authority::new();
    let files = Files::with("reload", &authority, ClientCertificates::Off);
    let tls = loaded(&files);
    let first = tls.for_clients();
    let mut wrong = None;
    assert!(matches!(look(&tls, &mut wrong), Seen::Unchanged));

    // The certificate is there before its key.
    let renewed = authority.server(false);
    files.write_certificate(&renewed);
    assert!(matches!(
        look(&tls, &mut wrong),
        Seen::Kept(TlsError::Mismatch { .. })
    ));
    assert!(matches!(look(&tls, &mut wrong), Seen::Unchanged));
    assert!(Arc::ptr_eq(&first, &tls.for_clients()));

    files.write_server(&renewed);
    assert!(matches!(look(&tls, &mut wrong), Seen::Taken));
    assert!(!Arc::ptr_eq(&first, &tls.for_clients()));

    files.write_server(&authority.server(true));
    assert!(matches!(
        look(&tls, &mut wrong),
        Seen::Kept(TlsError::Expired { .. })
    ));
    fs::remove_file(&files.settings.key).unwrap();
    assert!(matches!(
        look(&tls, &mut wrong),
        Seen::Kept(TlsError::Read { .. })
    ));
    assert!(matches!(look(&tls, &mut wrong), Seen::Unchanged));
}

#[test]
fn tickets_outlive_a_new_certificate_and_not_new_authorities() {
    let authority = Authority::new();
    let files = Files::with("tickets", &authority, ClientCertificates::Optional);
    let first = load(&files.settings, None).unwrap();
    let ticket = first.clients.ticketer.encrypt(b"login").unwrap();
    files.write_server(&authority.server(false));
    let renewed = load(&files.settings, Some(&first)).unwrap();
    let opened = renewed.clients.ticketer.decrypt(&ticket);
    assert_eq!(opened.as_deref(), Some(&b"login"[..]));
    assert_eq!(renewed.api.ticketer.decrypt(&ticket), None);
    files.write_authority(&Authority::new());
    let distrustful = load(&files.settings, Some(&renewed)).unwrap();
    assert_eq!(distrustful.clients.ticketer.decrypt(&ticket), None);
}

#[test]
fn a_certificate_names_its_user_in_one_place() {
    let authority = Authority::new();
    let name =
        |place, common: &str, mail| user_of(&authority.client(common, mail).der(), place, NOW_SECS);
    let (cn, email) = (ClientName::CommonName, ClientName::Email);
    let alice = || Ok("alice@org_abc".to_owned());
    assert_eq!(name(cn, "alice@org_abc", Some("bob@org_abc")), alice());
    assert_eq!(name(email, "bob", Some("alice@org_abc")), alice());
    assert_eq!(name(email, "alice@org_abc", None), Err(NotNamed::Nobody));
    assert_eq!(name(cn, "", None), Err(NotNamed::Nobody));
    assert_eq!(name(cn, "alice\u{0}@org_abc", None), Err(NotNamed::Nobody));
    assert_eq!(
        user_of(b"no certificate", cn, NOW_SECS),
        Err(NotNamed::Nobody)
    );
}

#[test]
fn a_certificate_out_of_its_time_logs_nobody_in() {
    let authority = Authority::new();
    let place = ClientName::CommonName;
    let expired = authority.server(true).der();
    assert_eq!(user_of(&expired, place, NOW_SECS), Err(NotNamed::OutOfTime));
    let valid = authority.client("alice@org_abc", None).der();
    assert!(user_of(&valid, place, NOW_SECS).is_ok());
    assert_eq!(user_of(&valid, place, 0), Err(NotNamed::OutOfTime));
}
