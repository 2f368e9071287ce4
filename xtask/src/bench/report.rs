//! The table that a benchmark ends with: what was measured, what was promised, PASS or FAIL.
//!
//! A row without a goal is there for the reader and is not judged.

use std::fmt;

/// One measured quantity.
struct Row {
    name: String,
    measured: String,
    goal: String,
    met: Option<bool>,
}

/// The rows in the order in which they were added.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// A quantity with a goal in words; `met` is the judgement.
    pub(crate) fn goal(
        &mut self,
        name: impl Into<String>,
        measured: impl Into<String>,
        goal: impl Into<String>,
        met: bool,
    ) {
        self.push(name.into(), measured.into(), goal.into(), Some(met));
    }

    /// A quantity that is only shown.
    pub(crate) fn note(&mut self, name: impl Into<String>, measured: impl Into<String>) {
        self.push(name.into(), measured.into(), String::new(), None);
    }

    /// Whether no goal was missed.
    pub(crate) fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met != Some(false))
    }

    fn push(&mut self, name: String, measured: String, goal: String, met: Option<bool>) {
        self.rows.push(Row {
            name,
            measured,
            goal,
            met,
        });
    }

    fn width(&self, column: impl Fn(&Row) -> &str) -> usize {
        self.rows
            .iter()
            .map(|row| column(row).chars().count())
            .max()
            .unwrap_or(0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.width(|row| &row.name);
        let measures = self.width(|row| &row.measured);
        let goals = self.width(|row| &row.goal);
        for Row {
            name,
            measured,
            goal,
            met,
        } in &self.rows
        {
            let verdict = match met {
                Some(true) => "PASS",
                Some(false) => "FAIL",
                None => "",
            };
            let line = format!("{name:names$}  {measured:measures$}  {goal:goals$}  {verdict}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_missed_goal_fails_the_report() {
        let mut report = Report::default();
        report.note("cores", "2");
        report.goal("bytes", "300", "<= 400", true);
        assert!(report.all_met());
        report.goal("time", "9 ms", "<= 5 ms", false);
        assert!(!report.all_met());
    }

    #[test]
    fn columns_line_up() {
        let mut report = Report::default();
        report.note("cores", "2");
        report.goal("bytes", "300", "<= 400", true);
        assert_eq!(report.to_string(), "cores  2\nbytes  300  <= 400  PASS\n");
    }
}
