//! One filter of a rule, compiled, with places for a client's names.
//!
//! It is kept as steps along a topic name. Text between wildcards and the places of names is one
//! step, with the slashes in it, and names bring none: so a name is compared from left to right,
//! and whatever is left at the end tells whether it fits.

use topics::{TopicFilter, TopicFilterBuf, TopicName};

use crate::config::Effect;

const USERNAME: &str = "{username}";
const CLIENT_ID: &str = "{client_id}";

/// The names of a client, and whether each can stand in one level of a topic.
#[derive(Debug, Default)]
pub(super) struct Names {
    username: Name,
    client_id: Name,
}

#[derive(Debug, Default)]
struct Name {
    text: Box<str>,
    is_fit: bool,
}

/// A filter of a rule.
#[derive(Debug)]
pub(super) struct RuleFilter {
    steps: Box<[Step]>,
    /// Whether `/#` follows, or `#` where there are no steps.
    takes_rest: bool,
    /// The whole filter, if it has no places for names.
    plain: Option<TopicFilterBuf>,
}

#[derive(Debug)]
enum Step {
    /// Literal text, slashes included.
    Text(Box<str>),
    /// `+`.
    Any,
    /// A level with names in it.
    Level(Box<[Part]>),
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Username,
    ClientId,
}

impl Names {
    pub(super) fn new(username: &str, client_id: &str) -> Self {
        let name = |text: &str| Name {
            text: text.into(),
            is_fit: !text.contains(['/', '+', '#', '\0']),
        };
        Self {
            username: name(username),
            client_id: name(client_id),
        }
    }

    /// What stands in the place of a part; none if it cannot stand there.
    fn text_of<'a>(&'a self, part: &'a Part) -> Option<&'a str> {
        let name = match part {
            Part::Text(text) => return Some(text),
            Part::Username => &self.username,
            Part::ClientId => &self.client_id,
        };
        name.is_fit.then_some(&*name.text)
    }

    /// Whether a level of these parts may be written with the names. The first level must not begin
    /// with a `$` that the rule does not have.
    fn fit(&self, parts: &[Part], is_first: bool) -> bool {
        let mut texts = parts.iter().map(|part| self.text_of(part));
        if !texts.clone().all(|text| text.is_some()) {
            return false;
        }
        let is_meant = matches!(parts.first(), Some(Part::Text(text)) if text.starts_with('$'));
        let first = texts.find_map(|text| text.filter(|text| !text.is_empty()));
        !is_first || is_meant || !first.is_some_and(|text| text.starts_with('$'))
    }
}

impl RuleFilter {
    /// Compiles a filter; none if it is not valid, which the configuration has been checked for.
    pub(super) fn compile(text: &str) -> Option<Self> {
        let filter = TopicFilter::parse(text).ok()?;
        let is_personal = text.contains(USERNAME) || text.contains(CLIENT_ID);
        Some(Self {
            steps: steps(text),
            takes_rest: text.ends_with('#'),
            plain: (!is_personal).then(|| filter.into()),
        })
    }

    pub(super) fn is_personal(&self) -> bool {
        self.plain.is_none()
    }

    /// Whether a rule of this effect has something to say of a name.
    pub(super) fn matches(&self, name: TopicName<'_>, effect: Effect, names: &Names) -> bool {
        let mut rest = name.as_str();
        for (at, step) in self.steps.iter().enumerate() {
            // A wildcard in the first level takes no name that begins with `$`.
            let any = || (at > 0 || !name.is_dollar()).then(|| after_level(rest));
            let after = match step {
                Step::Text(text) => rest.strip_prefix(&**text),
                Step::Any => any(),
                Step::Level(parts) if names.fit(parts, at == 0) => {
                    let mut texts = parts.iter().filter_map(|part| names.text_of(part));
                    texts.try_fold(rest, |rest, text| rest.strip_prefix(text))
                }
                Step::Level(_) if effect == Effect::Deny => any(),
                Step::Level(_) => None,
            };
            match after {
                Some(after) => rest = after,
                None => return false,
            }
        }
        if self.steps.is_empty() {
            return !name.is_dollar();
        }
        rest.is_empty() || self.takes_rest && rest.starts_with('/')
    }

