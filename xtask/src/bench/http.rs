//! Questions to the server's HTTP API over one kept connection.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::Value;

/// A client that holds the secret key of one organisation.
pub(crate) struct Api {
    agent: ureq::Agent,
    base: String,
    secret_key: String,
}

impl Api {
    /// Asks the server at `address`; nothing is sent yet.
    pub(crate) fn new(address: SocketAddr, secret_key: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .no_delay(true)
            .build()
            .new_agent();
        Self {
            agent,
            base: format!("http://{address}"),
            secret_key: secret_key.to_owned(),
        }
    }

    /// Sends `GET path` and returns the body, to be read by the caller as it comes.
    pub(crate) fn get(&self, path: &str) -> Result<impl std::io::Read + use<>> {
        let url = format!("{}{path}", self.base);
        let request = self
            .agent
            .get(&url)
            .header("X-Secret-Key", &self.secret_key);
        let response = request.call().with_context(|| format!("GET {path}"))?;
        Ok(response.into_body().into_reader())
    }

    /// Sends `GET path` and parses the body.
    pub(crate) fn get_json(&self, path: &str) -> Result<Value> {
        let body = std::io::BufReader::new(self.get(path)?);
        serde_json::from_reader(body).with_context(|| format!("the answer to GET {path}"))
    }
}
