//! Benchmarks whose own code is part of what is measured, or shares the cores with it, run
//! optimised.

use std::process::Command;

use anyhow::Result;

/// Runs the same command optimised. `None` if this is the optimised program already.
pub(super) fn rerun() -> Option<Result<bool>> {
    if !cfg!(debug_assertions) {
        return None;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--release", "--package", "xtask", "--"]);
    command.args(std::env::args_os().skip(1));
    let status = command.status().map_err(Into::into);
    Some(status.map(|status| status.success()))
}
