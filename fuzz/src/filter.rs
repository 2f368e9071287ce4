//! Topic filters: parsing loses nothing, and the trie finds exactly what a matcher finds that
//! compares level by level, as §4.7 puts it.

use std::collections::BTreeMap;

use topics::{FilterTrie, TopicFilter, TopicName};

/// Lines: filters to subscribe to; one that begins with `-` is taken away again, one that begins
/// with `=` is a name that is published to.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut trie = FilterTrie::new();
    let mut filters = BTreeMap::new();
    for (number, line) in (0..).zip(text.split('\n').take(64)) {
        match line.as_bytes().first() {
            Some(b'-') => remove(&line[1..], &mut trie, &mut filters),
            Some(b'=') => publish(&line[1..], &trie, &filters),
            _ => insert(line, number, &mut trie, &mut filters),
        }
    }
    let texts: Vec<String> = filters.keys().cloned().collect();
    for text in texts {
        remove(&text, &mut trie, &mut filters);
    }
    assert!(trie.is_empty() && trie.filter_count() == 0);
}

fn insert(text: &str, number: u32, trie: &mut FilterTrie, filters: &mut BTreeMap<String, u32>) {
    let Ok(filter) = TopicFilter::parse(text) else {
        return;
    };
    assert_eq!(filter.as_str(), text);
    assert!(!text.is_empty() && !text.contains('\0'));
    assert_eq!(filter.level_count(), filter.levels().count());
    assert!(filter.matched().split('/').eq(filter.levels()));
    assert!(filter.covers(filter) && filter.overlaps(filter));
    if filter.share_group().is_some() {
        return;
    }
    let node = trie.entry(filter);
    trie.set_value(node, number);
    let mut written = String::new();
    trie.write_filter(node, &mut written);
    assert_eq!(written, text);
    filters.insert(text.to_owned(), number);
    for other in filters.keys() {
        let other = TopicFilter::parse(other).expect("it was parsed before");
        assert_eq!(filter.overlaps(other), other.overlaps(filter));
        assert!(!filter.covers(other) || filter.overlaps(other));
    }
}

fn remove(text: &str, trie: &mut FilterTrie, filters: &mut BTreeMap<String, u32>) {
    let Ok(filter) = TopicFilter::parse(text) else {
        return;
    };
    let found = trie.get(filter).filter(|_| filter.share_group().is_none());
    let is_there = filters.remove(text).is_some();
    assert_eq!(found.is_some(), is_there, "{text}");
    if let Some(node) = found {
        trie.release(node);
    }
}

fn publish(text: &str, trie: &FilterTrie, filters: &BTreeMap<String, u32>) {
    let Ok(name) = TopicName::parse(text) else {
        return;
    };
    let mut found = Vec::new();
    trie.matching(name, |number| found.push(number));
    found.sort_unstable();
    let matching = filters.iter().filter(|(filter, _)| matches(filter, text));
    let mut expected: Vec<u32> = matching.map(|(_, number)| *number).collect();
    expected.sort_unstable();
    assert_eq!(found, expected, "{text} among {filters:?}");
    for filter in filters.keys() {
        let parsed = TopicFilter::parse(filter).expect("it was parsed before");
        assert_eq!(
            parsed.matches(name),
            matches(filter, text),
            "{filter} {text}"
        );
    }
}

/// §4.7.1 and §4.7.2, word by word.
fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    for (at, level) in filter.iter().enumerate() {
        match *level {
            "#" => return true,
            "+" if at < name.len() => {}
            level if name.get(at) == Some(&level) => {}
            _ => return false,
        }
        if at + 1 == name.len() && filter.get(at + 1) == Some(&"#") {
            return true; // "sport/#" matches "sport" too.
        }
    }
    filter.len() == name.len()
}
