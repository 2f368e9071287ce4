//! Where the figures come from: the machine and the commit, and its limit of open files.

use std::process::Command;

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::report::Report;

/// Files a process needs beside its connections: standard streams, listeners, polls, libraries.
const FILES_BESIDE_CONNECTIONS: u64 = 200;

/// Adds the machine and the commit to `report`.
pub(crate) fn describe(report: &mut Report) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    report.note("machine", format!("{cores} cores, Linux {}", kernel.trim()));
    report.note("commit", commit().unwrap_or_else(|| "unknown".to_owned()));
}

/// Raises our limit of open files to what we may have; children inherit it.
pub(crate) fn raise_open_files(connection_count: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    let needed = u64::try_from(connection_count)? + FILES_BESIDE_CONNECTIONS;
    ensure!(
        needed <= allowed,
        "{connection_count} connections need {needed} open files per process, but the hard \
         limit here is {allowed}; raise it (`ulimit -Hn`) or ask for fewer with --connections"
    );
    Ok(())
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain"]).is_some_and(|files| !files.is_empty());
    Some(if changed {
        format!("{hash} with changes")
    } else {
        hash
    })
}
