//! Finding a test in the sources by the name under which it runs.
//!
//! Rust tests are named as nextest prints them: `crate path::to::test` for unit tests and
//! `crate::binary path::to::test` for those in `tests/`. Tests with clients are named as pytest
//! takes them: `tests/clients/test_x.py::test_y`.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether the sources below `root` have such a test.
pub(super) fn exists(name: &str, root: &Path) -> bool {
    match name.split_once(' ') {
        Some((binary, path)) => rust_test(binary, path, root).unwrap_or(false),
        None => python_test(name, root).unwrap_or(false),
    }
}

fn python_test(name: &str, root: &Path) -> Option<bool> {
    let (file, function) = name.split_once("::")?;
    let text = fs::read_to_string(root.join(file)).ok()?;
    let head = format!("def {function}(");
    Some(function.starts_with("test_") && text.lines().any(|line| line.starts_with(&head)))
}

/// A module is a file of its own, or stands in that of a module around it.
fn rust_test(binary: &str, path: &str, root: &Path) -> Option<bool> {
    let (modules, function) = path.rsplit_once("::")?;
    let modules: Vec<&str> = modules.split("::").collect();
    let folder = folder(binary, root);
    let (file, inline) = (1..=modules.len()).rev().find_map(|count| {
        let file = folder.join(modules[..count].join("/")).with_extension("rs");
        file.is_file().then_some((file, &modules[count..]))
    })?;
    let text = fs::read_to_string(file).ok()?;
    let has_modules = inline
        .iter()
        .all(|name| text.contains(&format!("mod {name} {{")));
    Some(has_modules && is_tested(&text, function))
}

fn folder(binary: &str, root: &Path) -> PathBuf {
    match binary.split_once("::") {
        Some((name, binary)) => root.join(name).join("tests").join(binary),
        None => root.join(binary).join("src"),
    }
}

/// Whether a function of this name stands right below a `#[test]`, perhaps inside `proptest!`, and is
/// not left out of the run.
fn is_tested(text: &str, function: &str) -> bool {
    let head = format!("fn {function}(");
    let mut is_below_attribute = false;
    for line in text.lines().map(str::trim) {
        if is_below_attribute && line.trim_start_matches("async ").starts_with(&head) {
            return true;
        }
        let is_attribute = line == "#[test]" || line.starts_with("#[tokio::test");
        let is_run = !line.starts_with("#[ignore");
        let is_between = is_run && (line.starts_with("#[") || line.starts_with("//"));
        is_below_attribute = is_attribute || (is_below_attribute && is_between);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    #[test]
    fn tests_of_every_kind_are_found() {
        for name in [
            "xtask conformance::named_test::tests::tests_of_every_kind_are_found",
            "topics filter::tests::filters_match_by_the_rules",
            "topics filter::tests::parsing_never_panics",
            "mqtt::it connect::connack_of_mqtt_3_is_two_bytes",
            "tests/clients/test_control.py::test_the_packets_made_by_hand_are_understood",
        ] {
            assert!(exists(name, &root()), "{name}");
        }
    }

    #[test]
    fn what_is_no_test_is_not_found() {
        for name in [
            "nothing",
            "topics filter::tests::no_such_test",
            "topics filter::test::filters_match_by_the_rules",
            "topics name::tests::filters_match_by_the_rules",
            "mqtt connect::connack_of_mqtt_3_is_two_bytes",
            "mqtt::it script::connect_v5",
            "tests/clients/test_control.py::test_no_such_thing",
            "tests/clients/test_nothing.py::test_x",
            "tests/clients/harness.py::login",
        ] {
            assert!(!exists(name, &root()), "{name}");
        }
    }

    #[test]
    fn a_function_is_a_test_by_its_attribute() {
        assert!(is_tested("#[test]\nfn a() {", "a"));
        assert!(is_tested(
            "#[tokio::test]\n// Why.\n#[cfg(unix)]\nasync fn a() {",
            "a"
        ));
        assert!(!is_tested("#[test]\n#[ignore = \"slow\"]\nfn a() {", "a"));
        assert!(!is_tested("fn a() {", "a"));
        assert!(!is_tested("#[test]\nfn b() {}\nfn a() {", "a"));
        assert!(!is_tested("#[test]\nfn ab() {", "a"));
    }
}
