//! The rules for filters as tables, and overlap against all names there are.

use proptest::prelude::*;

use super::*;
use crate::testing::{all_texts, filter, filters, name, names};

#[track_caller]
fn check_parse(text: &str, expected: Result<(), TopicFilterError>) {
    assert_eq!(TopicFilter::parse(text).map(|_| ()), expected, "{text:?}");
}

#[test]
fn filters_are_checked_against_each_rule() {
    for text in ["a", "/", "+", "#", "+/+", "/#", "a/+/b/#", "$SYS/#", "a b"] {
        check_parse(text, Ok(()));
    }
    check_parse("", Err(TopicFilterError::Empty));
    check_parse("a/\0", Err(TopicFilterError::NullCharacter));
    check_parse("a/#/b", Err(TopicFilterError::HashNotLast));
    check_parse("#/", Err(TopicFilterError::HashNotLast));
    for (text, level) in [
        ("a+", 1),
        ("#a", 1),
        ("a/++", 2),
        ("a/b/c#", 3),
        ("+a/#", 1),
    ] {
        check_parse(text, Err(TopicFilterError::WildcardInLevel { level }));
    }
}

#[test]
fn the_longest_filter_has_65535_bytes() {
    check_parse(&"x".repeat(TOPIC_BYTES_MAX), Ok(()));
    let bytes = TOPIC_BYTES_MAX + 1;
    check_parse(&"x".repeat(bytes), Err(TopicFilterError::TooLong { bytes }));
}

#[test]
fn a_filter_that_is_kept_is_the_same() {
    for text in ["a", "+/b/#", "$share/g/a/+", "/"] {
        let kept = TopicFilterBuf::from(filter(text));
        assert_eq!(kept.as_filter(), filter(text));
    }
}

#[test]
fn share_is_split_into_group_and_filter() {
    let parts = |text| {
        let filter = filter(text);
        assert_eq!(filter.as_str(), text);
        (filter.share_group(), filter.matched())
    };
    assert_eq!(parts("$share/g/a/+"), (Some("g"), "a/+"));
    assert_eq!(parts("$share/g//"), (Some("g"), "/"));
    assert_eq!(parts("$share/g/#"), (Some("g"), "#"));
    assert_eq!(parts("$share/g/$share/h/a"), (Some("g"), "$share/h/a"));
    assert_eq!(parts("a/$share/g/a"), (None, "a/$share/g/a"));
    // Only what begins with `$share/` is a shared subscription.
    assert_eq!(parts("$share"), (None, "$share"));
    assert_eq!(parts("$shared/g/a"), (None, "$shared/g/a"));
}

#[test]
fn malformed_shares_are_refused() {
    let malformed = [
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//a",
        "$share/+/a",
    ];
    for text in malformed.into_iter().chain(["$share/#", "$share/a#/b"]) {
        check_parse(text, Err(TopicFilterError::Share));
    }
    check_parse("$share/g/#/a", Err(TopicFilterError::HashNotLast));
    let in_first_level = TopicFilterError::WildcardInLevel { level: 1 };
    check_parse("$share/g/a+", Err(in_first_level));
}

#[test]
fn levels_leave_out_the_share() {
    let levels = |text| filter(text).levels().collect::<Vec<_>>();
    assert_eq!(levels("$share/g/a//+"), ["a", "", "+"]);
    assert_eq!(levels("/"), ["", ""]);
    assert_eq!(filter("$share/g/a//+").level_count(), 3);
    assert_eq!(filter("#").level_count(), 1);
}

#[track_caller]
fn check_match(reason: &str, filter_text: &str, name_text: &str, expected: bool) {
    let matches = filter(filter_text).matches(name(name_text));
    assert_eq!(matches, expected, "{reason}: {filter_text} {name_text}");
}

