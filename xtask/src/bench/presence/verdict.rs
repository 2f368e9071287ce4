//! The figures of `bench presence` against the goals.

use std::time::Duration;

use super::super::report::Report;
use super::super::stats::as_time;
use super::churn::Outcome;
use super::laps::Laps;
use super::questions::{TopicComparison, p50_and_p99};
use super::stream::Streamed;

/// Longest that a connect or another change may take.
const CHANGE_MAX: Duration = Duration::from_millis(5);

/// The changes must keep this share of the pace asked for.
const RATE_SHARE_MIN: f64 = 0.95;

/// Largest 99th percentile of a single-user query.
const USER_P99_MAX: Duration = Duration::from_millis(1);

/// A topic query may take this many times what it takes in the small organisation.
const TOPIC_RATIO_MAX: f64 = 2.0;

/// Memory per session.
const SESSION_BYTES_MAX: f64 = 300.0;

/// Memory that one whole list may need while it is sent.
const STREAM_BYTES_MAX: u64 = 64 << 20;

const MIB: f64 = (1 << 20) as f64;

/// The fill from nobody to everybody.
pub(super) fn on_fill(report: &mut Report, laps: &Laps, bytes_per_session: f64) {
    report.goal(
        "fill: bytes per session",
        format!("{bytes_per_session:.0}"),
        format!("<= {SESSION_BYTES_MAX}"),
        bytes_per_session <= SESSION_BYTES_MAX,
    );
    report.note("fill: connect and subscribe", laps.to_string());
    slowest(report, "fill", laps, true);
}

/// The changes made while `occasion`, and those of the control.
pub(super) fn on_changes(report: &mut Report, occasion: &str, outcome: &Outcome, judged: bool) {
    let rate = outcome.changes.count() as f64 / outcome.lasted.as_secs_f64();
    let rate_min = f64::from(outcome.rate_asked) * RATE_SHARE_MIN;
    let name = format!("changes during {occasion}");
    report.goal(
        format!("{name}: rate"),
        format!("{rate:.0} a second"),
        format!(">= {rate_min:.0}"),
        rate >= rate_min,
    );
    report.note(format!("{name}: time of each"), outcome.changes.to_string());
    report.note(
        format!("{name}: the control's"),
        outcome.control.to_string(),
    );
    if judged {
        slowest(report, &name, &outcome.changes, true);
        slowest(report, &format!("{name}, control"), &outcome.control, false);
    }
}

/// Single-user queries.
pub(super) fn on_users(report: &mut Report, times: &[u64]) {
    let (p50, p99) = p50_and_p99(times);
    report.goal(
        "single user over HTTP",
        format!("p50 {}, p99 {}", as_time(p50), as_time(p99)),
        "p99 < 1 ms",
        Duration::from_nanos(p99) < USER_P99_MAX,
    );
}

/// One topic question among many sessions and among few.
pub(super) fn on_topic(report: &mut Report, comparison: &TopicComparison) {
    let TopicComparison {
        filter,
        row_count,
        http,
        index,
    } = comparison;
    for (way, times) in [("over HTTP", http), ("at the index", index)] {
        let ratio = times.many / times.few;
        let [many, few] = [times.many, times.few].map(|nanos| as_time(nanos as u64));
        report.goal(
            format!("topic {filter}, {row_count} rows, {way}"),
            format!("{many}, among few {few}, ratio {ratio:.2}"),
            format!("<= {TOPIC_RATIO_MAX}"),
            ratio <= TOPIC_RATIO_MAX,
        );
    }
}

/// The whole list.
pub(super) fn on_stream(report: &mut Report, streamed: &Streamed, outcome: &Outcome) {
    let (stayed, missing) = streamed.stayed_and_missing(&outcome.book);
    let Streamed {
        row_count,
        odd_row_count,
        growth_bytes,
        lasted,
        ..
    } = *streamed;
    report.note("whole list: duration", as_time(lasted.as_nanos() as u64));
    report.goal(
        "whole list: rows",
        format!("{row_count}; {odd_row_count} twice or unknown; {missing} of {stayed} left out"),
        "who stayed, once",
        missing == 0 && odd_row_count == 0 && stayed > 0,
    );
    report.goal(
        "whole list: memory at its peak",
        format!("+{:.1} MiB", growth_bytes as f64 / MIB),
        "< 64 MiB",
        growth_bytes < STREAM_BYTES_MAX,
    );
}

/// The slowest lap by each clock. The wall's, less the time in which the thread could have run but
/// had no core, is judged: it holds every wait that the server causes, and leaves out what other
/// work on the machine does. The wall's stands beside it.
fn slowest(report: &mut Report, name: &str, laps: &Laps, judged: bool) {
    let [wall, without_queue, cpu] = [laps.wall_max(), laps.without_queue_max(), laps.cpu_max()]
        .map(|time| as_time(time.as_nanos() as u64));
    let name = format!("{name}: slowest");
    let measured = format!("{wall} (waiting for a core left out {without_queue}, CPU {cpu})");
    if judged {
        report.goal(
            name,
            measured,
            "<= 5 ms",
            laps.without_queue_max() <= CHANGE_MAX,
        );
    } else {
        report.note(name, measured);
    }
}
