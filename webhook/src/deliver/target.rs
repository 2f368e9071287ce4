//! A receiver's URL, taken apart once.

use hyper::{
    Uri,
    header::HeaderValue,
    http::uri::{PathAndQuery, Scheme},
};
use thiserror::Error;

#[derive(Clone, Debug)]
pub(super) struct Target {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) https: bool,
    /// The `Host` header: with the port only if the URL has one.
    pub(super) authority: HeaderValue,
    /// What stands in the request line.
    pub(super) path: PathAndQuery,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let uri: Uri = url.parse().map_err(|_| UrlError::Syntax)?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or(UrlError::Host)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() || uri.port_u16() == Some(0) {
            return Err(UrlError::Host);
        }
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
            https,
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| UrlError::Host)?,
            path: uri
                .path_and_query()
                .cloned()
                .unwrap_or(PathAndQuery::from_static("/")),
        })
    }
}

/// Why a URL cannot be a receiver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Not a URL, or with characters that must be percent-encoded.
    #[error("not a URL")]
    Syntax,
    /// Neither `http` nor `https`.
    #[error("scheme is not http or https")]
    Scheme,
    /// No host, or port 0.
    #[error("no host or no port")]
    Host,
    /// A user name before the host: secrets do not belong into URLs, which are logged and shown.
    #[error("user name or password in the URL")]
    UserInfo,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_cannot_be_a_receivers_are_refused() {
        let rows = [
            ("", UrlError::Syntax),
            ("http://ex ample.com/", UrlError::Syntax),
            ("/path", UrlError::Scheme),
            ("example.com", UrlError::Scheme),
            ("ftp://example.com/", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Syntax),
            ("http://example.com:0/", UrlError::Host),
            ("http://user@example.com/", UrlError::UserInfo),
            ("https://user:word@example.com/", UrlError::UserInfo),
            ("https://example.com@127.0.0.1/", UrlError::UserInfo),
        ];
        for (url, error) in rows {
            assert_eq!(Target::parse(url).unwrap_err(), error, "{url}");
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        let check = |url: &str, host: &str, port: u16, https: bool, path: &str| {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.host, host, "{url}");
            assert_eq!((target.port, target.https), (port, https), "{url}");
            assert_eq!(target.path.as_str(), path, "{url}");
        };
        check("http://example.com", "example.com", 80, false, "/");
        check(
            "https://example.com/a?b=c#d",
            "example.com",
            443,
            true,
            "/a?b=c",
        );
        check("HTTPS://example.com:8443/", "example.com", 8443, true, "/");
        check("https://[2001:db8::1]:44/", "2001:db8::1", 44, true, "/");
    }
}
