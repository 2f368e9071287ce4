//! From the configuration to what a runner needs.

use webhook::deliver::{AuthorityError, Client, UrlError};
use webhook::lane::LaneSettings;

use super::HookSettings;
use crate::accounts::Accounts;
use crate::config::Config;

/// Why an endpoint cannot be set up. A configuration that was validated gives none of these, but
/// for the file of authorities, which is read here.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file of TLS authorities cannot be read.
    #[error("cannot read webhook.authorities_file: {0}")]
    AuthoritiesFile(std::io::Error),
    /// It holds no authorities.
    #[error("webhook.authorities_file: {0}")]
    Authorities(#[from] AuthorityError),
    /// An endpoint's URL cannot be used.
    #[error("the url of webhook {id}: {source}")]
    Url {
        /// The endpoint.
        id: String,
        /// What is wrong.
        source: UrlError,
    },
}

/// The settings of all endpoints.
///
/// # Errors
/// The first thing that is wrong.
pub fn of(config: &Config, accounts: &Accounts) -> Result<Vec<HookSettings>, SettingsError> {
    let shared = &config.webhook;
    let authorities = shared
        .authorities_pem()
        .map_err(SettingsError::AuthoritiesFile)?;
    let client = Client::new(
        shared.client_settings(),
        shared.address_policy(),
        &authorities,
    )?;
    let lane = LaneSettings {
        concurrency: shared.concurrency,
        waiting_max: shared.waiting_max,
        schedule: shared.schedule(),
    };
    let mut all = Vec::new();
    for org in &config.orgs {
        let Some(index) = accounts.org_of_id(&org.id) else {
            continue;
        };
        for endpoint in &org.webhooks {
            let url = endpoint.url.expose();
            let reached =
                client
                    .endpoint(url, endpoint.signing())
                    .map_err(|source| SettingsError::Url {
                        id: endpoint.id.clone(),
                        source,
                    })?;
            all.push(HookSettings {
                org: index,
                org_id: org.id.clone(),
                id: endpoint.id.clone(),
                url: url.to_owned(),
                endpoint: reached,
                shape: endpoint.shape(),
                level: endpoint.level(),
                lane: lane.clone(),
                held_max: shared.held_max,
            });
        }
    }
    Ok(all)
}
