//! Certificates of the doors that speak TLS. `whosthere.default.toml` says why each default is what
//! it is and what happens at the limit.

use std::path::PathBuf;

use serde::Deserialize;

/// The `[tls]` table. The files themselves are read by [`crate::tls`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate and those between it and its authority, PEM; empty for none.
    pub certificate: PathBuf,
    /// The certificate's private key, PEM; empty for none.
    pub key: PathBuf,
    /// The oldest version that is spoken.
    pub version_min: TlsVersion,
    /// Whether clients of MQTT show a certificate.
    pub client_certificates: ClientCertificates,
    /// The authorities of clients' certificates, PEM; empty for none.
    pub client_ca: PathBuf,
    /// Where in a client's certificate its user stands.
    pub client_name: ClientName,
    /// Bytes that a client may send until its handshake is complete.
    pub handshake_bytes_max: usize,
    /// How often the files are looked at, seconds.
    pub reload_secs: u64,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3, RFC 8446.
    #[serde(rename = "1.3")]
    V13,
}

/// Whether clients of MQTT show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// None is asked for.
    Off,
    /// One that is shown is a login; a client without one logs in as ever.
    Optional,
    /// A client without one is refused in the handshake.
    Required,
}

/// Where in a certificate the user's name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientName {
    /// The common name (CN) of the subject.
    CommonName,
    /// The first mail address among the alternative names (RFC 5280 §4.2.1.6).
    Email,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            version_min: TlsVersion::V12,
            client_certificates: ClientCertificates::Off,
            client_ca: PathBuf::new(),
            client_name: ClientName::CommonName,
            handshake_bytes_max: 65_536,
            reload_secs: 10,
        }
    }
}
