//! MQTT logins: `name@org_id` and a password.
//!
//! The suffix begins at the last `@`, so names may contain one. An answer does not tell whether
//! a user or an organisation exists: a wrong name, a wrong organisation and a wrong password
//! read the same and cost the same.

use std::fmt;

use super::{Accounts, Digest, OrgIndex};

/// A login that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login<'n> {
    /// The organisation it belongs to.
    pub org: OrgIndex,
    /// The user's name without suffix; at least one byte.
    pub username: &'n str,
}

/// Why a login was refused. `Display` is fit for the reason string of a CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginRefused {
    /// There is no such user, or the password is not the user's.
    UnknownUserOrPassword,
    /// Nothing stands before the `@`, or the client id that was to be the name is empty.
    EmptyName,
    /// The name has no `@org_id`, and no default organisation is set.
    MissingSuffix,
    /// The suffix is not the id of an organisation.
    UnknownOrganisation,
    /// CONNECT had no user name, and the default organisation is not open to all.
    NoUserName,
}

impl LoginRefused {
    /// Whether the login could never be right, so that "bad user name" says more than "not
    /// authorised". Unknown organisations are not among these: that would tell who exists.
    pub fn is_malformed(self) -> bool {
        matches!(
            self,
            Self::EmptyName | Self::MissingSuffix | Self::NoUserName
        )
    }
}

impl fmt::Display for LoginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownUserOrPassword | Self::UnknownOrganisation => {
                "unknown user or wrong password"
            }
            Self::EmptyName => "the user name is empty",
            Self::MissingSuffix => "the user name must end in @ and the organisation id",
            Self::NoUserName => "a user name is required",
        })
    }
}

impl std::error::Error for LoginRefused {}

impl Accounts {
    /// Decides on a CONNECT. `client_id` is the name of a client that gives none, where the
    /// default organisation is open to all; pass the assigned one when the client sent none.
    ///
    /// # Errors
    ///
    /// [`LoginRefused`] says why; do not log the password with it.
    pub fn log_in<'n>(
        &self,
        username: Option<&'n str>,
        password: Option<&[u8]>,
        client_id: &'n str,
    ) -> Result<Login<'n>, LoginRefused> {
        let login = match username {
            Some(text) => self.split(text)?,
            None => self.nameless(client_id)?,
        };
        if login.username.is_empty() {
            return Err(LoginRefused::EmptyName);
        }
        let Some(org) = login.org else {
            self.accepts(None, "", password);
            return Err(LoginRefused::UnknownOrganisation);
        };
        if self.orgs[org.0].open_auth || self.accepts(Some(org), login.username, password) {
            return Ok(Login {
                org,
                username: login.username,
            });
        }
        Err(LoginRefused::UnknownUserOrPassword)
    }

    /// Name and organisation of a login text.
    fn split<'n>(&self, text: &'n str) -> Result<Claim<'n>, LoginRefused> {
        match text.rsplit_once('@') {
            Some((username, id)) => Ok(Claim {
                username,
                org: self.by_id.get(id).copied(),
            }),
            None if text.is_empty() => Err(LoginRefused::EmptyName),
            None => match self.default_org {
                Some(org) => Ok(Claim {
                    username: text,
                    org: Some(org),
                }),
                None => Err(LoginRefused::MissingSuffix),
            },
        }
    }

    /// A client without a user name goes by its client id, where anybody is let in.
    fn nameless<'n>(&self, client_id: &'n str) -> Result<Claim<'n>, LoginRefused> {
        match self.default_org {
            Some(org) if self.orgs[org.0].open_auth => Ok(Claim {
                username: client_id,
                org: Some(org),
            }),
            _ => Err(LoginRefused::NoUserName),
        }
    }

    /// Whether the password is the user's. Hashes and compares also when there is no such user.
    fn accepts(&self, org: Option<OrgIndex>, username: &str, password: Option<&[u8]>) -> bool {
        let given = Digest::of(password.unwrap_or_default());
        let user = org.and_then(|org| self.orgs[org.0].users.get(username));
        let matches = match user {
            Some(user) => user.password == given,
            // The result does not matter, only that it takes as long.
            None => std::hint::black_box(&given) == &NOBODY,
        };
        matches && user.is_some() && password.is_some()
    }
}

/// Compared with when there is no such user.
const NOBODY: Digest = Digest::zero();

/// What a login text claims, before the password is looked at.
struct Claim<'n> {
    username: &'n str,
    /// `None` when the suffix names no organisation.
    org: Option<OrgIndex>,
}
