//! From PEM files to configurations. Everything that can be wrong is found here, before a client
//! meets it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    Error, RootCertStore, ServerConfig, SupportedProtocolVersion, server::danger,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{ClientCertificates, TlsConfig, TlsVersion};
use crate::small_file;

/// A chain of certificates has some kilobytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// One ticket, since an MQTT client has one connection at a time.
const TICKETS: usize = 1;

/// Why the files cannot be used: a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("tls.{key}: cannot read {}: {source}", path.display())]
    Read {
        /// The key in `[tls]`.
        key: &'static str,
        /// What it is set to.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is not PEM, or holds nothing of the kind.
    #[error("tls.{key}: {} holds no {expected} in PEM (\"-----BEGIN …\"): {why}", path.display())]
    Empty {
        /// The key in `[tls]`.
        key: &'static str,
        /// What it is set to.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A certificate or key is damaged, or of a kind that is not spoken.
    #[error("tls.{key}: {} cannot be used: {why}", path.display())]
    Unusable {
        /// The key in `[tls]`.
        key: &'static str,
        /// What it is set to.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "tls.key: {} is not the key of the first certificate in {}; the server's own certificate \
         comes first, and both files change together", key.display(), certificate.display()
    )]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The certificate's time is over.
    #[error("tls.certificate: {} expired on {since}; renew it", path.display())]
    Expired {
        /// Its file.
        path: PathBuf,
        /// When it ended.
        since: String,
    },
    /// The certificate's time has not come.
    #[error(
        "tls.certificate: {} is not valid before {until}; is the clock right?", path.display()
    )]
    Early {
        /// Its file.
        path: PathBuf,
        /// When it begins.
        until: String,
    },
}

/// From when to when a certificate is valid. Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before_secs: i64,
    /// The last second.
    pub not_after_secs: i64,
}

impl Validity {
    pub(super) fn check(self, path: &Path, now_ms: u64) -> Result<(), TlsError> {
        let now_secs = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        let path = path.to_owned();
        if now_secs > self.not_after_secs {
            let since = date(self.not_after_secs);
            return Err(TlsError::Expired { path, since });
        }
        if now_secs < self.not_before_secs {
            let until = date(self.not_before_secs);
            return Err(TlsError::Early { path, until });
        }
        Ok(())
    }

    /// The last day.
    #[must_use]
    pub fn last_day(self) -> String {
        date(self.not_after_secs)
    }
}

fn date(secs: i64) -> String {
    DateTime::from_timestamp(secs, 0).map_or_else(|| "?".into(), |at| at.date_naive().to_string())
}

/// What the files came to.
pub(super) struct Loaded {
    pub(super) clients: Arc<ServerConfig>,
    pub(super) api: Arc<ServerConfig>,
    pub(super) validity: Validity,
    pub(super) prints: Prints,
    tickets: Arc<dyn ProducesTickets>,
}

/// Tells whether a file has changed, without keeping what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prints {
    server: [u8; 32],
    client_ca: [u8; 32],
}

/// The files as they are now.
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

impl Texts {
    fn read(settings: &TlsConfig) -> Result<Self, TlsError> {
        let asks = settings.client_certificates != ClientCertificates::Off;
        Ok(Self {
            certificate: read("certificate", &settings.certificate)?,
            key: read("key", &settings.key)?,
            client_ca: if asks {
                read("client_ca", &settings.client_ca)?
            } else {
                Vec::new()
            },
        })
    }

    fn prints(&self) -> Prints {
        let server = Sha256::new()
            .chain_update(&self.certificate)
            .chain_update(&self.key);
        Prints {
            server: server.finalize().into(),
            client_ca: Sha256::digest(&self.client_ca).into(),
        }
    }
}

/// What the files hold now, without looking into them.
pub(super) fn prints(settings: &TlsConfig) -> Result<Prints, TlsError> {
    Ok(Texts::read(settings)?.prints())
}

