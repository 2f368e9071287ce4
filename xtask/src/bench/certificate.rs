//! A certificate for the servers under test, and who trusts it.
//!
//! It signs itself; P-256, as most certificates of today.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use data_encoding::BASE64_MIME;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The name that it is for.
pub(super) const NAME: &str = "localhost";

/// A certificate and its key, in files that go with it.
pub(super) struct Certificate {
    directory: TempDir,
    trusting: Arc<ClientConfig>,
}

impl Certificate {
    pub(super) fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
        let directory = tempfile::tempdir()?;
        let this = |name| directory.path().join(name);
        write_pem(&this("chain.pem"), "CERTIFICATE", certificate.der())?;
        write_pem(&this("key.pem"), "PRIVATE KEY", &key.serialize_der())?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone())?;
        let mut trusting = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each client is one that comes for the first time.
        trusting.resumption = Resumption::disabled();
        Ok(Self {
            directory,
            trusting: Arc::new(trusting),
        })
    }

    /// The paths of the certificate and of its key.
    pub(super) fn files(&self) -> (PathBuf, PathBuf) {
        let path = |name| self.directory.path().join(name);
        (path("chain.pem"), path("key.pem"))
    }

    /// The settings of clients that trust it.
    pub(super) fn trusting(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.trusting)
    }
}

fn write_pem(path: &Path, label: &str, der: &[u8]) -> Result<()> {
    let body = BASE64_MIME.encode(der);
    let text = format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n");
    Ok(fs::write(path, text)?)
}
