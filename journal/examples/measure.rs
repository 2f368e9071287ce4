//! Measures the log on this machine's disk: `cargo run --release -p journal --example measure DIR`.
//!
//! Throughput of append and commit against a plain write and sync of as many bytes; what a
//! checkpoint in the background does to commits; and the time to open a log with a million open
//! sessions and five million facts of history. `DIR` is left for a look; where it exists, only
//! opening and reading are measured.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use journal::{Ended, Fact, Log, Opened, Os, Position, Retention, SessionId, Settings};
use presence::{EndReason, Protocol};

const OPEN: u64 = 1_000_000;
const HISTORY: u64 = 5_000_000;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let dir: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("usage: measure DIR")?
        .into();
    let history = dir.join("history");
    if dir.exists() {
        report_open(&history, "as it is")?;
        return measure_reading(&history);
    }
    fs::create_dir(&dir)?;
    for batch in [1, 16, 128, 1024] {
        measure_batch(&dir, batch)?;
    }
    measure_history(&history)
}

fn measure_batch(dir: &Path, batch: u64) -> Outcome {
    let commits = if batch == 1 { 4000 } else { 2000 };
    let (mut log, _) = Log::open(&dir.join(format!("batch{batch}")), Settings::default())?;
    let mut file = File::create(dir.join(format!("plain{batch}")))?;
    let (mut log_times, mut plain_times) = (Vec::new(), Vec::new());
    // In turns, so that other work on the machine troubles both.
    for n in 0..commits {
        let mut bytes = 0;
        log_times.push(timed(|| {
            for n in n * batch..(n + 1) * batch {
                log.append(&opened(n));
            }
            bytes = log.appended_bytes();
            log.commit()?;
            Ok(())
        })?);
        let block = vec![7; bytes];
        plain_times.push(timed(|| {
            file.write_all(&block)?;
            Ok(file.sync_data()?)
        })?);
    }
    for (name, times) in [("log", log_times), ("plain", plain_times)] {
        println!("batch {batch:4} {name:5}: {}", summary(times, batch));
    }
    Ok(())
}

fn measure_history(dir: &Path) -> Outcome {
    let (mut log, _) = Log::open(dir, Settings::default())?;
    let begun = Instant::now();
    for n in 0..OPEN + HISTORY {
        // At first sessions only open; then one ends, the oldest, for each that opens.
        let turn = n.saturating_sub(OPEN) / 2;
        log.append(&match n {
            ..OPEN => opened(n),
            _ if n % 2 == 0 => opened(OPEN + turn),
            _ => ended(turn),
        });
        if n % 1024 == 0 {
            log.commit()?;
        }
    }
    log.commit()?;
    println!(
        "written: {} facts in {:.1?}",
        log.committed().0,
        begun.elapsed()
    );
    report_open(dir, "no checkpoint at all")?;

    let begun = Instant::now();
    let report = log
        .maintenance()
        .run(0, Position(0), Retention::default())?;
    let facts = log.committed().0;
    println!(
        "checkpoints: {} in {:.1?}",
        report.checkpoints_made,
        begun.elapsed()
    );
    println!(
        "{} segments, {:.1} bytes a fact",
        report.segments,
        report.bytes as f64 / facts as f64
    );
    measure_beside(&mut log)?;
    drop(log);
    report_open(dir, "a segment or two after the checkpoint")?;
    measure_reading(dir)
}

/// Fills a segment, then commits while its checkpoint is made.
fn measure_beside(log: &mut Log) -> Outcome {
    let first = log.committed().0 + 10_000_000;
    let mut maintenance = log.maintenance();
    for chunk in 0..1000 {
        for n in chunk * 1024..(chunk + 1) * 1024 {
            log.append(&opened(first + n));
        }
        log.commit()?;
    }
    let quiet = (0..500).map(|n| timed(|| commit_some(log, first + n)));
    let quiet = quiet.collect::<Outcome<_>>()?;
    println!("commits of 16, quiet: {}", summary(quiet, 16));
    let maker = std::thread::spawn(move || {
        let begun = Instant::now();
        let report = maintenance.run(0, Position(0), Retention::default());
        (report, begun.elapsed())
    });
    let mut times = Vec::new();
    while !maker.is_finished() {
        times.push(timed(|| commit_some(log, first))?);
    }
    let (report, took) = maker.join().map_err(|_| "the checkpoint failed")?;
    println!(
        "{} checkpoints in {took:.1?} beside commits",
        report?.checkpoints_made
    );
    println!("commits of 16, beside it: {}", summary(times, 16));
    Ok(())
}

fn commit_some(log: &mut Log, first: u64) -> Outcome {
    for n in 0..16 {
        log.append(&opened(first + n));
    }
    log.commit()?;
    Ok(())
}

fn report_open(dir: &Path, what: &str) -> Outcome {
    let begun = Instant::now();
    let (_, recovered) = Log::open(dir, Settings::default())?;
    println!(
        "open, {what}: {:.2?}, {} sessions, {} facts",
        begun.elapsed(),
        recovered.open.len(),
        recovered.end.0
    );
    Ok(())
}

fn measure_reading(dir: &Path) -> Outcome {
    let (log, _) = Log::open(dir, Settings::default())?;
    let (mut reader, mut next, mut found) = (log.reader(), Position(0), Vec::new());
    let begun = Instant::now();
    while next < log.committed() {
        found.clear();
        next = reader.read_from(next, 1000, &mut found)?;
    }
    let rate = next.0 as f64 / begun.elapsed().as_secs_f64();
    println!("read: {rate:.0} facts/s");
    Ok(())
}

fn timed(run: impl FnOnce() -> Outcome) -> Outcome<Duration> {
    let begun = Instant::now();
    run()?;
    Ok(begun.elapsed())
}

fn summary(mut times: Vec<Duration>, batch: u64) -> String {
    times.sort_unstable();
    let total: Duration = times.iter().sum();
    let rate = times.len() as f64 * batch as f64 / total.as_secs_f64();
    let at = |share: usize| {
        times
            .get((times.len() - 1) * share / 100)
            .copied()
            .unwrap_or_default()
    };
    format!(
        "{rate:9.0} facts/s, p50 {:.2?}, p99 {:.2?}, max {:.2?}",
        at(50),
        at(99),
        at(100)
    )
}

fn session(n: u64) -> SessionId {
    SessionId(
        (u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(n)).to_be_bytes(),
    )
}

fn opened(n: u64) -> Fact {
    Fact::Opened(Opened {
        org: "example".into(),
        session: session(n),
        username: format!("user-{:07}", n % 500_000).into(),
        client_id: format!("device-{n:016x}").into(),
        protocol: Protocol::V5,
        peer: Some(([10, 1, (n >> 8) as u8, n as u8], 50_000).into()),
        os: Some(Os::Android),
        at_ms: 1_790_000_000_000 + n,
        node: 0,
    })
}

fn ended(n: u64) -> Fact {
    Fact::Ended(Ended {
        org: "example".into(),
        session: session(n),
        username: format!("user-{:07}", n % 500_000).into(),
        client_id: format!("device-{n:016x}").into(),
        protocol: Protocol::V5,
        peer: Some(([10, 1, (n >> 8) as u8, n as u8], 50_000).into()),
        connected_at_ms: 1_790_000_000_000 + n,
        at_ms: 1_790_000_000_000 + n,
        reason: EndReason::ConnectionLost,
    })
}
