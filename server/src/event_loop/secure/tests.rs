//! A client of rustls on the other side, without sockets: whole conversations, byte by byte, and
//! peers that do not keep to TLS.

use std::io::{Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use rustls_pki_types::ServerName;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::config::{ClientCertificates, TlsVersion};
use crate::tls::testing::{Authority, Files, Pair};
use crate::tls::{Tls, TlsMetrics};

const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;

/// A server's certificates, and clients that trust them.
struct Scene {
    authority: Authority,
    files: Files,
}

impl Scene {
    fn new(test: &str, asks: ClientCertificates) -> Self {
        let authority = Authority::new();
        let files = Files::with(test, &authority, asks);
        Self { authority, files }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let tls = Tls::load(&self.files.settings, TlsMetrics::default()).unwrap();
        tls.for_clients()
    }

    fn client(&self, own: Option<&Pair>, versions: &[&'static Version]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.der()], own.key_der())
                .unwrap(),
        })
    }
}

type Version = tokio_rustls::rustls::SupportedProtocolVersion;

/// Both ends of one connection.
struct Conversation {
    server: Secure,
    client: ClientConnection,
    /// What the server has understood.
    heard: Vec<u8>,
    shook_hands: Option<HandshakeKind>,
    is_closed: bool,
}

impl Conversation {
    fn new(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            server: Secure::new(Arc::clone(server)).unwrap(),
            client: ClientConnection::new(Arc::clone(client), name).unwrap(),
            heard: Vec::new(),
            shook_hands: None,
            is_closed: false,
        }
    }

    /// Lets all bytes pass in both directions, those to the server in pieces of these sizes.
    fn pass(&mut self, sizes: &mut dyn Iterator<Item = usize>) -> Result<(), Broken> {
        loop {
            let mut to_server = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut to_server).unwrap();
            }
            let mut left = &mut to_server[..];
            while !left.is_empty() {
                let size = sizes.next().unwrap_or(usize::MAX).clamp(1, left.len());
                let (piece, rest) = left.split_at_mut(size);
                let received = self
                    .server
                    .receive(piece, HANDSHAKE_BYTES_MAX, &mut self.heard)?;
                self.shook_hands = self.shook_hands.or(received.shook_hands);
                self.is_closed |= received.is_closed;
                left = rest;
            }
            let to_client = self.server.sealed.split();
            let mut to_client = &to_client[..];
            while !to_client.is_empty() {
                self.client.read_tls(&mut to_client).unwrap();
                let _ = self.client.process_new_packets();
            }
            if !self.client.wants_write() && self.server.sealed.is_empty() {
                return Ok(());
            }
        }
    }

    fn pass_all(&mut self) -> Result<(), Broken> {
        self.pass(&mut std::iter::empty())
    }

    fn client_heard(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        // It fails once everything is read.
        let _ = self.client.reader().read_to_end(&mut heard);
        heard
    }
}

fn both() -> Vec<&'static Version> {
    vec![&TLS13, &TLS12]
}

#[test]
fn both_versions_carry_words_in_both_directions_and_leave_no_buffer() {
    let scene = Scene::new("words", ClientCertificates::Off);
    let server = scene.server();
    for version in both() {
        let mut talk = Conversation::new(&server, &scene.client(None, &[version]));
        talk.client.writer().write_all(b"CONNECT").unwrap();
        talk.pass_all().unwrap();
        assert_eq!(talk.heard, b"CONNECT");
        assert_eq!(talk.shook_hands, Some(HandshakeKind::Full));
        let long = vec![7; RECORD_BYTES_MAX];
        talk.server.seal(b"CONNACK").unwrap();
        talk.server.seal(&long).unwrap();
        talk.pass_all().unwrap();
        assert_eq!(talk.client_heard(), [&b"CONNACK"[..], &long].concat());
        assert_eq!(talk.server.held.capacity(), 0);
    }
}

