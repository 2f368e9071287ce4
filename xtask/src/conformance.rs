//! Whether `docs/mqtt-conformance.md` is true to the sources and to the specification.
//!
//! Every statement of MQTT 5.0 that binds a server stands in the document once, in the words of
//! `docs/mqtt5-statements.tsv`, with tests that exist or a reason. What a test shows is for readers
//! to judge; that it is still there is for this check.

mod document;
mod named_test;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use self::document::Row;
use crate::{Outcome, root};

const DOCUMENT: &str = "docs/mqtt-conformance.md";
const STATEMENTS: &str = "docs/mqtt5-statements.tsv";

/// Fails with one line for each row that is missing, doubled, altered or names a missing test.
pub(crate) fn run() -> Outcome {
    let root = root();
    let read = |name: &str| {
        fs::read_to_string(root.join(name)).map_err(|e| format!("cannot read {name}: {e}"))
    };
    let findings = findings(&read(DOCUMENT)?, &read(STATEMENTS)?, &root)?;
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!("{DOCUMENT}:\n  {}", findings.join("\n  ")))
}

fn findings(document: &str, statements: &str, root: &Path) -> Result<Vec<String>, String> {
    let binding = binding_statements(statements)?;
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for row in document::rows(document) {
        let wrong = [
            wrong_statement(&row, &binding, &mut seen),
            wrong_evidence(&row, root),
        ];
        findings.extend(
            wrong
                .into_iter()
                .flatten()
                .map(|wrong| format!("{}: {wrong}", row.number)),
        );
    }
    let missing = binding.keys().filter(|number| !seen.contains(*number));
    findings.extend(missing.map(|number| format!("{number}: no row")));
    Ok(findings)
}

/// Number and text of each statement that binds a server: `Server` or `Both` in the second column.
fn binding_statements(table: &str) -> Result<BTreeMap<&str, &str>, String> {
    let mut found = BTreeMap::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            [number, "Server" | "Both", text] => found.insert(number, text),
            [_, "Client", _] => continue,
            _ => {
                return Err(format!(
                    "{STATEMENTS}: not number, whom it binds and text: {line}"
                ));
            }
        };
    }
    Ok(found)
}

/// Rows about other versions of MQTT have numbers of their own and are not compared.
fn wrong_statement<'a>(
    row: &Row<'a>,
    binding: &BTreeMap<&str, &str>,
    seen: &mut BTreeSet<&'a str>,
) -> Option<String> {
    if !row.number.starts_with("MQTT-") {
        return None;
    }
    if !seen.insert(row.number) {
        return Some("stands here twice".to_owned());
    }
    match binding.get(row.number) {
        Some(text) if *text == row.statement => None,
        Some(_) => Some(format!("not in the words of {STATEMENTS}")),
        None => Some("no statement that binds a server".to_owned()),
    }
}

fn wrong_evidence(row: &Row<'_>, root: &Path) -> Option<String> {
    if row.has_reason() {
        return None;
    }
    let names = row.tests();
    if names.is_empty() {
        return Some("neither a test nor a reason".to_owned());
    }
    let missing = names
        .into_iter()
        .find(|name| !named_test::exists(name, root))?;
    Some(format!("there is no test {missing}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATEMENTS: &str = "# heading\n\
        MQTT-1\tServer\tIt MUST.\n\
        MQTT-2\tBoth\tBoth MUST NOT.\n\
        MQTT-3\tClient\tThe Client MUST.\n";
    const ROW_1: &str =
        "| MQTT-1 | It MUST. | `xtask conformance::tests::this_repository_names_what_there_is` |\n";
    const ROW_2: &str = "| MQTT-2 | Both MUST NOT. | Not met: it is hard. |\n";

    fn check(document: &str) -> Vec<String> {
        findings(document, STATEMENTS, &root()).unwrap_or_else(|wrong| vec![wrong])
    }

    #[test]
    fn this_repository_names_what_there_is() {
        assert_eq!(run(), Ok(()));
    }

    #[test]
    fn a_row_needs_a_test_that_exists_or_a_reason() {
        assert_eq!(check(&format!("{ROW_1}{ROW_2}")), [""; 0]);
        let gone = ROW_1.replace("names_what", "names_more_than");
        let found = check(&format!("{gone}{ROW_2}"));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("MQTT-1: there is no test xtask "),
            "{found:?}"
        );
        let bare = "| MQTT-2 | Both MUST NOT. | It is fine. |\n";
        assert_eq!(
            check(&format!("{ROW_1}{bare}")),
            ["MQTT-2: neither a test nor a reason"]
        );
    }

    #[test]
    fn every_statement_that_binds_a_server_has_one_row_in_its_own_words() {
        assert_eq!(check(ROW_1), ["MQTT-2: no row"]);
        let twice = format!("{ROW_1}{ROW_2}{ROW_2}");
        assert_eq!(check(&twice), ["MQTT-2: stands here twice"]);
        let softer = ROW_2.replace("MUST NOT", "may not");
        let found = check(&format!("{ROW_1}{softer}"));
        assert!(
            found[0].starts_with("MQTT-2: not in the words"),
            "{found:?}"
        );
        let more = "| MQTT-3 | The Client MUST. | Not applicable: a client's. |\n";
        let found = check(&format!("{ROW_1}{ROW_2}{more}"));
        assert_eq!(found, ["MQTT-3: no statement that binds a server"]);
    }

    #[test]
    fn rows_about_older_versions_are_checked_for_their_tests_only() {
        let older = "| 3.1.1 §3.1 | Otherwise. | `tests/clients/test_control.py::test_nothing` |\n";
        let found = check(&format!("{ROW_1}{ROW_2}{older}"));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("3.1.1 §3.1: there is no test"),
            "{found:?}"
        );
    }

    #[test]
    fn a_damaged_table_of_statements_is_an_error() {
        assert!(findings(ROW_1, "MQTT-1\tServer\n", &root()).is_err());
        assert!(findings(ROW_1, "MQTT-1\tNobody\tIt MUST.\n", &root()).is_err());
    }
}
