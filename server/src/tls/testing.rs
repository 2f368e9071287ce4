//! An authority that signs certificates for tests, and files of its own for each test.

use std::fs;
use std::path::PathBuf;

use data_encoding::BASE64_MIME;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::config::{ClientCertificates, TlsConfig};

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl Pair {
    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }
}

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = common_name("an authority of tests");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// A server's certificate for `localhost`, valid for years or expired for long.
    pub(crate) fn server(&self, is_expired: bool) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        if is_expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 2, 3);
        }
        self.sign(params)
    }

    /// A client's certificate with this common name, and this mail address if any.
    pub(crate) fn client(&self, name: &str, mail: Option<&str>) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = common_name(name);
        let address = mail.map(|mail| SanType::Rfc822Name(mail.try_into().unwrap()));
        params.subject_alt_names.extend(address);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate, key }
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// The three files of `[tls]`, removed when the test ends.
pub(crate) struct Files {
    dir: PathBuf,
    pub(crate) settings: TlsConfig,
}

impl Files {
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("whosthere-tls-{test}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let settings = TlsConfig {
            certificate: dir.join("server.pem"),
            key: dir.join("server.key"),
            client_ca: dir.join("clients.pem"),
            ..TlsConfig::default()
        };
        Self { dir, settings }
    }

    /// Files of a server that asks clients for certificates as told.
    pub(crate) fn with(test: &str, authority: &Authority, asks: ClientCertificates) -> Self {
        let mut files = Self::new(test);
        files.settings.client_certificates = asks;
        files.write_server(&authority.server(false));
        files.write_authority(authority);
        files
    }

    pub(crate) fn write_server(&self, pair: &Pair) {
        self.write_certificate(pair);
        let text = pem("PRIVATE KEY", &pair.key.serialize_der());
        fs::write(&self.settings.key, text).unwrap();
    }

    pub(crate) fn write_certificate(&self, pair: &Pair) {
        let text = pem("CERTIFICATE", &pair.der());
        fs::write(&self.settings.certificate, text).unwrap();
    }

    pub(crate) fn write_authority(&self, authority: &Authority) {
        let text = pem("CERTIFICATE", &authority.der());
        fs::write(&self.settings.client_ca, text).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = BASE64_MIME.encode(der);
    format!("-----BEGIN {kind}-----\n{text}-----END {kind}-----\n")
}