#[test]
fn filters_match_by_the_rules() {
    let rows = [
        ("literal levels are compared", "a/b", "a/b", true),
        ("case counts", "a/b", "a/B", false),
        (
            "a letter with its accent is not both in one",
            "caf\u{e9}",
            "cafe\u{301}",
            false,
        ),
        ("a byte order mark counts", "a", "\u{feff}a", false),
        ("a name may not go on", "a", "a/b", false),
        ("a name may not end early", "a/b", "a", false),
        ("a closing slash is a level", "a", "a/", false),
        ("a leading slash is a level", "a", "/a", false),
        ("plus takes one level", "a/+", "a/b", true),
        ("plus takes an empty level", "a/+", "a/", true),
        ("plus takes no two levels", "a/+", "a/b/c", false),
        ("plus does not take no level", "a/+", "a", false),
        ("plus in the middle", "a/+/c", "a/b/c", true),
        ("plus at both empty levels", "+/+", "/", true),
        ("plus after a leading slash", "/+", "/a", true),
        ("one plus is not two levels", "+", "/a", false),
        ("hash takes everything", "#", "a/b/c", true),
        ("hash takes only slashes", "#", "//", true),
        ("hash takes its parent", "a/#", "a", true),
        ("hash takes a child", "a/#", "a/b", true),
        ("hash takes an empty child", "a/#", "a/", true),
        ("hash keeps to its parent", "a/#", "ab", false),
        ("hash after plus takes the parent", "+/#", "a", true),
        ("hash after a plus that takes nothing", "a/+/#", "a", false),
        ("hash below an empty level", "/#", "/", true),
        ("hash below an empty level keeps to it", "/#", "a", false),
        ("dollar hides from hash", "#", "$SYS/a", false),
        ("dollar hides from plus", "+/a", "$SYS/a", false),
        ("dollar hides from plus and hash", "+/#", "$SYS", false),
        ("dollar is found by its name", "$SYS/#", "$SYS/a", true),
        ("wildcards below dollar", "$SYS/+", "$SYS/a", true),
        ("dollar counts in the first level only", "a/+", "a/$b", true),
        ("dollar after a slash does not count", "+/+", "/$b", true),
        ("a share matches as its filter", "$share/g/a/+", "a/b", true),
        (
            "a share with hash obeys the dollar rule",
            "$share/g/#",
            "$SYS",
            false,
        ),
        (
            "a share does not match its own text",
            "$share/g/a",
            "$share/g/a",
            false,
        ),
    ];
    for (reason, filter, name, expected) in rows {
        check_match(reason, filter, name, expected);
    }
}

#[track_caller]
fn check_overlap(reason: &str, a: &str, b: &str, expected: bool) {
    assert_eq!(filter(a).overlaps(filter(b)), expected, "{reason}: {a} {b}");
    assert_eq!(filter(b).overlaps(filter(a)), expected, "{reason}: {b} {a}");
}

#[test]
fn filters_overlap_by_the_rules() {
    let rows = [
        ("equal", "a/b", "a/b", true),
        ("different", "a/b", "a/c", false),
        ("one longer", "a", "a/b", false),
        ("plus and literal", "a/+", "a/b", true),
        ("plus crosswise", "a/+", "+/b", true),
        ("plus against two levels", "+", "a/b", false),
        ("plus and hash", "+", "#", true),
        ("hash below plus", "+/a", "#", true),
        ("hash and its parent", "a/#", "a", true),
        ("hash and plus below one parent", "a/#", "a/+", true),
        ("hash and a plus in place of its parent", "a/#", "+", true),
        ("hash below another parent", "a/#", "b/c", false),
        ("hash and too short a filter", "a/b/#", "a", false),
        ("two hashes", "a/#", "+/b/#", true),
        ("two hashes apart", "a/#", "b/#", false),
        ("empty levels", "/", "+/+", true),
        ("an empty level in the middle", "a//b", "a/+/b", true),
        ("an empty level is not none", "a/", "a", false),
        ("dollar hides from hash", "#", "$SYS/x", false),
        ("dollar hides from plus", "+/a", "$SYS/a", false),
        ("dollar hides from plus and hash", "+/#", "$SYS", false),
        ("below dollar wildcards meet", "$SYS/#", "$SYS/+", true),
        ("dollar and its parent", "$SYS/#", "$SYS", true),
        ("dollar below the first level", "a/+", "a/$b", true),
        ("only the empty name suits both", "+", "/#", false),
        ("the empty level goes on", "+/#", "/#", true),
        ("the empty level ends with a slash", "+/+", "/#", true),
        ("hash takes the slash alone", "#", "/#", true),
        (
            "shares count as their filters",
            "$share/g/a/#",
            "$share/h/a",
            true,
        ),
        ("a share is not below dollar", "$share/g/a", "#", true),
    ];
    for (reason, a, b, expected) in rows {
        check_overlap(reason, a, b, expected);
    }
}

