//! What Linux says about the memory and the CPU time of a process.

use std::fs;

use anyhow::{Context, Result};

/// Resident memory in bytes (`VmRSS`).
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    field_in_bytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Resident memory in bytes with shared pages divided among those who share them.
/// `None` where the kernel does not let us look.
pub(crate) fn proportional_bytes(pid: u32) -> Option<u64> {
    field_in_bytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:").ok()
}

/// Resident memory of this process in bytes, to the page and quick to read.
pub(crate) fn own_resident_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).context("short statm")?;
    Ok(pages.parse::<u64>()? * rustix::param::page_size() as u64)
}

/// CPU time in nanoseconds that the threads alive now have used, in user and kernel mode.
///
/// The sum over the threads' `schedstat` counts nanoseconds, where `stat` counts ticks of 10 ms.
pub(crate) fn cpu_nanos(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between its listing and its reading.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let running = text.split_whitespace().next().context("empty schedstat")?;
        sum += running.parse::<u64>()?;
    }
    Ok(sum)
}

fn field_in_bytes(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("{path} has no {name}"))?;
    let kilobytes = line.split_whitespace().next().context("empty field")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_has_memory() {
        let pid = std::process::id();
        while cpu_nanos(pid).unwrap() == 0 {
            // The scheduler counts what a thread has used when it interrupts it.
            std::thread::yield_now();
        }
        assert!(resident_bytes(pid).unwrap() > 100_000);
    }
}
