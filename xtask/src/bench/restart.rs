//! `bench restart`: from the start of the process to a ready server, when the one before was
//! killed with a million sessions open and five million events of history.
//!
//! The data directory is made once with the server's own crates, as a server that was killed
//! leaves it; every start gets a fresh copy, which the system still has in memory.

mod prepare;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::report::Report;
use super::stats::median;
use super::whosthere::Whosthere;
use super::{machine, process};
use prepare::Prepared;

const SECONDS_MAX: f64 = 5.0;

/// No server takes longer.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Sessions that are open when the server is killed
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u64,
    /// Starts; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// One start.
struct Start {
    seconds: f64,
    resident_bytes: f64,
    peak_bytes: f64,
    cpu_seconds: f64,
    /// With the views of what the start has written.
    cpu_seconds_in_all: f64,
}

/// Prepares, starts and judges.
pub(crate) fn run(options: &Options) -> Result<Report> {
    let server = Whosthere::build()?;
    let original = tempfile::tempdir()?;
    let prepared = prepare::crashed(original.path(), options.sessions)?;
    println!("prepared {prepared}");
    let mut starts = Vec::new();
    for round in 0..options.rounds {
        let start = start(&server, original.path(), &prepared)?;
        println!(
            "start {}: ready after {:.2} s, CPU {:.2} s, {:.0} MB",
            round + 1,
            start.seconds,
            start.cpu_seconds,
            start.resident_bytes / 1e6
        );
        starts.push(start);
    }

    let mut report = Report::default();
    machine::describe(&mut report);
    report.note("journal and views", prepared.to_string());
    let over = |quantity: fn(&Start) -> f64| starts.iter().map(quantity).collect::<Vec<_>>();
    let seconds = over(|start| start.seconds);
    let middle = median(&seconds);
    let longest = seconds.iter().copied().fold(0.0, f64::max);
    report.goal(
        "ready after kill -9",
        format!("{middle:.2} s, longest {longest:.2} s"),
        format!("< {SECONDS_MAX} s"),
        middle < SECONDS_MAX,
    );
    report.note(
        "CPU time until ready",
        format!("{:.2} s", median(&over(|start| start.cpu_seconds))),
    );
    report.note(
        "resident memory when ready",
        format!(
            "{:.0} MB",
            median(&over(|start| start.resident_bytes)) / 1e6
        ),
    );
    report.note(
        "at most until then",
        format!("{:.0} MB", median(&over(|start| start.peak_bytes)) / 1e6),
    );
    report.note(
        "CPU time until the views have it too",
        format!("{:.2} s", median(&over(|start| start.cpu_seconds_in_all))),
    );
    Ok(report)
}

fn start(server: &Whosthere, original: &Path, prepared: &Prepared) -> Result<Start> {
    let directory = tempfile::tempdir()?;
    copy(original, directory.path())?;
    rustix::fs::sync();
    let started = Instant::now();
    let running = server.spawn(directory)?;
    wait_until_ready(running.addresses.http)?;
    let seconds = started.elapsed().as_secs_f64();
    let pid = running.pid();
    let cpu_seconds = || Ok::<_, anyhow::Error>(process::cpu_nanos(pid)? as f64 / 1e9);
    let mut start = Start {
        seconds,
        cpu_seconds: cpu_seconds()?,
        resident_bytes: process::resident_bytes(pid)? as f64,
        peak_bytes: process::peak_resident_bytes(pid)? as f64,
        cpu_seconds_in_all: 0.0,
    };
    process::wait_until_idle(pid)?;
    start.cpu_seconds_in_all = cpu_seconds()?;
    let directory = running.kill()?;
    prepare::ensure_all_ended(directory.path(), prepared)?;
    Ok(start)
}

/// Asks until the answer is 200. A server whose door is open but which does not answer yet makes
/// the question wait.
fn wait_until_ready(http: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while !is_ready(http).unwrap_or(false) {
        ensure!(Instant::now() < deadline, "the server does not get ready");
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn is_ready(http: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(http)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream
        .write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let (from, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            fs::create_dir(&to)?;
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    Ok(())
}