#[test]
fn two_filters_overlap_when_some_name_is_matched_by_both() {
    let names = all_texts(&["", "a", "b", "$s"], 3);
    let texts = all_texts(&["", "a", "$s", "+", "#"], 3);
    let filters = texts
        .iter()
        .filter_map(|text| TopicFilter::parse(text).ok());
    let matched = filters
        .map(|filter| {
            let matches = |text: &String| filter.matches(name(text));
            (filter, names.iter().map(matches).collect::<Vec<_>>())
        })
        .collect::<Vec<_>>();
    assert_eq!((names.len(), matched.len()), (83, 104));
    for (a, names_of_a) in &matched {
        for (b, names_of_b) in &matched {
            let common = names_of_a.iter().zip(names_of_b).any(|(a, b)| *a && *b);
            assert_eq!(a.overlaps(*b), common, "{} {}", a.as_str(), b.as_str());
        }
    }
}

#[test]
fn a_filter_covers_another_when_it_matches_every_name_that_the_other_does() {
    let names = all_texts(&["", "a", "b", "$s"], 5);
    let texts = all_texts(&["", "a", "$s", "+", "#"], 3);
    let filters = texts
        .iter()
        .filter_map(|text| TopicFilter::parse(text).ok());
    let matched = filters
        .map(|filter| {
            let matches = |text: &String| filter.matches(name(text));
            (filter, names.iter().map(matches).collect::<Vec<_>>())
        })
        .collect::<Vec<_>>();
    for (a, names_of_a) in &matched {
        for (b, names_of_b) in &matched {
            let all = names_of_a.iter().zip(names_of_b).all(|(a, b)| *a || !*b);
            assert_eq!(a.covers(*b), all, "{} {}", a.as_str(), b.as_str());
        }
    }
}

#[test]
fn a_share_is_covered_as_its_filter_is() {
    assert!(filter("chat/#").covers(filter("$share/g/chat/+")));
    assert!(!filter("chat/+").covers(filter("$share/g/chat/#")));
    assert!(filter("$share/g/chat/#").covers(filter("chat")));
}

/// The matching rules once more, over slices and without a care for speed.
fn matches_slowly(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, name @ ..]) => matches_slowly(filter, name),
        ([f, filter @ ..], [n, name @ ..]) => f == n && matches_slowly(filter, name),
        _ => false,
    }
}

proptest! {
    #[test]
    fn matching_agrees_with_a_plain_reading_of_the_rules(f in filters(), n in names()) {
        let (f, n) = (filter(&f), name(&n));
        let hidden = n.is_dollar() && f.matched().starts_with(['+', '#']);
        let levels = (f.levels().collect::<Vec<_>>(), n.levels().collect::<Vec<_>>());
        let expected = !hidden && matches_slowly(&levels.0, &levels.1);
        prop_assert_eq!(f.matches(n), expected);
    }

    #[test]
    fn overlap_is_symmetric_and_holds_for_filters_that_match_one_name(
        a in filters(), b in filters(), n in names(),
    ) {
        let (a, b, n) = (filter(&a), filter(&b), name(&n));
        prop_assert_eq!(a.overlaps(b), b.overlaps(a));
        prop_assert!(a.overlaps(b) || !a.matches(n) || !b.matches(n));
        prop_assert_eq!(filter(n.as_str()).overlaps(a), a.matches(n));
        prop_assert!(a.overlaps(a));
    }

    #[test]
    fn a_filter_that_covers_matches_whatever_the_other_does(
        a in filters(), b in filters(), n in names(),
    ) {
        let (a, b, n) = (filter(&a), filter(&b), name(&n));
        prop_assert!(!a.covers(b) || a.matches(n) || !b.matches(n));
        prop_assert_eq!(a.covers(filter(n.as_str())), a.matches(n));
        prop_assert!(a.covers(a));
        prop_assert!(!a.covers(b) || a.overlaps(b));
    }

    #[test]
    fn parsing_never_panics(text in "[ab/+#$\0]{0,12}|\\$share/[a/+#]{0,6}") {
        if let Ok(filter) = TopicFilter::parse(&text) {
            prop_assert!(filter.matched().len() <= text.len());
            prop_assert_eq!(filter.share_group().is_some(), text.starts_with("$share/"));
        }
    }
}
