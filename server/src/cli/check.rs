//! `whosthere check`: reads the configuration as `serve` would and says what it means.
//!
//! Opens no port and makes no file.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::{CheckArgs, refuse};
use crate::config::{Config, ConfigError, JwtConfig, process_environment};
use crate::tls;

/// Exit code 0 when the configuration is right, 64 when not.
pub(super) fn run(arguments: &CheckArgs) -> ExitCode {
    match Config::load(arguments.config.as_deref(), &process_environment()) {
        Ok(config) => match certificate(&config) {
            Ok(certificate) => {
                print!("{}{certificate}", summary(&config));
                ExitCode::SUCCESS
            }
            Err(error) => refuse(&error),
        },
        Err(error) => refuse(&error),
    }
}

/// Reads the files of TLS if a door needs them, and says until when the certificate is good.
fn certificate(config: &Config) -> Result<String, ConfigError> {
    if config.listen.open_tls().next().is_none() {
        return Ok(String::new());
    }
    match tls::check(&config.tls) {
        Ok(validity) => Ok(format!(
            "  certificate: valid until {}\n",
            validity.last_day()
        )),
        Err(error) => Err(ConfigError::from(format!("{error}."))),
    }
}

/// What `serve` would do, without any secret.
fn summary(config: &Config) -> String {
    let mut text = String::from("The configuration is right.\n");
    for (door, address) in config.listen.open() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {door} listens on {address}");
    }
    let _ = writeln!(text, "  data directory: {}", config.data_dir.display());
    for org in &config.orgs {
        let (id, keys, users) = (&org.id, org.secret_keys.len(), org.users.len());
        let _ = writeln!(
            text,
            "  organisation {id}: {keys} secret keys, {users} users, {} issuers of tokens",
            org.jwts.len()
        );
        let (rules, default) = (org.rules.len(), org.default_effect());
        let _ = writeln!(text, "    {rules} rules, what none decides: {default}");
        if org.jwts.iter().any(JwtConfig::is_exposed) {
            text.push_str(
                "    warning: keys of tokens come over http; others may send their own\n",
            );
        }
        if org.open_auth {
            let _ = writeln!(text, "    warning: open_auth lets anybody in as any user");
        }
        for webhook in &org.webhooks {
            // The query may hold a token.
            let url = webhook.url.expose().split('?').next().unwrap_or_default();
            let _ = writeln!(text, "    webhook {}: {url}", webhook.id);
        }
        if keys == 0 {
            let _ = writeln!(text, "    note: without a secret key nobody can query it");
        }
    }
    if config.orgs.is_empty() {
        text.push_str("  organisation: made at the first start\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_what_would_run_and_no_secret() {
        let key = "sk_test_0123456789abcdef0123456789abcdef";
        let text = format!(
            "[listen]\nmqtt = \"127.0.0.1:1\"\n[[org]]\nid = \"a\"\nopen_auth = true\n\
             secret_keys = [\"{key}\"]\n[[org.webhook]]\nid = \"main\"\napp_key = \"k\"\n\
             app_secret = \"{key}\"\nurl = \"https://x.example/in?token={key}\"\n\
             [[org.rule]]\neffect = \"allow\"\ntopics = [\"a\"]\n\
             [[org.jwt]]\njwks_url = \"http://x.example/keys?token={key}\""
        );
        let summary = summary(&Config::from_text(&text, "t", &Default::default()).unwrap());
        for part in [
            "mqtt listens on 127.0.0.1:1",
            "organisation a: 1 secret key",
            "webhook main: https://x.example/in\n",
            "warning: open_auth",
            "1 issuers of tokens",
            "1 rules, what none decides: deny",
            "warning: keys of tokens",
        ] {
            assert!(summary.contains(part), "{part:?} is not in: {summary}");
        }
        assert!(!summary.contains(key) && !summary.contains("http listens"));
    }
}
