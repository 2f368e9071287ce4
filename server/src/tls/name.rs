//! The user that a client's certificate names.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::ClientName;

/// A certificate whose owner has no name where one is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate names no user")]
pub struct NoName;

/// The name in a certificate (DER) whose signature has been verified. It is a login text:
/// `name@org_id`, or a name alone.
///
/// # Errors
/// [`NoName`] if there is none, or if there are two common names, of which either might be meant.
pub fn user_of(certificate: &[u8], place: ClientName) -> Result<String, NoName> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| NoName)?;
    let name = match place {
        ClientName::CommonName => {
            let mut names = certificate.subject().iter_common_name();
            let first = names.next().and_then(|name| name.as_str().ok());
            match names.next() {
                None => first,
                Some(_) => None,
            }
        }
        ClientName::Email => {
            let names = certificate.subject_alternative_name().ok().flatten();
            let names = names.ok_or(NoName)?.value.general_names.iter();
            names.into_iter().find_map(|name| match name {
                GeneralName::RFC822Name(address) => Some(*address),
                _ => None,
            })
        }
    };
    match name {
        // A name in CONNECT has no control characters either (MQTT 5 §1.5.4).
        Some(name) if !name.is_empty() && !name.contains(char::is_control) => Ok(name.to_owned()),
        _ => Err(NoName),
    }
}
