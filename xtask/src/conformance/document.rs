//! The rows of the document: lines `| number | statement | evidence |` of its tables.

/// How a reason begins that stands where tests would.
const REASONS: [&str; 2] = ["Not applicable: ", "Not met: "];

/// One statement and what there is to show for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) number: &'a str,
    pub(super) statement: &'a str,
    evidence: &'a str,
}

impl<'a> Row<'a> {
    /// Whether the evidence is a reason why there is no test.
    pub(super) fn has_reason(&self) -> bool {
        REASONS
            .iter()
            .any(|reason| self.evidence.starts_with(reason))
    }

    /// What stands in backticks: every second piece between them.
    pub(super) fn tests(&self) -> Vec<&'a str> {
        self.evidence.split('`').skip(1).step_by(2).collect()
    }
}

/// All rows of all tables, without headings and rulers.
pub(super) fn rows(document: &str) -> impl Iterator<Item = Row<'_>> {
    document.lines().filter_map(row)
}

fn row(line: &str) -> Option<Row<'_>> {
    let cells = line.strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = cells.splitn(3, '|').map(str::trim);
    let row = Row {
        number: cells.next()?,
        statement: cells.next()?,
        evidence: cells.next()?,
    };
    let is_numbered = row.number.contains(|c: char| c.is_ascii_digit());
    is_numbered.then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_rulers_and_prose_are_no_rows() {
        let document =
            "# Title\n| Number | Statement | Shown by |\n|---|---|---|\nMQTT-1 is prose\n";
        assert_eq!(rows(document).count(), 0);
    }

    #[test]
    fn every_name_in_backticks_is_a_test() {
        let found: Vec<_> = rows("| MQTT-1 | A text. | `a b::c`, `d.py::e` |").collect();
        assert_eq!((found[0].number, found[0].statement), ("MQTT-1", "A text."));
        assert_eq!(found[0].tests(), ["a b::c", "d.py::e"]);
        assert!(!found[0].has_reason());
    }

    #[test]
    fn a_reason_says_of_which_kind_it_is() {
        for (evidence, expected) in [
            ("Not applicable: no AUTH.", true),
            ("Not met: yet.", true),
            ("Not needed.", false),
        ] {
            let line = format!("| MQTT-1 | A text. | {evidence} |");
            assert_eq!(
                rows(&line).next().map(|row| row.has_reason()),
                Some(expected)
            );
        }
    }
}
