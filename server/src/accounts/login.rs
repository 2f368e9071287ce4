//! MQTT logins: `name@org_id` and a password.
//!
//! The suffix begins at the last `@`, so names may contain one. An answer does not tell whether
//! a user or an organisation exists: a wrong name, a wrong organisation and a wrong password
//! read the same and cost the same.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;

use super::guesses::Guessed;
use super::tokens::{self, KeySource, TokenFacts, Verdict};
use super::{Accounts, Digest, OrgIndex, Password, StoredHash};
use crate::tls::NotNamed;

/// What is said to a login.
#[derive(Debug)]
pub enum Decision {
    /// Come in.
    Admitted(Admission),
    /// Stay out.
    Refused(LoginRefused),
    /// Finding out takes longer than an event loop may: give it to a verifier, which calls
    /// [`Accounts::check`].
    Check(Check),
}

/// A login that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The organisation it belongs to.
    pub org: OrgIndex,
    /// The user's name without suffix; at least one byte.
    pub username: CompactString,
    /// What the token said, if it was one.
    pub token: Option<Box<TokenFacts>>,
}

/// What is still to be found out.
#[derive(Debug, Clone)]
pub struct Check(Open);

#[derive(Debug, Clone)]
enum Open {
    /// Whether the password is the one that was hashed.
    Stored {
        stored: Arc<StoredHash>,
        /// Who comes in if it is. `None` when nobody does, whatever the password: the check is
        /// made for the time that it takes.
        claimed: Option<Admission>,
    },
    /// Whether a token is right, once keys have been fetched.
    Token {
        org: OrgIndex,
        /// Empty for whomever the token names.
        username: CompactString,
        source: Arc<KeySource>,
        /// How many fetches had ended when it was asked.
        fetches: u64,
    },
}

impl Check {
    /// The keys that it waits for, if they are not here yet.
    pub(crate) fn awaits(&self) -> Option<&Arc<KeySource>> {
        match &self.0 {
            Open::Token {
                source, fetches, ..
            } => (source.fetches() == *fetches).then_some(source),
            Open::Stored { .. } => None,
        }
    }
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
    /// The client's certificate logs nobody in.
    Certificate(NotNamed),
    /// CONNECT names another user than the client's certificate does.
    NotTheCertificates,
    /// CONNECT had no user name, and the default organisation is not open to all.
    NoUserName,
    /// No key of the organisation has signed the token, or it is another user's.
    WrongToken,
    /// The token names a key that no issuer of the organisation has: no guess, since nothing that
    /// is secret here was tried.
    UnknownTokenKey,
    /// The token is signed, but its time is over or has not come.
    TokenOutOfTime,
    /// The token is signed, but a claim is missing or not what is asked for.
    TokenClaims,
    /// The keys that verify tokens could not be fetched.
    NoKeys,
    /// Too many logins from the address were wrong: nobody has looked at this one.
    TooManyGuesses,
}

impl LoginRefused {
    /// Whether it may have been a guess: something secret was wrong.
    pub fn is_guess(self) -> bool {
        matches!(
            self,
            Self::UnknownUserOrPassword | Self::UnknownOrganisation | Self::WrongToken
        )
    }

    /// Whether the token was right, but for what it says: then no other key makes it better.
    fn is_about_signed_token(self) -> bool {
        matches!(self, Self::TokenOutOfTime | Self::TokenClaims)
    }
}

impl fmt::Display for LoginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate(why) => return why.fmt(f),
            Self::UnknownUserOrPassword | Self::UnknownOrganisation => {
                "unknown user or wrong password"
            }
            Self::EmptyName => "the user name is empty",
            Self::MissingSuffix => "the user name must end in @ and the organisation id",
            Self::NotTheCertificates => "the user name is not the certificate's",
            Self::NoUserName => "a user name is required",
            Self::WrongToken => "the token is not valid for this user",
            Self::UnknownTokenKey => "the token is signed by a key that is not known",
            Self::TokenOutOfTime => "the token has expired or is not valid yet",
            Self::TokenClaims => "the token lacks a claim or has a wrong one",
            Self::NoKeys => "tokens cannot be verified now",
            Self::TooManyGuesses => "too many wrong passwords; try again later",
        })
    }
}

impl std::error::Error for LoginRefused {}

impl Accounts {
    /// Whether a login from this address is to be turned away unseen, since too many were wrong.
    /// `login` is the user name of CONNECT.
    pub fn is_slowed(&self, address: Option<IpAddr>, login: &str, now_secs: u64) -> bool {
        let user = self.guessed(login);
        self.guesses.is_slowed(address, &user, now_secs)
    }

    /// Counts a login that was wrong.
    pub fn count_guess(&self, address: Option<IpAddr>, login: &str, now_secs: u64) {
        let user = self.guessed(login);
        self.guesses.count(address, &user, now_secs);
    }