#[test]
fn a_client_that_comes_back_shakes_hands_by_ticket() {
    let scene = Scene::new("resumed", ClientCertificates::Off);
    let server = scene.server();
    for version in both() {
        let client = scene.client(None, &[version]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut talk = Conversation::new(&server, &client);
            talk.pass_all().unwrap();
            assert_eq!(talk.shook_hands, Some(kind));
        }
    }
}

#[test]
fn a_goodbye_is_said_once_and_a_peers_goodbye_is_heard() {
    let scene = Scene::new("goodbye", ClientCertificates::Off);
    let mut talk = Conversation::new(&scene.server(), &scene.client(None, &both()));
    // Nothing is said before the handshake.
    talk.server.say_goodbye();
    assert!(talk.server.sealed.is_empty());
    talk.pass_all().unwrap();
    talk.client.writer().write_all(b"DISCONNECT").unwrap();
    talk.client.send_close_notify();
    talk.pass_all().unwrap();
    assert_eq!(talk.heard, b"DISCONNECT");
    assert!(talk.is_closed);
    talk.server.seal(b"a last word").unwrap();
    talk.server.say_goodbye();
    let length = talk.server.sealed.len();
    talk.server.say_goodbye();
    assert_eq!(talk.server.sealed.len(), length);
    talk.pass_all().unwrap();
    assert_eq!(talk.client_heard(), b"a last word");
    assert!(talk.server.seal(b"after the last word").is_err());
}

#[test]
fn plain_words_and_garbage_get_an_alert() {
    let scene = Scene::new("garbage", ClientCertificates::Off);
    let server = scene.server();
    let words: [&[u8]; 3] = [
        b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
    ];
    for words in words {
        let mut secure = Secure::new(Arc::clone(&server)).unwrap();
        let mut plain = Vec::new();
        let received = secure.receive(&mut words.to_vec(), HANDSHAKE_BYTES_MAX, &mut plain);
        assert!(matches!(received, Err(Broken::Tls(_))), "{received:?}");
        // A fatal alert (RFC 8446 §6).
        assert_eq!((secure.sealed[0], secure.sealed[5]), (21, 2));
        assert!(plain.is_empty());
    }
}

#[test]
fn a_version_below_the_least_is_refused() {
    let mut scene = Scene::new("version", ClientCertificates::Off);
    scene.files.settings.version_min = TlsVersion::V13;
    let server = scene.server();
    let mut old = Conversation::new(&server, &scene.client(None, &[&TLS12]));
    assert!(matches!(old.pass_all(), Err(Broken::Tls(_))));
    let mut new = Conversation::new(&server, &scene.client(None, &[&TLS13]));
    new.pass_all().unwrap();
}

#[test]
fn a_handshake_is_bounded() {
    let scene = Scene::new("bounded", ClientCertificates::Off);
    let mut secure = Secure::new(scene.server()).unwrap();
    let mut plain = Vec::new();
    // A ClientHello of 60,000 bytes in records that are all right.
    let mut record = vec![22, 3, 1, 0x10, 0];
    record.extend([0; 0x1000]);
    record[5..9].copy_from_slice(&[1, 0, 0xea, 0x60]);
    for turn in 0..4 {
        let mut piece = record.clone();
        let received = secure.receive(&mut piece, HANDSHAKE_BYTES_MAX, &mut plain);
        let is_too_long = matches!(received, Err(Broken::TooLong));
        assert_eq!(is_too_long, turn == 3, "{turn}: {received:?}");
        record[5..9].fill(0);
    }
}

