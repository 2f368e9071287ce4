//! Rules on issuers of tokens, found out by setting them up as the server would. Secrets are not
//! repeated in messages; an issuer is named by its place.

use webhook::deliver::{Client, ClientSettings};

use super::Problem;
use crate::accounts::Issuer;
use crate::config::{Config, JwtConfig};

/// Clocks that are further apart are wrong, not skewed.
const LEEWAY_SECS_MAX: u64 = 600;

/// Every problem with issuers. Files of keys are read; nothing is fetched.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    // Without authorities of its own it cannot fail; those of the operator are checked elsewhere.
    let Ok(client) = Client::new(ClientSettings::default(), Default::default(), &[]) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for org in &config.orgs {
        for (at, jwt) in org.jwts.iter().enumerate() {
            let mut report = |key: &str, why: &str| {
                problems.push(Problem::new(
                    format!("org.jwt[{at}].{key}"),
                    format!("of organisation {:?} {why}", org.id),
                ));
            };
            if let Err((key, why)) = Issuer::new(jwt, &config.accounts, &client) {
                report(key, &why);
            }
            for (key, why) in check_texts(jwt) {
                report(key, &why);
            }
        }
    }
    problems
}

fn check_texts(jwt: &JwtConfig) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    for (key, text) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
        if text.as_deref() == Some("") {
            problems.push((key, "is empty; leave it out to take any".to_owned()));
        }
    }
    if jwt.leeway_secs > LEEWAY_SECS_MAX {
        let secs = jwt.leeway_secs;
        problems.push(("leeway_secs", format!("is {secs}; expected 0 to 600")));
    }
    problems
}
