//! The user that a client's certificate names.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::ClientName;

/// Why a certificate logs nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNamed {
    /// Its owner has no name where one is looked for.
    #[error("the certificate names no user")]
    Nobody,
    /// Its time is over, or has not come. Handshakes fail for that, but a session that is resumed is
    /// not asked for its certificate again.
    #[error("the certificate has expired or is not valid yet")]
    OutOfTime,
}

/// The name in a certificate (DER) whose signature has been verified. It is a login text:
/// `name@org_id`, or a name alone. `now_secs` is Unix time.
///
/// # Errors
/// [`NotNamed::Nobody`] also if there are two common names, of which either might be meant.
pub fn user_of(certificate: &[u8], place: ClientName, now_secs: i64) -> Result<String, NotNamed> {
    let parsed = X509Certificate::from_der(certificate);
    let (_, certificate) = parsed.map_err(|_| NotNamed::Nobody)?;
    let validity = certificate.validity();
    if now_secs < validity.not_before.timestamp() || now_secs > validity.not_after.timestamp() {
        return Err(NotNamed::OutOfTime);
    }
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
            let names = names.ok_or(NotNamed::Nobody)?.value.general_names.iter();
            names.into_iter().find_map(|name| match name {
                GeneralName::RFC822Name(address) => Some(*address),
                _ => None,
            })
        }
    };
    match name {
        // A name in CONNECT has no control characters either (MQTT 5 §1.5.4).
        Some(name) if !name.is_empty() && !name.contains(char::is_control) => Ok(name.to_owned()),
        _ => Err(NotNamed::Nobody),
    }
}
