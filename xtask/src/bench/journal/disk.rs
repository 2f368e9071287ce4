//! What the disk takes for one commit's worth of bytes, with nobody else in this process.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;

use super::super::report::Report;
use super::super::stats::{as_time, percentile};

/// As much as a commit of some ten facts.
const BYTES: usize = 2_048;

/// Syncs in one go.
const COUNT: usize = 500;

/// Appends to a file and syncs it again and again; tells the times in nanoseconds.
pub(super) fn syncs() -> Result<Vec<u64>> {
    let directory = tempfile::tempdir()?;
    let mut file = File::create(directory.path().join("sync"))?;
    let mut laps = Vec::new();
    for _ in 0..COUNT {
        let started = Instant::now();
        file.write_all(&[7; BYTES])?;
        file.sync_data()?;
        laps.push(started.elapsed().as_nanos() as u64);
    }
    Ok(laps)
}

/// Adds what the syncs took.
pub(super) fn note(report: &mut Report, mut syncs: Vec<u64>) {
    syncs.sort_unstable();
    let at = |per_mille| as_time(percentile(&syncs, per_mille));
    report.note(
        "this disk alone: append and sync",
        format!("p50 {}, p99 {}, p99.9 {}", at(500), at(990), at(999)),
    );
}