    /// Whether a rule of this effect has something to say of a subscription.
    pub(super) fn concerns(&self, wanted: TopicFilter<'_>, effect: Effect, names: &Names) -> bool {
        let hits = |own: TopicFilter<'_>| match effect {
            Effect::Allow => own.covers(wanted),
            Effect::Deny => own.overlaps(wanted),
        };
        if let Some(own) = &self.plain {
            return hits(own.as_filter());
        }
        self.write(effect, names).is_some_and(|text| {
            // Too long to be a filter, so no topic is that long either.
            let own = TopicFilter::parse(&text).ok();
            own.is_some_and(|own| own.share_group().is_none() && hits(own))
        })
    }

    /// The filter with the client's names in it; none if it has nothing to say of this client.
    fn write(&self, effect: Effect, names: &Names) -> Option<String> {
        let mut text = String::new();
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Text(literal) => text.push_str(literal),
                Step::Any => text.push('+'),
                Step::Level(parts) if names.fit(parts, at == 0) => {
                    text.extend(parts.iter().filter_map(|part| names.text_of(part)));
                }
                Step::Level(_) if effect == Effect::Deny => text.push('+'),
                Step::Level(_) => return None,
            }
        }
        if self.takes_rest {
            text.push_str("/#");
        }
        Some(text)
    }
}

/// A filter taken apart, without the `#` at its end.
fn steps(text: &str) -> Box<[Step]> {
    let mut steps = Vec::new();
    let mut literal = String::new();
    for (at, level) in text.split('/').enumerate() {
        if at > 0 && level != "#" {
            literal.push('/');
        }
        let step = match level {
            "#" => continue,
            "+" => Step::Any,
            _ if level.contains(USERNAME) || level.contains(CLIENT_ID) => Step::Level(parts(level)),
            _ => {
                literal.push_str(level);
                continue;
            }
        };
        if !literal.is_empty() {
            steps.push(Step::Text(std::mem::take(&mut literal).into()));
        }
        steps.push(step);
    }
    // `/#` has an empty level before its `#`, where `#` has none.
    let is_empty_level = steps.is_empty() && text != "#";
    if is_empty_level || !literal.is_empty() {
        steps.push(Step::Text(literal.into()));
    }
    steps.into()
}

/// A level taken apart. What is put in is not looked at again: a name may look like a placeholder.
fn parts(level: &str) -> Box<[Part]> {
    let mut parts = Vec::new();
    let mut rest = level;
    while !rest.is_empty() {
        let places = [(USERNAME, Part::Username), (CLIENT_ID, Part::ClientId)];
        let found = places
            .into_iter()
            .filter_map(|(place, part)| Some((rest.find(place)?, place, part)));
        let Some((at, place, part)) = found.min_by_key(|(at, ..)| *at) else {
            parts.push(Part::Text(rest.into()));
            break;
        };
        if at > 0 {
            parts.push(Part::Text(rest[..at].into()));
        }
        parts.push(part);
        rest = &rest[at + place.len()..];
    }
    parts.into()
}

/// What follows the first level.
fn after_level(text: &str) -> &str {
    text.find('/').map_or("", |at| &text[at..])
}

/// What is wrong with a filter of a rule, as the rest of a sentence.
pub(crate) fn fault_of_filter(template: &str) -> Option<String> {
    let filter = match TopicFilter::parse(template) {
        Ok(filter) => filter,
        Err(error) => return Some(format!("is not a topic filter: {error}")),
    };
    if filter.share_group().is_some() {
        return Some("is of a shared subscription, which counts as its filter".to_owned());
    }
    let plain = template.replace(USERNAME, "").replace(CLIENT_ID, "");
    plain
        .contains(['{', '}'])
        .then(|| "has braces other than {username} and {client_id}".to_owned())
}
