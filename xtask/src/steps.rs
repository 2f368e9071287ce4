//! Named steps of a chore, run one after another and timed.
//!
//! The first step that fails ends the run: what comes later mostly depends on it, and the last
//! lines on the screen should be about the failure.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// The steps done so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
}

impl Steps {
    /// Runs one step; its failure comes back with the step's name in it.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Outcome) -> Outcome {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        match outcome {
            Ok(()) => {
                eprintln!("=== {name}: ok, {:.1} s", took.as_secs_f64());
                self.done.push((name.to_owned(), took));
                Ok(())
            }
            Err(reason) => Err(format!(
                "step `{name}` failed after {:.1} s: {reason}",
                took.as_secs_f64()
            )),
        }
    }

    /// Prints what was done and how long each step took.
    pub(crate) fn report(&self, outcome: &Outcome) {
        println!();
        for (name, took) in &self.done {
            println!("{:8.1} s  {name}", took.as_secs_f64());
        }
        let failed = usize::from(outcome.is_err());
        println!("steps: {} passed, {failed} failed", self.done.len());
    }
}

/// Runs a command to its end with its output on the screen.
pub(crate) fn call(command: &mut Command) -> Outcome {
    let shown = shown(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("cannot start {shown}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown}: {status}"))
    }
}

/// Whether a command can be started and succeeds; its output is thrown away.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_says_its_name_and_is_not_counted_as_done() {
        let mut steps = Steps::default();
        assert!(steps.step("first", || Ok(())).is_ok());
        let failure = steps.step("second", || Err("it broke".to_owned()));
        assert!(failure.is_err_and(|reason| reason.contains("`second`")));
        assert_eq!(steps.done.len(), 1);
    }

    #[test]
    fn a_command_that_fails_is_named_with_its_arguments() {
        let failure = call(Command::new("sh").args(["-c", "exit 3"]));
        assert!(failure.is_err_and(|reason| reason.contains("sh -c exit 3")));
    }
}
