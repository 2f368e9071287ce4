//! Access rules: who may publish and subscribe to what. The first rule that has something to say
//! decides, else the default does.
//!
//! A name is concerned by the filters that match it. A subscription is allowed by a rule that
//! *covers* it (all it can bring is allowed) and denied by one that *overlaps* it (some of it is
//! denied): so whoever may subscribe may have every single message that comes of it. A shared
//! subscription counts as its filter.
//!
//! `{username}` and `{client_id}` never widen a rule. A name that cannot stand in one level, or
//! would make a topic begin with `$`, makes an allowing filter say nothing, and a denying one hold
//! for everybody at that level.

use std::sync::Arc;

use topics::{TopicFilter, TopicName};

use crate::config::{Effect, OrgConfig, RuleAction, RuleConfig};

const USERNAME: &str = "{username}";
const CLIENT_ID: &str = "{client_id}";

/// The rules of an organisation.
pub(super) struct Rules {
    rules: Vec<RuleConfig>,
    default: Effect,
    /// The rules as everybody has them, if they are the same for all.
    common: Option<Arc<SessionRules>>,
}

/// The rules as they hold for one session.
#[derive(Debug, PartialEq, Eq)]
pub struct SessionRules {
    rules: Box<[SessionRule]>,
    default: Effect,
}

#[derive(Debug, PartialEq, Eq)]
struct SessionRule {
    effect: Effect,
    action: RuleAction,
    filters: Box<[Box<str>]>,
}

impl Rules {
    /// The rules of a validated organisation; none if everything is allowed.
    pub(super) fn of(org: &OrgConfig) -> Option<Self> {
        let default = org.rules_default.unwrap_or(if org.rules.is_empty() {
            Effect::Allow
        } else {
            Effect::Deny
        });
        if org.rules.is_empty() && default == Effect::Allow {
            return None;
        }
        let mut rules = Self {
            rules: org.rules.clone(),
            default,
            common: None,
        };
        let is_personal = |rule: &RuleConfig| {
            let names_somebody =
                |text: &String| text.contains(USERNAME) || text.contains(CLIENT_ID);
            !rule.users.is_empty() || rule.topics.iter().any(names_somebody)
        };
        if !rules.rules.iter().any(is_personal) {
            rules.common = Some(Arc::new(rules.write_out("", "")));
        }
        Some(rules)
    }

    /// The rules for one session.
    pub(super) fn session(&self, username: &str, client_id: &str) -> Arc<SessionRules> {
        match &self.common {
            Some(common) => Arc::clone(common),
            None => Arc::new(self.write_out(username, client_id)),
        }
    }

    fn write_out(&self, username: &str, client_id: &str) -> SessionRules {
        let concerns = |rule: &&RuleConfig| {
            rule.users.is_empty() || rule.users.iter().any(|user| user == username)
        };
        let rules = self.rules.iter().filter(concerns).map(|rule| {
            let filters = rule.topics.iter();
            let filters =
                filters.filter_map(|text| write_filter(text, rule.effect, username, client_id));
            SessionRule {
                effect: rule.effect,
                action: rule.action,
                filters: filters.collect(),
            }
        });
        SessionRules {
            rules: rules.collect(),
            default: self.default,
        }
    }
}

impl SessionRules {
    /// Whether a message may be published to this topic.
    #[must_use]
    pub fn may_publish(&self, name: TopicName<'_>) -> bool {
        let decided = self.effect(RuleAction::Publish, |_, filter| filter.matches(name));
        decided == Effect::Allow
    }

    /// Whether this filter may be subscribed to.
    #[must_use]
    pub fn may_subscribe(&self, wanted: TopicFilter<'_>) -> bool {
        let decided = self.effect(RuleAction::Subscribe, |effect, filter| match effect {
            Effect::Allow => filter.covers(wanted),
            Effect::Deny => filter.overlaps(wanted),
        });
        decided == Effect::Allow
    }

    /// What the first rule about `action` decides of which a filter hits.
    fn effect(&self, action: RuleAction, hits: impl Fn(Effect, TopicFilter<'_>) -> bool) -> Effect {
        let is_about = |rule: &&SessionRule| [action, RuleAction::Any].contains(&rule.action);
        let decides = |rule: &&SessionRule| {
            let filters = rule
                .filters
                .iter()
                .flat_map(|text| TopicFilter::parse(text));
            filters.into_iter().any(|filter| hits(rule.effect, filter))
        };
        let mut rules = self.rules.iter().filter(is_about);
        rules.find(decides).map_or(self.default, |rule| rule.effect)
    }
}

/// A filter with the client's names in it; none if it has nothing to say of this client.
fn write_filter(
    template: &str,
    effect: Effect,
    username: &str,
    client_id: &str,
) -> Option<Box<str>> {
    let mut levels = Vec::new();
    for (at, level) in template.split('/').enumerate() {
        match write_level(level, at == 0, username, client_id) {
            Some(text) => levels.push(text),
            None if effect == Effect::Deny => levels.push("+".to_owned()),
            None => return None,
        }
    }
    let text = levels.join("/");
    match TopicFilter::parse(&text) {
        Ok(filter) if filter.share_group().is_none() => Some(text.into()),
        // Too long to be a filter, so no topic is that long either.
        _ => None,
    }
}

/// One level with the client's names in it; none if they do not fit there.
fn write_level(level: &str, is_first: bool, username: &str, client_id: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = level;
    let mut is_changed = false;
    // What has been put in is not looked at again: a name may look like a placeholder.
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let (value, after) = if let Some(after) = from.strip_prefix(USERNAME) {
            (username, after)
        } else if let Some(after) = from.strip_prefix(CLIENT_ID) {
            (client_id, after)
        } else {
            ("{", &from[1..])
        };
        is_changed |= value != "{" || from.starts_with(USERNAME) || from.starts_with(CLIENT_ID);
        if value.contains(['/', '+', '#', '\0']) {
            return None;
        }
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    let hides = is_changed && is_first && text.starts_with('$') && !level.starts_with('$');
    (!hides).then_some(text)
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

#[cfg(test)]
mod tests;
