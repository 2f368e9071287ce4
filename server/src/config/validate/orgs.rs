//! Rules on organisations, their keys and their users. Keys and passwords are not repeated in
//! messages; a key is named by its position.

use std::collections::{HashMap, HashSet};

use super::Problem;
use crate::accounts::{HashBounds, StoredHash, fault_of_filter};
use crate::config::{Config, OrgConfig, UserConfig};

const ID_BYTES_MAX: usize = 64;
/// The protocol's bound on any text, and so on a user name.
const NAME_BYTES_MAX: usize = 65_535;
/// Characters after the last underscore of a key: 128 bits as hexadecimal digits.
const KEY_RANDOM_CHARS_MIN: usize = 32;
const KEY_BYTES_MAX: usize = 512;

/// Every problem with organisations and `default_org`.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut ids = HashSet::new();
    let mut keys = HashMap::new();
    for org in &config.orgs {
        if let Some(why) = fault_of_id(&org.id) {
            problems.push(Problem::new(
                "org.id",
                format!("{:?} {why}", shortened(&org.id)),
            ));
        } else if !ids.insert(org.id.as_str()) {
            problems.push(Problem::new(
                "org.id",
                format!("{:?} is given twice", org.id),
            ));
        }
        problems.extend(check_keys(org, &mut keys));
        problems.extend(check_rules(org));
        problems.extend(check_users(org, &config.accounts.hash_bounds()));
    }
    problems.extend(check_default_org(config, &ids));
    problems
}

/// What is wrong with the id of an organisation or endpoint.
pub(super) fn fault_of_id(id: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if id.is_empty() {
        Some("is empty; expected 1 to 64 characters")
    } else if id.len() > ID_BYTES_MAX {
        Some("is longer than 64 characters")
    } else if id.bytes().all(allowed) {
        None
    } else {
        Some("has a character other than A-Z, a-z, 0-9, _ and -")
    }
}

/// `seen` maps the keys met so far to the organisation of each.
fn check_keys<'a>(org: &'a OrgConfig, seen: &mut HashMap<&'a str, &'a str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, key) in org.secret_keys.iter().enumerate() {
        let mut report = |why: String| {
            let key = format!("org.secret_keys[{at}]");
            problems.push(Problem::new(
                key,
                format!("of organisation {:?} {why}", org.id),
            ));
        };
        if let Some(why) = fault_of_key(key.expose()) {
            report(why.to_owned());
        }
        if let Some(other) = seen.insert(key.expose(), &org.id) {
            report(format!(
                "is also a key of organisation {other:?}; a key selects exactly one"
            ));
        }
    }
    problems
}

fn fault_of_key(key: &str) -> Option<&'static str> {
    let random_chars = key.rsplit('_').next().map_or(0, str::len);
    if !key.starts_with("sk_") {
        Some("does not begin with sk_")
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("has a character that cannot be sent in an HTTP header")
    } else if random_chars < KEY_RANDOM_CHARS_MIN {
        Some("has fewer than 32 characters after its last underscore, too few to be unguessable")
    } else if key.len() > KEY_BYTES_MAX {
        Some("is longer than 512 characters")
    } else {
        None
    }
}

fn check_rules(org: &OrgConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, rule) in org.rules.iter().enumerate() {
        for user in &rule.users {
            if let Some(why) = fault_of_rule_user(user, org) {
                let key = format!("org.rule[{at}].users");
                let user = shortened(user);
                let why = format!("of organisation {:?} holds {user:?}, which {why}", org.id);
                problems.push(Problem::new(key, why));
            }
        }
        let mut report = |why: String| {
            let key = format!("org.rule[{at}].topics");
            problems.push(Problem::new(
                key,
                format!("of organisation {:?} {why}", org.id),
            ));
        };
        if rule.topics.is_empty() {
            report("is empty; a rule without topics decides nothing".to_owned());
        }
        for topic in &rule.topics {
            if let Some(why) = fault_of_filter(topic) {
                report(format!("holds {:?}, which {why}", shortened(topic)));
            }
        }
    }
    problems
}

/// What is wrong with a user of a rule: a denying rule that names nobody would deny nothing.
fn fault_of_rule_user(user: &str, org: &OrgConfig) -> Option<&'static str> {
    let has_suffix = user.rsplit_once('@').is_some_and(|(_, id)| id == org.id);
    if user.is_empty() {
        Some("is empty")
    } else if has_suffix && !org.users.iter().any(|known| known.username == user) {
        Some("is a login; users are named without @ and the organisation here")
    } else {
        None
    }
}

fn check_users(org: &OrgConfig, bounds: &HashBounds) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    let mut report = |key: &str, why: String| {
        problems.push(Problem::new(
            key,
            format!("{why} in organisation {:?}", org.id),
        ));
    };
    for user in &org.users {
        if let Some(why) = fault_of_username(user) {
            report(
                "org.user.username",
                format!("{:?} {why}", shortened(&user.username)),
            );
        } else if !names.insert(user.username.as_str()) {
            let name = shortened(&user.username);
            report("org.user.username", format!("{name:?} is given twice"));
        }
        if let Some((key, why)) = fault_of_password(user, bounds) {
            let name = shortened(&user.username);
            report(key, format!("of user {name:?} {why}"));
        }
    }
    problems
}

fn fault_of_username(user: &UserConfig) -> Option<&'static str> {
    let name = &user.username;
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > NAME_BYTES_MAX {
        Some("is longer than 65535 bytes")
    } else if name.contains('\0') {
        Some("has a NUL character, which MQTT does not allow")
    } else {
        None
    }
}

/// The key that is wrong with a user's password, and what is.
fn fault_of_password(user: &UserConfig, bounds: &HashBounds) -> Option<(&'static str, String)> {
    const PLAIN: &str = "org.user.password";
    const HASH: &str = "org.user.password_hash";
    match (&user.password, &user.password_hash) {
        (Some(_), Some(_)) => Some((HASH, "stands beside `password`; one is enough".to_owned())),
        (None, None) => Some((PLAIN, "is missing; set it or `password_hash`".to_owned())),
        // An empty password would let in whoever knows the name; open_auth says that aloud.
        (Some(plain), None) if plain.expose().is_empty() => Some((PLAIN, "is empty".to_owned())),
        (Some(_), None) => None,
        (None, Some(hash)) => match StoredHash::parse(hash.expose(), bounds) {
            Ok(_) => None,
            Err(why) => Some((HASH, why)),
        },
    }
}

fn check_default_org(config: &Config, ids: &HashSet<&str>) -> Option<Problem> {
    let id = config.default_org.as_deref()?;
    let why = if config.orgs.is_empty() {
        "is set, but no [[org]] is configured; leave it out: the generated organisation is the \
         default"
            .to_owned()
    } else if ids.contains(id) {
        return None;
    } else {
        format!("is {:?}, which is not the id of an [[org]]", shortened(id))
    };
    Some(Problem::new("default_org", why))
}

/// The beginning of a text, enough to recognise it in a message.
pub(super) fn shortened(text: &str) -> &str {
    let end = (0..=text.len().min(80))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}
