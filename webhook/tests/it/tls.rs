//! TLS to receivers: who is trusted and who is not.

use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd, generate_simple_self_signed};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring},
};
use webhook::{
    deliver::{AuthorityError, Client, Signing, SystemResolver},
    outcome::{DownReason, Outcome},
};

use crate::{
    DELIVERED, allowing, client_with, deliver,
    receiver::{Receiver, Seen, ok, talk},
    settings,
};

fn certificate(name: &str) -> CertifiedKey<KeyPair> {
    generate_simple_self_signed([name.to_owned()]).unwrap()
}

fn pem(certificate: &CertifiedKey<KeyPair>) -> String {
    let text = BASE64.encode(certificate.cert.der());
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// Serves one request over TLS with `certificate`; gives the port.
async fn receiver(certificate: &CertifiedKey<KeyPair>) -> u16 {
    let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.cert.der().clone()],
            PrivateKeyDer::from(key),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let acts = Mutex::new(vec![ok()].into_iter());
        let Ok(tls) = acceptor.accept(tcp).await else {
            return;
        };
        talk(tls, &acts, &Mutex::new(Seen::default())).await.ok();
    });
    port
}

async fn outcome(port: u16, authorities_pem: &[u8]) -> Outcome {
    let policy = allowing("127.0.0.0/8");
    let client = client_with(
        settings(),
        policy,
        authorities_pem,
        Arc::new(SystemResolver),
    );
    let url = format!("https://localhost:{port}/");
    deliver(&client.endpoint(&url, Signing::default()).unwrap()).await
}

#[track_caller]
fn assert_tls_failure(outcome: &Outcome) {
    let failed = matches!(
        outcome,
        Outcome::Down {
            why: DownReason::Tls(_),
            ..
        }
    );
    assert!(failed, "{outcome:?}");
}

#[tokio::test]
async fn a_receiver_of_the_operators_own_authority_is_trusted() {
    let certificate = certificate("localhost");
    let port = receiver(&certificate).await;
    assert_eq!(outcome(port, pem(&certificate).as_bytes()).await, DELIVERED);
}

#[tokio::test]
async fn a_receiver_of_no_known_authority_is_not_trusted() {
    let port = receiver(&certificate("localhost")).await;
    assert_tls_failure(&outcome(port, b"").await);
}

#[tokio::test]
async fn a_receiver_of_another_name_is_not_trusted() {
    let certificate = certificate("receiver.example");
    let port = receiver(&certificate).await;
    assert_tls_failure(&outcome(port, pem(&certificate).as_bytes()).await);
}

#[tokio::test]
async fn a_receiver_whose_certificate_is_over_is_not_trusted() {
    let signing_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2020, 1, 1);
    let cert = params.self_signed(&signing_key).unwrap();
    let certificate = CertifiedKey { cert, signing_key };
    let port = receiver(&certificate).await;
    assert_tls_failure(&outcome(port, pem(&certificate).as_bytes()).await);
}

#[tokio::test]
async fn a_receiver_without_tls_is_not_spoken_to() {
    let receiver = Receiver::start(vec![ok()]).await;
    let settings = crate::hasty();
    let client = client_with(
        settings,
        allowing("127.0.0.0/8"),
        b"",
        Arc::new(SystemResolver),
    );
    let url = format!("https://localhost:{}/", receiver.port);
    let outcome = deliver(&client.endpoint(&url, Signing::default()).unwrap()).await;
    assert!(matches!(outcome, Outcome::Down { .. }), "{outcome:?}");
    assert!(receiver.requests().is_empty());
}

#[test]
fn authorities_that_are_none_are_found() {
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let policy = allowing("127.0.0.0/8");
    let error = Client::new(settings(), policy, broken).unwrap_err();
    assert!(matches!(error, AuthorityError::Certificate(_)), "{error:?}");
}
