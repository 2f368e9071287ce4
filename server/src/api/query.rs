//! The queries of requests, and that of a listing: `topic`, `limit` and `cursor`.
//!
//! Read by hand because form decoding would turn the wildcard `+` into a space. Parameters of
//! other names are ignored, so that a later client can talk to an older server.

use presence::Position;
use topics::TopicFilter;

use super::AppState;
use super::name::decode;
use super::problem::Problem;
use super::time::Time;

/// What a listing is asked for.
#[derive(Debug, Default)]
pub(super) struct ListQuery {
    /// A valid topic filter.
    pub(super) topic: Option<String>,
    /// Most rows wanted.
    pub(super) limit: Option<usize>,
    /// Where to go on.
    pub(super) from: Option<Position>,
}

impl ListQuery {
    /// Reads the raw query of an address.
    pub(super) fn read(raw: Option<&str>, state: &AppState) -> Result<Self, Problem> {
        let raw = raw.unwrap_or_default();
        let limit = limit(raw, state)?;
        let from = parameter(raw, "cursor")?
            .map(|text| state.cursors.read(&text))
            .transpose()?;
        let topic = parameter(raw, "topic")?;
        if let Some(topic) = &topic {
            TopicFilter::parse(topic).map_err(|error| bad_filter(&error, topic))?;
        }
        Ok(Self { topic, limit, from })
    }
}

/// The decoded value of a parameter.
pub(super) fn parameter(raw: &str, name: &str) -> Result<Option<String>, Problem> {
    let mut values = raw.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    });
    let value = values.next();
    if values.next().is_some() {
        return Err(Problem::BadQuery("A parameter is given twice."));
    }
    value.map(decode).transpose().map_err(Problem::BadQuery)
}

/// The parameter `limit`.
fn limit(raw: &str, state: &AppState) -> Result<Option<usize>, Problem> {
    let rows_max = state.limits.page_rows_max;
    parameter(raw, "limit")?
        .map(|text| row_count(&text, rows_max))
        .transpose()
}

/// The parameter `limit` of an answer that has one in any case.
pub(super) fn limit_or(raw: &str, usual: usize, state: &AppState) -> Result<usize, Problem> {
    Ok(limit(raw, state)?.unwrap_or_else(|| usual.min(state.limits.page_rows_max)))
}

/// A parameter that is a time, in Unix milliseconds.
pub(super) fn time(raw: &str, name: &'static str) -> Result<Option<u64>, Problem> {
    let Some(text) = parameter(raw, name)? else {
        return Ok(None);
    };
    let Time(ms) = Time::parse(&text).ok_or(Problem::BadTime { name })?;
    Ok(Some(ms))
}

pub(super) fn row_count(text: &str, rows_max: usize) -> Result<usize, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rows = text
        .parse()
        .ok()
        .filter(|rows| digits && (1..=rows_max).contains(rows));
    rows.ok_or(Problem::BadLimit { rows_max })
}

fn bad_filter(error: &topics::TopicFilterError, topic: &str) -> Problem {
    let hint = if topic.contains('+') {
        " (write a space as %20)"
    } else {
        ""
    };
    Problem::BadFilter(format!("{error}{hint}"))
}