#[test]
fn a_certificate_is_required_only_where_it_is_and_only_from_the_authority() {
    let stranger = Authority::new().client("alice@org_abc", None);
    for (asks, without) in [
        (ClientCertificates::Required, false),
        (ClientCertificates::Optional, true),
    ] {
        let scene = Scene::new(&format!("{asks:?}"), asks);
        let server = scene.server();
        let own = scene.authority.client("alice@org_abc", None);
        for version in both() {
            let talk = |own| {
                let mut talk = Conversation::new(&server, &scene.client(own, &[version]));
                talk.pass_all().map(|()| talk)
            };
            assert_eq!(talk(None).is_ok(), without);
            assert!(talk(Some(&stranger)).is_err());
            let known = talk(Some(&own)).unwrap();
            assert_eq!(known.server.client_certificate(), Some(&own.der()));
        }
    }
}

#[test]
fn a_resumed_connection_still_knows_the_certificate() {
    let scene = Scene::new("resumed-own", ClientCertificates::Required);
    let server = scene.server();
    let own = scene.authority.client("alice@org_abc", None);
    let client = scene.client(Some(&own), &both());
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut talk = Conversation::new(&server, &client);
        talk.pass_all().unwrap();
        assert_eq!(talk.shook_hands, Some(kind));
        assert_eq!(talk.server.client_certificate(), Some(&own.der()));
    }
}

#[test]
fn new_keys_may_come_at_any_time() {
    let scene = Scene::new("keys", ClientCertificates::Off);
    let mut talk = Conversation::new(&scene.server(), &scene.client(None, &[&TLS13]));
    talk.pass_all().unwrap();
    talk.client.refresh_traffic_keys().unwrap();
    talk.client.writer().write_all(b"with new keys").unwrap();
    talk.pass(&mut std::iter::repeat(1)).unwrap();
    talk.server.seal(b"an answer").unwrap();
    talk.pass_all().unwrap();
    assert_eq!(talk.heard, b"with new keys");
    assert_eq!(talk.client_heard(), b"an answer");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Wherever the network cuts, the same is understood, also if an answer is sealed while a record
    /// is half there.
    #[test]
    fn cuts_change_nothing(
        sizes in prop::collection::vec(1_usize..400, 1..200),
        words in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..6),
        is_new in any::<bool>(),
    ) {
        let scene = Scene::new("cuts", ClientCertificates::Off);
        let version = if is_new { &TLS13 } else { &TLS12 };
        let mut talk = Conversation::new(&scene.server(), &scene.client(None, &[version]));
        let mut sizes = sizes.into_iter().cycle();
        talk.pass(&mut sizes).unwrap();
        for words in &words {
            talk.client.writer().write_all(words).unwrap();
            talk.pass(&mut sizes).unwrap();
            talk.server.seal(words).unwrap();
        }
        talk.pass(&mut sizes).unwrap();
        prop_assert_eq!(&talk.heard, &words.concat());
        prop_assert_eq!(talk.client_heard(), words.concat());
    }

    /// Whatever comes after or instead of a handshake, there is an end and no panic.
    #[test]
    fn garbage_at_any_time_is_survived(
        before in 0_usize..2000,
        garbage in prop::collection::vec(any::<u8>(), 1..600),
        kind in 20_u8..24,
        has_header in any::<bool>(),
    ) {
        let scene = Scene::new("survived", ClientCertificates::Off);
        let mut talk = Conversation::new(&scene.server(), &scene.client(None, &both()));
        let mut bytes = Vec::new();
        if before > 1000 {
            talk.pass_all().unwrap();
        } else {
            talk.client.write_tls(&mut bytes).unwrap();
            bytes.truncate(before);
        }
        if has_header {
            let length = u16::try_from(garbage.len()).unwrap().to_be_bytes();
            bytes.extend([kind, 3, 3, length[0], length[1]]);
        }
        bytes.extend(&garbage);
        for piece in bytes.chunks_mut(97) {
            if talk.server.receive(piece, HANDSHAKE_BYTES_MAX, &mut talk.heard).is_err() {
                break;
            }
            if talk.server.is_established() {
                let _ = talk.server.seal(b"anything");
            }
        }
        talk.server.say_goodbye();
    }
}