    /// The user whom a login is about, however it is written.
    fn guessed<'n>(&self, login: &'n str) -> Guessed<'n> {
        let claim = self.split(login);
        let of = |Claim { username, org }| Guessed { org, username };
        claim.map_or(
            Guessed {
                org: None,
                username: login,
            },
            of,
        )
    }

    /// Decides on a CONNECT, in microseconds. `client_id` is the name of a client that gives none,
    /// where the default organisation is open to all; pass the assigned one when the client sent
    /// none. `now_secs` is Unix time.
    pub fn log_in(
        &self,
        username: Option<&str>,
        password: Option<&[u8]>,
        client_id: &str,
        now_secs: u64,
    ) -> Decision {
        let claim = match username {
            Some(text) => self.split(text),
            None => self.nameless(client_id),
        };
        match claim {
            Err(refused) => Decision::Refused(refused),
            Ok(claim) => self
                .judge_token(&claim, password, now_secs, true)
                .unwrap_or_else(|| self.judge(&claim, password, now_secs)),
        }
    }

    /// Makes a check that [`Accounts::log_in`] has asked for. Takes milliseconds.
    ///
    /// # Errors
    ///
    /// When the password is not the user's.
    pub fn check(
        &self,
        check: Check,
        password: Option<&[u8]>,
        now_secs: u64,
    ) -> Result<Admission, LoginRefused> {
        match check.0 {
            Open::Stored { stored, claimed } => {
                self.check_stored(&stored, claimed, password, now_secs)
            }
            Open::Token { org, username, .. } => {
                let claim = Claim {
                    username: &username,
                    org: Some(org),
                };
                match self.judge_token(&claim, password, now_secs, false) {
                    Some(Decision::Admitted(admission)) => Ok(admission),
                    Some(Decision::Refused(refused)) => Err(refused),
                    // It waits for nothing, and was a token before.
                    Some(Decision::Check(_)) | None => Err(LoginRefused::WrongToken),
                }
            }
        }
    }

    fn check_stored(
        &self,
        stored: &StoredHash,
        claimed: Option<Admission>,
        password: Option<&[u8]>,
        now_secs: u64,
    ) -> Result<Admission, LoginRefused> {
        let password = password.unwrap_or_default();
        let fingerprint = claimed.as_ref().map(|claimed| {
            let stored = stored.as_str();
            self.known
                .fingerprint(claimed.org, &claimed.username, stored, password)
        });
        // Another connection of the same user may have paid for it while this one waited.
        let is_known = fingerprint.is_some_and(|print| self.known.has(&print, now_secs));
        let is_right = is_known || {
            self.metrics.hashes.inc();
            stored.is_of(password)
        };
        match (claimed, fingerprint) {
            (Some(claimed), Some(fingerprint)) if is_right => {
                if !is_known {
                    self.known.keep(fingerprint, now_secs);
                }
                Ok(claimed)
            }
            _ => Err(LoginRefused::UnknownUserOrPassword),
        }
    }

    /// Decides by a token, if the password is one and the organisation takes any.
    fn judge_token(
        &self,
        claim: &Claim<'_>,
        password: Option<&[u8]>,
        now_secs: u64,
        may_wait: bool,
    ) -> Option<Decision> {
        let org = claim.org?;
        let found = &self.orgs[org.0];
        if found.issuers.is_empty() || found.open_auth {
            return None;
        }
        let token = password?;
        let header = tokens::header_of(token)?;
        let mut refused = LoginRefused::WrongToken;
        let mut waits = None;
        for issuer in &found.issuers {
            match issuer.judge(token, &header, now_secs, may_wait) {
                Verdict::Right(user, facts) => {
                    return Some(self.admit_by_token(org, claim.username, user, facts));
                }
                Verdict::Wrong => {}
                Verdict::UnknownKey if refused == LoginRefused::WrongToken => {
                    refused = LoginRefused::UnknownTokenKey;
                }
                Verdict::UnknownKey => {}
                Verdict::OutOfTime => refused = LoginRefused::TokenOutOfTime,
                Verdict::Claims => refused = LoginRefused::TokenClaims,
                Verdict::NoKeys => refused = LoginRefused::NoKeys,
                Verdict::Awaits(source, fetches) => waits = Some((source, fetches)),
            }
        }
        Some(match waits {
            Some((source, fetches)) if !refused.is_about_signed_token() => {
                Decision::Check(Check(Open::Token {
                    org,
                    username: claim.username.into(),
                    source,
                    fetches,
                }))
            }
            _ => Decision::Refused(refused),
        })
    }

    /// The token is right; is it this user's? A login without a name is whoever the token names.
    fn admit_by_token(
        &self,
        org: OrgIndex,
        username: &str,
        user: String,
        facts: TokenFacts,
    ) -> Decision {
        if !username.is_empty() && username != user {
            return Decision::Refused(LoginRefused::WrongToken);
        }
        if let Some(name) = &facts.display_name {
            self.names.set(org, &user, name);
        }
        Decision::Admitted(Admission {
            org,
            username: user.into(),
            token: Some(Box::new(facts)),
        })
    }

    fn judge(&self, claim: &Claim<'_>, password: Option<&[u8]>, now_secs: u64) -> Decision {
        if claim.username.is_empty() {
            return Decision::Refused(LoginRefused::EmptyName);
        }
        let Some(org) = claim.org else {
            return self.turn_away(None, password);
        };
        let found = &self.orgs[org.0];
        let admission = Admission {
            org,
            username: claim.username.into(),
            token: None,
        };
        if found.open_auth {
            return Decision::Admitted(admission);
        }
        let given = password.unwrap_or_default();
        match found.users.get(claim.username).map(|user| &user.password) {
            Some(Password::Plain(digest)) => {
                if *digest == Digest::of(given) && password.is_some() {
                    return Decision::Admitted(admission);
                }
            }
            Some(Password::Stored(stored)) if password.is_some() => {
                let stored_text = stored.as_str();
                let print = self
                    .known
                    .fingerprint(org, claim.username, stored_text, given);
                if self.known.has(&print, now_secs) {
                    return Decision::Admitted(admission);
                }
                return Decision::Check(Check(Open::Stored {
                    stored: Arc::clone(stored),
                    claimed: Some(admission),
                }));
            }
            Some(Password::Stored(_)) => {}
            None => {
                // The result does not matter, only that it takes as long.
                let _ = std::hint::black_box(Digest::of(given) == NOBODY);
            }
        }
        self.turn_away(Some(org), password)
    }

    /// Refuses, after a check in vain where others are checked.
    fn turn_away(&self, org: Option<OrgIndex>, password: Option<&[u8]>) -> Decision {
        let decoy = match org {
            Some(org) => self.orgs[org.0].decoy.as_ref(),
            None => self.orgs.iter().find_map(|org| org.decoy.as_ref()),
        };
        match decoy {
            // Whoever sends no password at all learns nothing from an early answer.
            Some(stored) if password.is_some() => Decision::Check(Check(Open::Stored {
                stored: Arc::clone(stored),
                claimed: None,
            })),
            _ => Decision::Refused(match org {
                Some(_) => LoginRefused::UnknownUserOrPassword,
                None => LoginRefused::UnknownOrganisation,
            }),
        }
    }

    /// Decides on a CONNECT of a client whose certificate has been verified and names `certified`,
    /// a login text. It needs no password, and no account: the authority that signed the
    /// certificate vouches for the name. `username` is that of the CONNECT; it may be left out, and
    /// be written with or without the organisation, but not name somebody else.
    pub fn log_in_certified(&self, certified: &str, username: Option<&str>) -> Decision {
        let own = match self.split(certified) {
            Ok(own) => own,
            Err(refused) => return Decision::Refused(refused),
        };
        if own.username.is_empty() {
            return Decision::Refused(LoginRefused::EmptyName);
        }
        let Some(org) = own.org else {
            return Decision::Refused(LoginRefused::UnknownOrganisation);
        };
        if let Some(username) = username {
            let claim = self.split(username);
            let is_own = username == own.username
                || claim.is_ok_and(|it| it.username == own.username && it.org == Some(org));
            if !is_own {
                return Decision::Refused(LoginRefused::NotTheCertificates);
            }
        }
        Decision::Admitted(Admission {
            org,
            username: own.username.into(),
            token: None,
        })
    }

    /// Name and organisation of a login text.
    fn split<'n>(&self, text: &'n str) -> Result<Claim<'n>, LoginRefused> {
        match text.rsplit_once('@') {
            Some((username, id)) => Ok(Claim {
                username,
                org: self.by_id.get(id).copied(),
            }),
            None => match self.default_org {
                Some(org) if text.is_empty() && self.orgs[org.0].issuers.is_empty() => {
                    Err(LoginRefused::EmptyName)
                }
                None if text.is_empty() => Err(LoginRefused::EmptyName),
                Some(org) => Ok(Claim {
                    username: text,
                    org: Some(org),
                }),
                None => Err(LoginRefused::MissingSuffix),
            },
        }
    }

    /// A client without a user name goes by its client id, where anybody is let in, or by its
    /// token.
    fn nameless<'n>(&self, client_id: &'n str) -> Result<Claim<'n>, LoginRefused> {
        match self.default_org {
            Some(org) if self.orgs[org.0].open_auth => Ok(Claim {
                username: client_id,
                org: Some(org),
            }),
            Some(org) if !self.orgs[org.0].issuers.is_empty() => Ok(Claim {
                username: "",
                org: Some(org),
            }),
            _ => Err(LoginRefused::NoUserName),
        }
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
