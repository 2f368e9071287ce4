//! Filters and names for tests, drawn from few levels so that they often meet.

use proptest::prelude::*;

use crate::{TopicFilter, TopicName};

/// Too long for a label to be stored in its node.
const LONG: &str = "a-level-too-long-to-be-inline";

pub(crate) fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::parse(text).expect("the test gives a valid filter")
}

pub(crate) fn name(text: &str) -> TopicName<'_> {
    TopicName::parse(text).expect("the test gives a valid name")
}

/// Valid filters of up to five levels.
pub(crate) fn filters() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["", "a", "b", "$s", "+", "+", LONG]);
    let levels = prop::collection::vec(level, 0..5);
    (levels, any::<bool>()).prop_filter_map("filters are not empty", |(mut levels, hash)| {
        levels.extend(hash.then_some("#"));
        let text = levels.join("/");
        (!text.is_empty()).then_some(text)
    })
}

/// Valid names of up to five levels.
pub(crate) fn names() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["", "a", "b", "$s", LONG]);
    prop::collection::vec(level, 1..6)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("names are not empty", |text| !text.is_empty())
}

/// All texts of one to `depth` of the given levels but the empty one.
pub(crate) fn all_texts(levels: &[&str], depth: usize) -> Vec<String> {
    let mut texts = Vec::<String>::new();
    let mut longest = levels.iter().map(ToString::to_string).collect::<Vec<_>>();
    for _ in 0..depth {
        let longer = longest
            .iter()
            .flat_map(|text| levels.iter().map(move |level| format!("{text}/{level}")))
            .collect();
        texts.append(&mut longest);
        longest = longer;
    }
    texts.retain(|text| !text.is_empty());
    texts
}
