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
//!
//! Rules are compiled once and shared by all sessions of the organisation. A session has its names
//! beside them, so that many rules cost many sessions nothing, and asks without allocating whether
//! it may publish.

mod template;

use std::sync::Arc;

use topics::{TopicFilter, TopicName};

pub(crate) use self::template::fault_of_filter;
use self::template::{Names, RuleFilter};
use crate::config::{Effect, OrgConfig, RuleAction, RuleConfig};

/// The rules of an organisation.
pub(super) struct Rules {
    compiled: Arc<Compiled>,
    /// What holds for everybody whom no rule names.
    common: Arc<SessionRules>,
}

#[derive(Debug)]
struct Compiled {
    rules: Box<[Rule]>,
    default: Effect,
}

#[derive(Debug)]
struct Rule {
    effect: Effect,
    action: RuleAction,
    filters: Box<[RuleFilter]>,
    /// Whom it is about, sorted; empty: everybody.
    users: Box<[Box<str>]>,
}

/// The rules as they hold for one session.
#[derive(Debug)]
pub struct SessionRules {
    compiled: Arc<Compiled>,
    names: Names,
    /// Which rules are about others; empty: none.
    about_others: Box<[bool]>,
}

impl Rules {
    /// The rules of a validated organisation; none if everything is allowed.
    pub(super) fn of(org: &OrgConfig) -> Option<Self> {
        let default = org.default_effect();
        if org.rules.is_empty() && default == Effect::Allow {
            return None;
        }
        Some(Self::compile(&org.rules, default))
    }

    fn compile(rules: &[RuleConfig], default: Effect) -> Self {
        let compiled = Arc::new(Compiled {
            rules: rules.iter().map(Rule::compile).collect(),
            default,
        });
        let others = compiled.rules.iter().map(|rule| !rule.users.is_empty());
        let common = SessionRules {
            about_others: others.collect(),
            names: Names::default(),
            compiled: Arc::clone(&compiled),
        };
        Self {
            compiled,
            common: Arc::new(common),
        }
    }

    /// The rules for one session.
    pub(super) fn session(&self, username: &str, client_id: &str) -> Arc<SessionRules> {
        let rules = &self.compiled.rules;
        let is_common = |rule: &Rule| {
            let names_nobody = !rule.filters.iter().any(RuleFilter::is_personal);
            names_nobody && (rule.users.is_empty() || !rule.is_about(username))
        };
        if rules.iter().all(is_common) {
            return Arc::clone(&self.common);
        }
        let others = rules.iter().map(|rule| !rule.is_about(username));
        let is_about_all = others.clone().all(|is_about_others| !is_about_others);
        Arc::new(SessionRules {
            compiled: Arc::clone(&self.compiled),
            names: Names::new(username, client_id),
            about_others: if is_about_all {
                Box::default()
            } else {
                others.collect()
            },
        })
    }
}

impl Rule {
    fn compile(config: &RuleConfig) -> Self {
        let filters = config.topics.iter();
        let mut users: Box<[Box<str>]> = config.users.iter().map(|user| (**user).into()).collect();
        users.sort_unstable();
        Self {
            effect: config.effect,
            action: config.action,
            filters: filters
                .filter_map(|text| RuleFilter::compile(text))
                .collect(),
            users,
        }
    }

    fn is_about(&self, username: &str) -> bool {
        let named = || self.users.binary_search_by(|user| (**user).cmp(username));
        self.users.is_empty() || named().is_ok()
    }
}

impl SessionRules {
    /// Whether a message may be published to this topic.
    #[must_use]
    pub fn may_publish(&self, name: TopicName<'_>) -> bool {
        let decided = self.effect(RuleAction::Publish, |effect, filter| {
            filter.matches(name, effect, &self.names)
        });
        decided == Effect::Allow
    }

    /// Whether this filter may be subscribed to.
    #[must_use]
    pub fn may_subscribe(&self, wanted: TopicFilter<'_>) -> bool {
        let decided = self.effect(RuleAction::Subscribe, |effect, filter| {
            filter.concerns(wanted, effect, &self.names)
        });
        decided == Effect::Allow
    }

    /// What the first rule about `action` decides of which a filter hits.
    fn effect(&self, action: RuleAction, hits: impl Fn(Effect, &RuleFilter) -> bool) -> Effect {
        let is_about = |at: usize, rule: &Rule| {
            [action, RuleAction::Any].contains(&rule.action)
                && !self.about_others.get(at).copied().unwrap_or_default()
        };
        let decides = |(at, rule): &(usize, &Rule)| {
            is_about(*at, rule) && rule.filters.iter().any(|filter| hits(rule.effect, filter))
        };
        let mut rules = self.compiled.rules.iter().enumerate();
        let first = rules.find(decides);
        first.map_or(self.compiled.default, |(_, rule)| rule.effect)
    }
}

#[cfg(test)]
mod tests;
