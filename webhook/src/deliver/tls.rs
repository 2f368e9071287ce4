//! Whom TLS trusts: the public authorities, built in, and the operator's own.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, version},
};

pub(super) fn connector(authorities_pem: &[u8]) -> Result<TlsConnector, AuthorityError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for certificate in CertificateDer::pem_slice_iter(authorities_pem) {
        let certificate = certificate.map_err(|error| AuthorityError::Pem(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| AuthorityError::Certificate(error.to_string()))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .expect("ring has cipher suites for TLS 1.2 and 1.3");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Why the operator's own authorities cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AuthorityError {
    /// The text is not PEM.
    #[error("authorities are not PEM: {0}")]
    Pem(String),
    /// A certificate is not an authority's.
    #[error("a certificate is not an authority's: {0}")]
    Certificate(String),
}
