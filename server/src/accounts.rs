//! Who may come in: organisations, their users and their API keys.
//!
//! Built once from the configuration (and the generated organisation of the data directory) and
//! only read afterwards. Passwords and keys are kept as digests. An [`OrgIndex`] comes from here
//! and nowhere else, so whatever carries one has been authenticated.

mod digest;
mod guesses;
mod known;
mod login;
mod metrics;
mod names;
mod quota;
mod rules;
mod stored;
mod tokens;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use webhook::deliver::Client;

pub use self::digest::Digest;
pub use self::guesses::{GuessLimits, Guesses};
pub use self::login::{Admission, Check, Decision, LoginRefused};
pub use self::metrics::AccountMetrics;
pub use self::quota::{Meter, OrgLimits, Over, Seat};
pub use self::rules::SessionRules;
pub(crate) use self::rules::fault_of_filter;
pub use self::stored::{HashBounds, HashError, StoredHash, hash};
pub(crate) use self::tokens::KeySource;
pub use self::tokens::{Issuer, TokenFacts, TokenTopics};
pub use crate::config::MultiDevice;
use crate::config::{AccountsConfig, Config, OrgConfig, UserConfig};
use known::Known;
use names::Names;
use rules::Rules;

/// An organisation by its place in [`Accounts::org_ids`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrgIndex(usize);

impl OrgIndex {
    /// The index into lists that run parallel to [`Accounts::org_ids`].
    pub fn get(self) -> usize {
        self.0
    }
}

/// Organisations, users and keys. Immutable; share it behind an `Arc`.
pub struct Accounts {
    orgs: Vec<OrgAccounts>,
    by_id: HashMap<String, OrgIndex>,
    keys: Vec<(Digest, OrgIndex)>,
    default_org: Option<OrgIndex>,
    known: Known,
    names: Names,
    /// Who has guessed wrong lately.
    pub guesses: Guesses,
    /// What is counted of logins.
    pub metrics: AccountMetrics,
}

struct OrgAccounts {
    id: String,
    open_auth: bool,
    multi_device: MultiDevice,
    users: HashMap<String, User>,
    /// Checked in vain when there is no such user, so that this takes as long as a wrong password.
    decoy: Option<Arc<StoredHash>>,
    issuers: Vec<Issuer>,
    /// None where everything is allowed.
    rules: Option<Rules>,
    limits: OrgLimits,
    /// None where nothing is measured.
    meter: Option<Arc<Meter>>,
}

struct User {
    password: Password,
    display_name: Option<Arc<str>>,
}

enum Password {
    /// Configured in plain text; compared at once.
    Plain(Digest),
    Stored(Arc<StoredHash>),
}

/// The organisation that a first start makes, as it is kept: without plain secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedOrg {
    /// Organisation id.
    pub id: String,
    /// Digest of its only secret key.
    pub secret_key: Digest,
    /// Name of its only user.
    pub username: String,
    /// Digest of that user's password.
    pub password: Digest,
}

impl Accounts {
    /// The organisations of a validated configuration.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers, or a file that the configuration names has changed
    /// since it was validated.
    pub fn from_config(config: &Config) -> io::Result<Self> {
        let mut accounts = Self::empty(&config.accounts)?;
        let authorities = config.webhook.authorities_pem()?;
        let limits = &config.accounts;
        let client = Client::new(
            limits.client_settings(),
            limits.address_policy(),
            &authorities,
        );
        let client = client.map_err(io::Error::other)?;
        for org in &config.orgs {
            let index = accounts.add(
                &org.id,
                org.open_auth,
                users_of(org, &config.accounts),
                OrgLimits::of(config, &org.quota),
            );
            accounts.orgs[index.0].multi_device = org.multi_device;
            accounts.orgs[index.0].rules = Rules::of(org);
            for jwt in &org.jwts {
                let issuer = Issuer::new(jwt, limits, &client);
                let issuer = issuer.map_err(|(key, why)| {
                    io::Error::other(format!("org.jwt.{key} of {} {why}", org.id))
                })?;
                accounts.orgs[index.0].issuers.push(issuer);
            }
            let digests = org
                .secret_keys
                .iter()
                .map(|key| Digest::of(key.expose().as_bytes()));
            accounts.keys.extend(digests.map(|digest| (digest, index)));
        }
        let default_org = config.default_org.as_ref();
        accounts.default_org = default_org.and_then(|id| accounts.by_id.get(id).copied());
        Ok(accounts)
    }

    /// The generated organisation alone; it is the default one.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers.
    pub fn from_generated(generated: &GeneratedOrg, config: &Config) -> io::Result<Self> {
        let mut accounts = Self::empty(&config.accounts)?;
        let user = User {
            password: Password::Plain(generated.password.clone()),
            display_name: None,
        };
        let users = HashMap::from([(generated.username.clone(), user)]);
        let index = accounts.add(
            &generated.id,
            false,
            users,
            OrgLimits::of(config, &Default::default()),
        );
        accounts.keys.push((generated.secret_key.clone(), index));
        accounts.default_org = Some(index);
        Ok(accounts)
    }