/// Reads everything anew. `before` is what is in use: its tickets stay good unless the authorities
/// of clients have changed.
pub(super) fn load(settings: &TlsConfig, before: Option<&Loaded>) -> Result<Loaded, TlsError> {
    let texts = Texts::read(settings)?;
    let prints = texts.prints();
    let provider = Arc::new(ring::default_provider());
    let tickets = match before {
        Some(before) if before.prints.client_ca == prints.client_ca => Arc::clone(&before.tickets),
        _ => ring::Ticketer::new().map_err(|error| unusable("key", &settings.key, &error))?,
    };
    let own = Arc::new(certified(settings, &texts, &provider)?);
    let verifier = verifier(settings, &texts, &provider)?;
    let versions = versions(settings.version_min);
    let config = |verifier: Option<Arc<dyn danger::ClientCertVerifier>>| {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("ring has cipher suites for TLS 1.2 and 1.3");
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Own(Arc::clone(&own))));
        config.ticketer = Arc::clone(&tickets);
        config.send_tls13_tickets = TICKETS;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config
    };
    let mut api = config(None);
    api.alpn_protocols = vec![b"http/1.1".to_vec()];
    // What logs a client in at one door says nothing at the other.
    api.ticketer = ring::Ticketer::new().map_err(|error| unusable("key", &settings.key, &error))?;
    Ok(Loaded {
        clients: Arc::new(config(verifier)),
        api: Arc::new(api),
        validity: validity(settings, &own.cert[0])?,
        prints,
        tickets,
    })
}

/// One certificate, whatever name a client asks for.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl tokio_rustls::rustls::server::ResolvesServerCert for Own {
    fn resolve(
        &self,
        _hello: tokio_rustls::rustls::server::ClientHello<'_>,
    ) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match least {
        TlsVersion::V12 => &VERSIONS,
        TlsVersion::V13 => &VERSIONS[..1],
    }
}

fn certified(
    settings: &TlsConfig,
    texts: &Texts,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificates("certificate", &settings.certificate, &texts.certificate)?;
    let key =
        PrivateKeyDer::from_pem_slice(&texts.key).map_err(|error: pem::Error| TlsError::Empty {
            key: "key",
            path: settings.key.clone(),
            expected: "private key",
            why: error.to_string(),
        })?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| unusable("key", &settings.key, &error))?;
    let own = CertifiedKey::new(chain, key);
    match own.keys_match() {
        Ok(()) => Ok(own),
        Err(Error::InconsistentKeys(_)) => Err(TlsError::Mismatch {
            key: settings.key.clone(),
            certificate: settings.certificate.clone(),
        }),
        Err(error) => Err(unusable("certificate", &settings.certificate, &error)),
    }
}

fn verifier(
    settings: &TlsConfig,
    texts: &Texts,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn danger::ClientCertVerifier>>, TlsError> {
    if settings.client_certificates == ClientCertificates::Off {
        return Ok(None);
    }
    let path = &settings.client_ca;
    let mut roots = RootCertStore::empty();
    for authority in certificates("client_ca", path, &texts.client_ca)? {
        let added = roots.add(authority);
        added.map_err(|error| unusable("client_ca", path, &error))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match settings.client_certificates {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Off | ClientCertificates::Required => builder,
    };
    let built = builder.build();
    let verifier = built.map_err(|error| unusable("client_ca", path, &error))?;
    Ok(Some(verifier))
}

fn validity(settings: &TlsConfig, certificate: &CertificateDer<'_>) -> Result<Validity, TlsError> {
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|error| unusable("certificate", &settings.certificate, &error))?;
    let validity = certificate.validity();
    Ok(Validity {
        not_before_secs: validity.not_before.timestamp(),
        not_after_secs: validity.not_after.timestamp(),
    })
}

fn certificates(
    key: &'static str,
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let empty = |why: String| TlsError::Empty {
        key,
        path: path.to_owned(),
        expected: "certificate",
        why,
    };
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    let certificates = read.map_err(|error| empty(error.to_string()))?;
    if certificates.is_empty() {
        return Err(empty("there is none".into()));
    }
    Ok(certificates)
}

fn unusable(key: &'static str, path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable {
        key,
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    small_file::read(path, FILE_BYTES_MAX).map_err(|source| TlsError::Read {
        key,
        path: path.to_owned(),
        source,
    })
}
