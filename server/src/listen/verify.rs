//! Who signed a request: one judgement for each family of signatures.

use std::fmt;

use axum::http::HeaderMap;
use percent_encoding::percent_decode_str;
use webhook::signature::app_key::{self, AppKey, AppKeyValues};
use webhook::signature::standard::{self, StandardHeaders, StandardKeys};

/// How far the time of signing may be from now: what Standard Webhooks suggests.
const TOLERANCE_SECS: u64 = 300;

/// What requests must be signed with.
#[derive(Debug, Default)]
pub struct Keys {
    /// Secrets of Standard Webhooks.
    pub standard: Option<StandardKeys>,
    /// Key and secret of the SHA1 family.
    pub app_key: Option<AppKey>,
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (&self.standard, &self.app_key) {
            (None, None) => "not verified (give --secret, or --app-key and --app-secret)",
            (Some(_), None) => "standard",
            (None, Some(_)) => "sha1",
            (Some(_), Some(_)) => "standard and sha1",
        })
    }
}

/// What is to be said about one family of signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Signed with our key.
    Genuine,
    /// Not signed with our key; the text says why.
    Wrong(String),
    /// Signed, but no key was given to verify it with.
    NoKey,
    /// Neither signed nor expected to be.
    Absent,
}

/// What is to be said about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) standard: Judgement,
    pub(super) sha1: Judgement,
}

impl Verdict {
    /// The families by name.
    pub(super) fn families(&self) -> [(&'static str, &Judgement); 2] {
        [("standard", &self.standard), ("sha1", &self.sha1)]
    }

    /// Whether anything is wrong with it.
    pub(super) fn is_wrong(&self) -> bool {
        let is_wrong = |(_, judgement): (_, &Judgement)| matches!(judgement, Judgement::Wrong(_));
        self.families().into_iter().any(is_wrong)
    }
}

impl Keys {
    /// Judges a request. `query` is raw.
    pub(super) fn judge(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        body: &[u8],
        now_ms: u64,
    ) -> Verdict {
        Verdict {
            standard: self.judge_standard(headers, body, now_ms),
            sha1: self.judge_sha1(headers, query.unwrap_or_default(), now_ms),
        }
    }

    fn judge_standard(&self, headers: &HeaderMap, body: &[u8], now_ms: u64) -> Judgement {
        let names = [
            standard::ID_HEADER,
            standard::TIMESTAMP_HEADER,
            standard::SIGNATURE_HEADER,
        ];
        let [id, timestamp, signature] = names.map(|name| text(headers, name));
        let Some(signature) = signature else {
            return unsigned(self.standard.is_some());
        };
        let Some(keys) = &self.standard else {
            return Judgement::NoKey;
        };
        let signed = StandardHeaders {
            id: id.unwrap_or_default(),
            timestamp: timestamp.unwrap_or_default(),
            signature,
        };
        judgement(keys.verify(&signed, body, now_ms / 1000, TOLERANCE_SECS))
    }

    fn judge_sha1(&self, headers: &HeaderMap, query: &str, now_ms: u64) -> Judgement {
        let in_headers = app_key::HEADERS.map(|name| text(headers, name).map(str::to_owned));
        let in_query = app_key::PARAMETERS.map(|name| parameter(query, name));
        let is_signed = |values: &[Option<String>; 4]| values[3].is_some();
        let Some(values) = [in_headers, in_query].into_iter().find(is_signed) else {
            return unsigned(self.app_key.is_some());
        };
        let Some(key) = &self.app_key else {
            return Judgement::NoKey;
        };
        let [app_key, nonce, timestamp, signature] = values.map(Option::unwrap_or_default);
        let signed = AppKeyValues {
            app_key: &app_key,
            nonce: &nonce,
            timestamp: &timestamp,
            signature: &signature,
        };
        judgement(key.verify(&signed, now_ms, TOLERANCE_SECS * 1000))
    }
}

fn unsigned(is_expected: bool) -> Judgement {
    match is_expected {
        true => Judgement::Wrong("not signed".to_owned()),
        false => Judgement::Absent,
    }
}

fn judgement(verified: Result<(), webhook::signature::VerifyError>) -> Judgement {
    match verified {
        Ok(()) => Judgement::Genuine,
        Err(error) => Judgement::Wrong(error.to_string()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}
