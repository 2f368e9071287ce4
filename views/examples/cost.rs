//! What folding costs: `cargo run --release -p views --example cost [users] [events] [batch]
//! [events per second]`.
//!
//! A million users come and go at random (the worst case: every event is about another row), as
//! fast as it goes or at a rate, with the checkpointer beside; then users and histories are asked for, and the views
//! are opened as after a crash. CPU time is what the kernel counted, for this thread and for all.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use compact_str::format_compact;
use journal::{Ended, Fact, Opened, Position, SessionId};
use presence::{EndReason, Protocol};
use views::{Reader, Views};

type Outcome<T> = Result<T, Box<dyn Error>>;

const START_MS: u64 = 1_774_605_600_000;

fn main() -> Outcome<()> {
    let argument = |index, default| {
        let argument = std::env::args().nth(index);
        argument.map_or(Ok(default), |text| text.parse::<u64>())
    };
    let rate = argument(4, u64::MAX)?;
    let (users, events, batch) = (
        argument(1, 1_000_000)?,
        argument(2, 1_000_000)?,
        argument(3, 2_000)?,
    );
    let folder = std::env::temp_dir().join(format!("views-cost-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = run(&folder.join("views.sqlite"), users, events, batch, rate);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn run(path: &Path, users: u64, events: u64, batch: u64, rate: u64) -> Outcome<()> {
    let mut load = Load::new(users);
    let mut views = Views::open(path)?;
    let stop = Arc::new(AtomicBool::new(false));
    let checkpoints = checkpoint_beside(&views, Arc::clone(&stop))?;

    let unpaced = (batch, u64::MAX);
    measure("every user once", path, &mut views, users, unpaced, |at| {
        load.first(at)
    })?;
    let paced = (batch, rate);
    measure("random users", path, &mut views, events, paced, |at| {
        load.random(at)
    })?;
    stop.store(true, Ordering::Relaxed);
    checkpoints
        .join()
        .map_err(|_| "the checkpointer panicked")?;
    println!(
        "file {} MB, memory {} MB",
        len(path) >> 20,
        resident_kb()? >> 10
    );

    ask(&views.reader()?, &mut load)?;
    drop(views);
    let start = Instant::now();
    let mut views = Views::open(path)?;
    println!(
        "opened as after a crash in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    ask(&views.reader()?, &mut load)?;
    let start = Instant::now();
    views.settle()?;
    println!("settled in {:.2} s", start.elapsed().as_secs_f64());
    drop(views);
    let start = Instant::now();
    let mut views = Views::open(path)?;
    println!(
        "opened after settling in {:.3} s",
        start.elapsed().as_secs_f64()
    );
    drop_history(&mut views, &mut load)
}

/// Folds `count` facts and flushes after every `batch`, at most `rate` a second.
fn measure(
    name: &str,
    path: &Path,
    views: &mut Views,
    count: u64,
    (batch, rate): (u64, u64),
    mut fact: impl FnMut(Position) -> Fact,
) -> Outcome<()> {
    let mut log_max = 0;
    let mut flushes = Vec::new();
    let (mut folding, mut flushing) = (0, 0);
    let (start, all) = (Instant::now(), process_cpu()?);
    for round in 0..count / batch {
        let due = Duration::from_secs_f64((round * batch) as f64 / rate as f64);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let from = views.position();
        let facts: Vec<_> = (0..batch).map(|i| fact(Position(from.0 + i))).collect();
        let before = thread_cpu_ns()?;
        for (i, fact) in (0..).zip(facts) {
            views.fold(Position(from.0 + i), fact)?;
        }
        let between = thread_cpu_ns()?;
        let flush = Instant::now();
        views.flush()?;
        flushes.push(flush.elapsed());
        folding += between - before;
        flushing += thread_cpu_ns()? - between;
        log_max = log_max.max(len(&wal(path)));
    }
    let seconds = start.elapsed().as_secs_f64();
    let each = |ns: u64| ns as f64 / 1e3 / count as f64;
    println!(
        "{name}: {:.0} events/s; CPU us/event: fold {:.2} + flush {:.2} = {:.2}, all threads {:.2}",
        count as f64 / seconds,
        each(folding),
        each(flushing),
        each(folding + flushing),
        each(u64::try_from((process_cpu()? - all).as_nanos())?),
    );
    println!(
        "  flush {}; log at most {} MB",
        percentiles(&mut flushes),
        log_max >> 20
    );
    Ok(())
}

fn ask(reader: &Reader, load: &mut Load) -> Outcome<()> {
    let (mut users, mut histories, mut rows) = (Vec::new(), Vec::new(), 0);
    for _ in 0..20_000 {
        let name = format!("user-{:07}", load.random.below(load.users));
        let start = Instant::now();
        reader.user("acme", &name)?;
        users.push(start.elapsed());
        let start = Instant::now();
        rows += reader
            .history("acme", &name, None, None, 100, None)?
            .events
            .len();
        histories.push(start.elapsed());
    }
    println!("user {}", percentiles(&mut users));
    println!(
        "history {} ({:.1} events each)",
        percentiles(&mut histories),
        rows as f64 / 20_000.0
    );
    Ok(())
}

/// A day later all of it can go.
fn drop_history(views: &mut Views, load: &mut Load) -> Outcome<()> {
    load.now_ms += 86_400_000;
    let position = views.position();
    views.fold(position, load.random(position))?;
    views.settle()?;
    let (start, mut count) = (Instant::now(), 0);
    while views.prune(load.now_ms, position)? {
        count += 1;
    }
    println!(
        "{count} tables of {} rows dropped in {:.2} s",
        position.0,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn checkpoint_beside(views: &Views, stop: Arc<AtomicBool>) -> Outcome<std::thread::JoinHandle<()>> {
    let mut checkpointer = views.checkpointer()?;
    Ok(std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = checkpointer.checkpoint() {
                eprintln!("{error}");
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }))
}

/// Users who come if they are away and go if they are here.
struct Load {
    users: u64,
    random: Random,
    online: HashSet<u64>,
    now_ms: u64,
}

impl Load {
    fn new(users: u64) -> Self {
        Self {
            users,
            random: Random(1),
            online: HashSet::new(),
            now_ms: START_MS,
        }
    }

    fn first(&mut self, at: Position) -> Fact {
        // Spread over the table, as names are.
        self.fact(at.0.wrapping_mul(7_368_787) % self.users)
    }

    fn random(&mut self, _: Position) -> Fact {
        let user = self.random.below(self.users);
        self.fact(user)
    }

    fn fact(&mut self, user: u64) -> Fact {
        self.now_ms += 1;
        let mut session = SessionId([0; 16]);
        session.0[..8].copy_from_slice(&user.to_be_bytes());
        let (org, username) = ("acme".into(), format_compact!("user-{user:07}"));
        let client_id = format_compact!("client-{user:07}");
        let peer = Some(([203, 0, 113, 7], 40_000).into());
        if self.online.insert(user) {
            return Fact::Opened(Opened {
                org,
                session,
                username,
                client_id,
                protocol: Protocol::V5,
                peer,
                os: None,
                at_ms: self.now_ms,
                node: 0,
            });
        }
        self.online.remove(&user);
        Fact::Ended(Ended {
            org,
            session,
            username,
            client_id,
            protocol: Protocol::V5,
            peer,
            connected_at_ms: self.now_ms - 1,
            at_ms: self.now_ms,
            reason: EndReason::ConnectionLost,
        })
    }
}

/// Marsaglia's xorshift: the same load every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!(
        "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

fn wal(path: &Path) -> PathBuf {
    path.with_extension("sqlite-wal")
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn thread_cpu_ns() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

fn process_cpu() -> Outcome<Duration> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = text.split(' ').collect();
    let ticks: u64 = fields[13].parse::<u64>()? + fields[14].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn resident_kb() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS"));
    let kb = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap_or_default();
    Ok(kb.parse()?)
}
