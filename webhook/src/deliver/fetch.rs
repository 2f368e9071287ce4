//! One GET under the limits of an attempt: for documents such as the keys that verify tokens.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Uri,
    header::{ACCEPT, HOST, HeaderValue, USER_AGENT},
};
use thiserror::Error;
use tokio::time::timeout;

use super::{Client, ClientSettings, UrlError, dial::Dialer, pool::Connection, target::Target};
use crate::outcome::DownReason;

/// A document at a URL. Each fetch takes a connection of its own.
pub struct Document {
    target: Target,
    dialer: Arc<Dialer>,
    settings: ClientSettings,
}

/// Why a document could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    /// There was no whole answer.
    #[error("{0}")]
    Down(DownReason),
    /// An answer other than 200; redirects are not followed.
    #[error("the answer has status {0}")]
    Status(u16),
    /// The answer has more than [`ClientSettings::answer_bytes_max`] bytes.
    #[error("the answer has more than {0} bytes, or broke off")]
    TooLarge(usize),
}

impl Client {
    /// Prepares to fetch a document. Nothing is dialled.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with `url`.
    pub fn document(&self, url: &str) -> Result<Document, UrlError> {
        Ok(Document {
            target: Target::parse(url)?,
            dialer: Arc::clone(&self.dialer),
            settings: self.settings.clone(),
        })
    }
}

impl Document {
    /// Where it is: host and port, without what follows them.
    #[must_use]
    pub fn host(&self) -> &str {
        self.target.authority.to_str().unwrap_or_default()
    }

    /// Fetches it, within the deadline and the limit of bytes. Must run on tokio.
    ///
    /// # Errors
    ///
    /// When there is no whole answer of status 200.
    pub async fn fetch(&self) -> Result<Bytes, FetchError> {
        match timeout(self.settings.deadline, self.get()).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Down(DownReason::Timeout)),
        }
    }

    async fn get(&self) -> Result<Bytes, FetchError> {
        let stream = self.dialer.dial(&self.target).await;
        let connection = Connection::open(stream.map_err(FetchError::Down)?).await;
        let mut connection = connection.map_err(FetchError::Down)?;
        let incomplete =
            |error: hyper::Error| FetchError::Down(DownReason::Incomplete(error.to_string()));
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = Uri::from(self.target.path.clone());
        let headers = request.headers_mut();
        headers.insert(HOST, self.target.authority.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(super::AGENT));
        let sent = connection.sender.send_request(request).await;
        let (head, body) = sent.map_err(incomplete)?.into_parts();
        if head.status != hyper::StatusCode::OK {
            return Err(FetchError::Status(head.status.as_u16()));
        }
        let bytes_max = self.settings.answer_bytes_max;
        let body = Limited::new(body, bytes_max).collect().await;
        Ok(body
            .map_err(|_| FetchError::TooLarge(bytes_max))?
            .to_bytes())
    }
}
