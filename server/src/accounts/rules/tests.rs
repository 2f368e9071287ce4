//! Rules as tables, and against every topic there is.

mod meaning;

use proptest::prelude::*;

use super::*;

fn rule(effect: Effect, action: RuleAction, topics: &[&str], users: &[&str]) -> RuleConfig {
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    RuleConfig {
        effect,
        action,
        topics: owned(topics),
        users: owned(users),
    }
}

fn allow(topics: &[&str]) -> RuleConfig {
    rule(Effect::Allow, RuleAction::Any, topics, &[])
}

fn deny(topics: &[&str]) -> RuleConfig {
    rule(Effect::Deny, RuleAction::Any, topics, &[])
}

fn session(rules: Vec<RuleConfig>, default: Effect, user: &str, client: &str) -> Arc<SessionRules> {
    Rules::compile(&rules, default).session(user, client)
}

fn may_publish(rules: &SessionRules, name: &str) -> bool {
    rules.may_publish(TopicName::parse(name).unwrap())
}

fn may_subscribe(rules: &SessionRules, filter: &str) -> bool {
    rules.may_subscribe(TopicFilter::parse(filter).unwrap())
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = vec![
        deny(&["a/secret", "b/secret"]),
        allow(&["a/#"]),
        deny(&["#"]),
    ];
    let rules = session(rules, Effect::Allow, "alice", "c");
    assert!(may_publish(&rules, "a/b") && may_publish(&rules, "a"));
    assert!(!may_publish(&rules, "a/secret"));
    assert!(!may_publish(&rules, "b"));
    assert!(
        may_publish(&rules, "$x"),
        "`#` says nothing of it, so the default does"
    );
}

#[test]
fn a_subscription_is_allowed_when_all_that_it_brings_is() {
    let rules = vec![deny(&["a/secret"]), allow(&["a/#", "b/+"])];
    let rules = session(rules, Effect::Deny, "alice", "c");
    for allowed in ["a/b", "a/b/#", "a/b/+", "b/+", "b/x", "$share/g/b/x"] {
        assert!(may_subscribe(&rules, allowed), "{allowed}");
    }
    for denied in [
        "a/secret",
        "a/+",
        "a/#",
        "#",
        "+/+",
        "b/#",
        "c",
        "$share/g/a/#",
    ] {
        assert!(!may_subscribe(&rules, denied), "{denied}");
    }
}

#[test]
fn actions_and_users_are_told_apart() {
    let rules = vec![
        rule(Effect::Allow, RuleAction::Publish, &["in"], &[]),
        rule(Effect::Allow, RuleAction::Subscribe, &["out"], &[]),
        rule(
            Effect::Allow,
            RuleAction::Any,
            &["#"],
            &["root", "alice@home"],
        ),
    ];
    let of = |user| session(rules.clone(), Effect::Deny, user, "c");
    let alice = of("alice");
    assert!(may_publish(&alice, "in") && !may_subscribe(&alice, "in"));
    assert!(!may_publish(&alice, "out") && may_subscribe(&alice, "out"));
    assert!(may_subscribe(&of("root"), "#") && may_publish(&of("alice@home"), "x"));
}

#[test]
fn the_client_s_names_stand_in_filters() {
    let rules = vec![allow(&[
        "chat/{username}/#",
        "dev/d-{client_id}-{username}",
    ])];
    let rules = session(rules, Effect::Deny, "alice", "c1");
    assert!(may_subscribe(&rules, "chat/alice/#") && may_publish(&rules, "chat/alice/x"));
    assert!(may_publish(&rules, "dev/d-c1-alice"));
    assert!(!may_subscribe(&rules, "chat/+/#") && !may_publish(&rules, "chat/bob/x"));
}

#[test]
fn a_name_that_looks_like_a_filter_or_a_placeholder_widens_nothing() {
    let allowing = || vec![allow(&["chat/{username}/#", "{username}/x"])];
    for name in ["+", "#", "a/b", "/", "a+", "x/#"] {
        let rules = session(allowing(), Effect::Deny, name, "c");
        for wanted in ["chat/a/x", "chat/+/x", "chat/a/b/x", "a/x", "chat/x"] {
            assert!(
                !may_publish(&rules, &wanted.replace('+', "p")),
                "{name} {wanted}"
            );
            assert!(!may_subscribe(&rules, wanted), "{name} {wanted}");
        }
    }
    let rules = session(allowing(), Effect::Deny, "{client_id}", "bob");
    assert!(!may_publish(&rules, "chat/bob/x"));
    assert!(may_publish(&rules, "chat/{client_id}/x"));
    let rules = session(allowing(), Effect::Deny, "$SYS", "c");
    assert!(!may_subscribe(&rules, "$SYS/x"));
    let rules = session(allowing(), Effect::Deny, "$share", "c");
    assert!(!may_publish(&rules, "$share/x"));
}

#[test]
fn a_denial_holds_for_names_that_do_not_fit() {
    let rules = vec![deny(&["private/{username}/#"])];
    let rules = session(rules, Effect::Allow, "a/b", "c");
    assert!(!may_publish(&rules, "private/a/b"));
    assert!(!may_subscribe(&rules, "private/a/#"));
    assert!(may_publish(&rules, "public/a"));
}

