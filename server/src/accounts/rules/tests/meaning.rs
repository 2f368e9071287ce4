//! What rules mean, without anything compiled: for each question filters are written out as text
//! with the client's names and read again. The compiled rules must answer the same.

use super::*;

const PLACES: [&str; 2] = ["{username}", "{client_id}"];

struct Client<'a> {
    user: &'a str,
    id: &'a str,
}

impl Client<'_> {
    /// A level with the names in it; none if they do not fit there.
    fn level(&self, template: &str, is_first: bool) -> Option<String> {
        let names = [self.user, self.id];
        let mut text = String::new();
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            let place = PLACES.iter().position(|place| rest.starts_with(place));
            let Some(place) = place else {
                text.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            };
            if names[place].contains(['/', '+', '#', '\0']) {
                return None;
            }
            text.push_str(names[place]);
            rest = &rest[PLACES[place].len()..];
        }
        let hides = is_first && text.starts_with('$') && !template.starts_with('$');
        (!hides).then_some(text)
    }

    fn filter(&self, template: &str, effect: Effect) -> Option<String> {
        let mut levels = Vec::new();
        for (at, level) in template.split('/').enumerate() {
            match (self.level(level, at == 0), effect) {
                (Some(text), _) => levels.push(text),
                (None, Effect::Deny) => levels.push("+".to_owned()),
                (None, Effect::Allow) => return None,
            }
        }
        Some(levels.join("/"))
    }

    /// Whether the first rule that hits allows it.
    fn may(
        &self,
        rules: &[RuleConfig],
        default: Effect,
        action: RuleAction,
        hits: impl Fn(Effect, TopicFilter<'_>) -> bool,
    ) -> bool {
        for rule in rules {
            let is_about_user = rule.users.is_empty() || rule.users.iter().any(|u| u == self.user);
            if !is_about_user || ![action, RuleAction::Any].contains(&rule.action) {
                continue;
            }
            for template in &rule.topics {
                let text = self.filter(template, rule.effect);
                let filter = text.as_deref().map(TopicFilter::parse);
                if let Some(Ok(filter)) = filter
                    && hits(rule.effect, filter)
                {
                    return rule.effect == Effect::Allow;
                }
            }
        }
        default == Effect::Allow
    }
}

fn templates() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec![
        "",
        "a",
        "b",
        "+",
        "$s",
        "{username}",
        "{client_id}",
        "a{username}",
        "{username}b",
        "$s{client_id}",
        "{username}{client_id}",
        "{username}$s",
    ]);
    let levels = prop::collection::vec(level, 0..4);
    (levels, any::<bool>()).prop_filter_map("filters are not empty", |(mut levels, hash)| {
        levels.extend(hash.then_some("#"));
        let text = levels.join("/");
        (!text.is_empty()).then_some(text)
    })
}

fn personal_rules() -> impl Strategy<Value = Vec<RuleConfig>> {
    let effect = prop::sample::select(vec![Effect::Allow, Effect::Deny]);
    let action = prop::sample::select(vec![
        RuleAction::Any,
        RuleAction::Publish,
        RuleAction::Subscribe,
    ]);
    let users = prop::sample::select(vec![vec![], vec!["b", "a"], vec!["$s"]]);
    let topics = prop::collection::vec(templates(), 1..3);
    let one = (effect, action, topics, users).prop_map(|(effect, action, topics, users)| {
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        rule(effect, action, &topics, &users)
    });
    prop::collection::vec(one, 0..5)
}

fn names_of_clients() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b", "$s", "s", "a/b", "+", "#", "{username}"])
        .prop_map(ToOwned::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn compiled_rules_mean_what_the_written_ones_do(
        rules in personal_rules(), allows in any::<bool>(), user in names_of_clients(),
        id in names_of_clients(), wanted in filters(),
    ) {
        let default = if allows { Effect::Allow } else { Effect::Deny };
        let compiled = session(rules.clone(), default, &user, &id);
        let client = Client { user: &user, id: &id };
        for text in all_names() {
            let name = TopicName::parse(&text).unwrap();
            let may = client.may(&rules, default, RuleAction::Publish, |_, own| own.matches(name));
            prop_assert_eq!(compiled.may_publish(name), may, "{}", text);
        }
        let filter = TopicFilter::parse(&wanted).unwrap();
        let may = client.may(&rules, default, RuleAction::Subscribe, |effect, own| match effect {
            Effect::Allow => own.covers(filter),
            Effect::Deny => own.overlaps(filter),
        });
        prop_assert_eq!(compiled.may_subscribe(filter), may);
    }
}
