//! What a token says, once its signature is verified.

use jsonwebtoken::errors::ErrorKind;
use serde_json::{Map, Value};
use topics::{TopicFilter, TopicFilterBuf, TopicName};

/// Bytes of a name for people that is taken: many are remembered.
const NAME_BYTES_MAX: usize = 1024;

/// All claims of a token.
pub(super) type Claims = Map<String, Value>;

/// What a token says of the session that it opens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenFacts {
    /// When the session ends at the latest, Unix seconds, the leeway included.
    pub ends_at_secs: Option<u64>,
    /// What may be published and subscribed to. `None`: whatever the rules allow.
    pub topics: Option<TokenTopics>,
    /// The name for people.
    pub display_name: Option<Box<str>>,
}

/// The topics that a token allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenTopics {
    publish: Box<[TopicFilterBuf]>,
    subscribe: Box<[TopicFilterBuf]>,
}

impl TokenTopics {
    /// Whether some filter matches the name.
    #[must_use]
    pub fn may_publish(&self, name: TopicName<'_>) -> bool {
        let mut filters = self.publish.iter().map(TopicFilterBuf::as_filter);
        filters.any(|filter| filter.matches(name))
    }

    /// Whether some filter covers this one.
    #[must_use]
    pub fn may_subscribe(&self, wanted: TopicFilter<'_>) -> bool {
        let mut filters = self.subscribe.iter().map(TopicFilterBuf::as_filter);
        filters.any(|filter| filter.covers(wanted))
    }
}

/// Why a token with a right signature is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its time is over, or has not come.
    OutOfTime,
    /// A claim is missing, of a wrong kind, or not what is asked for.
    Claims,
}

/// `exp` and `nbf` at `now_secs`; gives the time at which the session ends.
pub(super) fn check_time(
    claims: &Claims,
    leeway_secs: u64,
    is_expiry_required: bool,
    now_secs: u64,
) -> Result<Option<u64>, Fault> {
    if let Some(begin) = date(claims, "nbf")?
        && begin > now_secs.saturating_add(leeway_secs)
    {
        return Err(Fault::OutOfTime);
    }
    match date(claims, "exp")? {
        Some(end) => {
            let end = end.saturating_add(leeway_secs);
            (end > now_secs)
                .then_some(Some(end))
                .ok_or(Fault::OutOfTime)
        }
        None if is_expiry_required => Err(Fault::Claims),
        None => Ok(None),
    }
}

/// A NumericDate (RFC 7519 §2) in whole seconds. One that is no number is a fault, never absent.
fn date(claims: &Claims, name: &str) -> Result<Option<u64>, Fault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(secs), _) => Ok(Some(secs)),
            (None, Some(secs)) if (0.0..=1e15).contains(&secs) => Ok(Some(secs as u64)),
            _ => Err(Fault::Claims),
        },
        Some(_) => Err(Fault::Claims),
    }
}

/// A text, or a whole number as people number their users.
pub(super) fn user(claims: &Claims, name: &str) -> Option<String> {
    let text = match claims.get(name)? {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() => number.to_string(),
        _ => return None,
    };
    let is_name = !text.is_empty() && text.len() <= 65_535 && !text.contains('\0');
    is_name.then_some(text)
}

/// The name for people; anything but a text, or a text that is no name, counts as none.
pub(super) fn display_name(claims: &Claims, name: &str) -> Option<Box<str>> {
    let text = claims.get(name)?.as_str()?;
    let is_name = !text.is_empty() && text.len() <= NAME_BYTES_MAX;
    is_name.then(|| text.into())
}

/// `{"publish": [filters], "subscribe": [filters]}`, at most `most` of them; what is left out allows
/// nothing.
pub(super) fn topics(
    claims: &Claims,
    name: &str,
    most: usize,
) -> Result<Option<TokenTopics>, Fault> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let lists = value.as_object().ok_or(Fault::Claims)?;
    if lists
        .keys()
        .any(|key| key != "publish" && key != "subscribe")
    {
        return Err(Fault::Claims);
    }
    let list = |key| match lists.get(key) {
        None => Ok(Box::default()),
        Some(value) => filters(value),
    };
    let topics = TokenTopics {
        publish: list("publish")?,
        subscribe: list("subscribe")?,
    };
    let count = topics.publish.len() + topics.subscribe.len();
    (count <= most).then_some(Some(topics)).ok_or(Fault::Claims)
}

fn filters(value: &Value) -> Result<Box<[TopicFilterBuf]>, Fault> {
    let items = value.as_array().ok_or(Fault::Claims)?;
    let filter = |item: &Value| {
        let text = item.as_str()?;
        let parsed = TopicFilter::parse(text).ok()?;
        parsed.share_group().is_none().then(|| parsed.into())
    };
    let filters: Option<Box<[_]>> = items.iter().map(filter).collect();
    filters.ok_or(Fault::Claims)
}

/// What an error of the library means for whoever sent the token.
pub(super) fn fault_of(error: &jsonwebtoken::errors::Error) -> Option<Fault> {
    match error.kind() {
        ErrorKind::InvalidAudience
        | ErrorKind::InvalidIssuer
        | ErrorKind::MissingRequiredClaim(_) => Some(Fault::Claims),
        _ => None,
    }
}