#[test]
fn without_rules_everything_is_allowed_and_with_some_only_what_they_say() {
    let org = |lines: &str| {
        let text = format!("[[org]]\nid = \"a\"\n{lines}");
        let config = crate::config::Config::from_text(&text, "t", &Default::default());
        Rules::of(&config.unwrap().orgs[0])
    };
    assert!(org("").is_none());
    let one = "[[org.rule]]\neffect = \"allow\"\ntopics = [\"a\"]";
    let rules = org(one).unwrap().session("u", "c");
    assert!(may_publish(&rules, "a") && !may_publish(&rules, "b"));
    let rules = org(&format!("rules_default = \"allow\"\n{one}")).unwrap();
    assert!(may_publish(&rules.session("u", "c"), "b"));
    let rules = org("rules_default = \"deny\"").unwrap();
    assert!(!may_publish(&rules.session("u", "c"), "b"));
    let (first, second) = (rules.session("u", "c"), rules.session("v", "d"));
    assert!(
        Arc::ptr_eq(&first, &second),
        "what is the same is kept once"
    );
}

#[test]
fn whoever_no_rule_names_shares_what_holds_for_all_such() {
    let rules = vec![
        rule(Effect::Allow, RuleAction::Any, &["#"], &["root", "admin"]),
        allow(&["public/#"]),
    ];
    let rules = Rules::compile(&rules, Effect::Deny);
    let (alice, bob) = (rules.session("alice", "1"), rules.session("bob", "2"));
    assert!(Arc::ptr_eq(&alice, &bob));
    assert!(may_publish(&alice, "public/x") && !may_publish(&alice, "x"));
    assert!(may_publish(&rules.session("admin", "3"), "x"));
}

#[test]
fn filters_that_could_never_mean_what_was_meant_are_refused() {
    for (filter, part) in [
        ("a/#/b", "not a topic filter"),
        ("", "not a topic filter"),
        ("$share/g/a", "counts as its filter"),
        ("chat/{user}", "braces"),
        ("chat/{username", "braces"),
    ] {
        let fault = fault_of_filter(filter).unwrap();
        assert!(fault.contains(part), "{filter}: {fault}");
    }
    assert_eq!(fault_of_filter("a/{username}/{client_id}-x/#"), None);
}

/// Every name of up to four levels of few.
fn all_names() -> Vec<String> {
    let levels = ["", "a", "b", "$s"];
    let mut all: Vec<String> = levels.map(ToOwned::to_owned).into();
    let mut longest = all.clone();
    for _ in 0..3 {
        longest = longest
            .iter()
            .flat_map(|text| levels.map(|level| format!("{text}/{level}")))
            .collect();
        all.extend(longest.iter().cloned());
    }
    all.retain(|name| !name.is_empty());
    all
}

fn filters() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["", "a", "b", "$s", "+"]);
    let levels = prop::collection::vec(level, 0..4);
    (levels, any::<bool>()).prop_filter_map("filters are not empty", |(mut levels, hash)| {
        levels.extend(hash.then_some("#"));
        let text = levels.join("/");
        (!text.is_empty()).then_some(text)
    })
}

fn some_rules() -> impl Strategy<Value = Vec<RuleConfig>> {
    let one = (any::<bool>(), prop::collection::vec(filters(), 1..3));
    let one = one.prop_map(|(is_allowing, topics)| RuleConfig {
        effect: if is_allowing {
            Effect::Allow
        } else {
            Effect::Deny
        },
        action: RuleAction::Any,
        topics,
        users: Vec::new(),
    });
    prop::collection::vec(one, 0..5)
}

proptest! {
    #[test]
    fn whoever_may_subscribe_may_have_each_message_that_it_brings(
        rules in some_rules(), allows in any::<bool>(), wanted in filters(),
    ) {
        let default = if allows { Effect::Allow } else { Effect::Deny };
        let rules = session(rules, default, "u", "c");
        let filter = TopicFilter::parse(&wanted).unwrap();
        if rules.may_subscribe(filter) {
            for text in all_names() {
                let name = TopicName::parse(&text).unwrap();
                prop_assert!(!filter.matches(name) || rules.may_publish(name), "{}", text);
            }
        }
    }

    #[test]
    fn a_topic_without_wildcards_may_be_subscribed_to_as_it_may_be_published_to(
        rules in some_rules(), allows in any::<bool>(), at in 0_usize..300,
    ) {
        let default = if allows { Effect::Allow } else { Effect::Deny };
        let rules = session(rules, default, "u", "c");
        let names = all_names();
        let text = &names[at % names.len()];
        prop_assert_eq!(may_subscribe(&rules, text), may_publish(&rules, text));
    }

    #[test]
    fn nobody_leaves_the_own_branch_whatever_the_name(
        user in "[a+#/${}]{1,4}|\\{client_id\\}|\\{username\\}", client in "[a+#/${}]{1,3}",
    ) {
        let rules = vec![allow(&["chat/{username}/{client_id}/#"])];
        let rules = session(rules, Effect::Deny, &user, &client);
        for text in ["chat/a/a", "chat/a/a/a", "chat/+/a", "chat/#", "#", "chat/a/+", "a", "chat"] {
            let own = format!("chat/{user}/{client}");
            let is_own = text == own || text.starts_with(&format!("{own}/"));
            prop_assert!(!may_subscribe(&rules, text) || is_own, "{}", text);
        }
    }
}
