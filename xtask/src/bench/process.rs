//! What Linux says about the memory and the CPU time of a process.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Resident memory in bytes (`VmRSS`).
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    field_in_bytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The most resident memory that it has had, in bytes (`VmHWM`).
pub(crate) fn peak_resident_bytes(pid: u32) -> Result<u64> {
    field_in_bytes(&format!("/proc/{pid}/status"), "VmHWM:")
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

/// As [`cpu_nanos`], by the names of the threads; threads of one name are summed.
pub(crate) fn cpu_nanos_by_thread(pid: u32) -> Result<BTreeMap<String, u64>> {
    let mut sums = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path();
        let read = |file| fs::read_to_string(path.join(file));
        // A thread may end between its listing and its reading.
        let (Ok(name), Ok(text)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        let running = text.split_whitespace().next().context("empty schedstat")?;
        *sums.entry(name.trim().to_owned()).or_default() += running.parse::<u64>()?;
    }
    Ok(sums)
}

/// Waits until a process does next to nothing for half a second.
pub(crate) fn wait_until_idle(pid: u32) -> Result<()> {
    const STEP: Duration = Duration::from_millis(500);
    const IDLE_NANOS_MAX: u64 = 15_000_000;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut before = cpu_nanos(pid)?;
    loop {
        sleep(STEP);
        let now = cpu_nanos(pid)?;
        if now.saturating_sub(before) < IDLE_NANOS_MAX {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the process does not come to rest"
        );
        before = now;
    }
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