    /// The organisation that an API key selects, if any.
    ///
    /// Takes the same time for every key, right or wrong: digests are compared in constant time
    /// and all of them are compared.
    pub fn org_of_key(&self, key: &str) -> Option<OrgIndex> {
        let given = Digest::of(key.as_bytes());
        let mut found = None;
        for (digest, index) in &self.keys {
            if bool::from(digest.ct_eq(&given)) {
                found = Some(*index);
            }
        }
        found
    }

    /// The name for people of a user: as configured, else as the user's last token said.
    pub fn display_name(&self, org: OrgIndex, username: &str) -> Option<Arc<str>> {
        let found = &self.orgs[org.0];
        let configured = found.users.get(username);
        configured
            .and_then(|user| user.display_name.clone())
            .or_else(|| {
                let may_have = !found.issuers.is_empty();
                may_have.then(|| self.names.get(org, username))?
            })
    }

    /// What an organisation may have.
    pub fn limits(&self, org: OrgIndex) -> &OrgLimits {
        &self.orgs[org.0].limits
    }

    /// What each organisation may have, in the order of [`Accounts::org_ids`].
    pub fn all_limits(&self) -> impl Iterator<Item = &OrgLimits> {
        self.orgs.iter().map(|org| &org.limits)
    }

    /// What an organisation has now; none where nothing is measured.
    pub fn meter(&self, org: OrgIndex) -> Option<&Arc<Meter>> {
        self.orgs[org.0].meter.as_ref()
    }

    /// What a session may publish and subscribe to; none where everything is allowed.
    pub fn session_rules(
        &self,
        org: OrgIndex,
        username: &str,
        client_id: &str,
    ) -> Option<Arc<SessionRules>> {
        let rules = self.orgs[org.0].rules.as_ref()?;
        Some(rules.session(username, client_id))
    }

    /// Where keys of tokens are fetched from.
    pub(crate) fn key_sources(&self) -> impl Iterator<Item = &Arc<KeySource>> {
        let issuers = self.orgs.iter().flat_map(|org| &org.issuers);
        issuers.filter_map(Issuer::source)
    }

    /// How many sessions the organisation lets a user have.
    pub fn multi_device(&self, org: OrgIndex) -> MultiDevice {
        self.orgs[org.0].multi_device
    }

    /// The ids of all organisations; [`OrgIndex::get`] is the place in this order.
    pub fn org_ids(&self) -> impl ExactSizeIterator<Item = &str> {
        self.orgs.iter().map(|org| org.id.as_str())
    }

    /// The organisation with this id.
    pub fn org_of_id(&self, id: &str) -> Option<OrgIndex> {
        self.by_id.get(id).copied()
    }

    /// The id of one organisation.
    pub fn org_id(&self, org: OrgIndex) -> &str {
        &self.orgs[org.0].id
    }

    /// The ids of organisations that let anybody in; the log warns about each at start.
    pub fn open_org_ids(&self) -> impl Iterator<Item = &str> {
        self.orgs
            .iter()
            .filter(|org| org.open_auth)
            .map(|org| org.id.as_str())
    }

    fn empty(config: &AccountsConfig) -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let guesses = Guesses::new(config.guess_limits());
        let metrics = AccountMetrics {
            slowed: guesses.slowed.clone(),
            ..AccountMetrics::default()
        };
        Ok(Self {
            orgs: Vec::new(),
            by_id: HashMap::new(),
            keys: Vec::new(),
            default_org: None,
            names: Names::new(config.token_names_max),
            known: Known::new(config.known_passwords_max, config.known_password_secs, key),
            guesses,
            metrics,
        })
    }

    fn add(
        &mut self,
        id: &str,
        open_auth: bool,
        users: HashMap<String, User>,
        limits: OrgLimits,
    ) -> OrgIndex {
        let index = OrgIndex(self.orgs.len());
        let decoy = users.values().find_map(|user| match &user.password {
            Password::Stored(stored) => Some(Arc::clone(stored)),
            Password::Plain(_) => None,
        });
        self.orgs.push(OrgAccounts {
            id: id.to_owned(),
            open_auth,
            multi_device: MultiDevice::default(),
            users,
            decoy,
            issuers: Vec::new(),
            rules: None,
            meter: limits.meter(),
            limits,
        });
        self.by_id.insert(id.to_owned(), index);
        index
    }
}

/// Users of a validated configuration: one whose password cannot be used does not pass it, and
/// would not be let in.
fn users_of(org: &OrgConfig, config: &AccountsConfig) -> HashMap<String, User> {
    let bounds = config.hash_bounds();
    let password = |user: &UserConfig| match (&user.password, &user.password_hash) {
        (Some(plain), _) => Some(Password::Plain(Digest::of(plain.expose().as_bytes()))),
        (None, Some(phc)) => {
            let stored = StoredHash::parse(phc.expose(), &bounds).ok()?;
            Some(Password::Stored(Arc::new(stored)))
        }
        (None, None) => None,
    };
    let account = |user: &UserConfig| {
        Some(User {
            password: password(user)?,
            display_name: user.display_name.as_deref().map(Arc::from),
        })
    };
    org.users
        .iter()
        .filter_map(|user| Some((user.username.clone(), account(user)?)))
        .collect()
}

#[cfg(test)]
mod tests;
