//! The pairs of one shape against the goals.

use super::super::report::Report;
use super::super::stats::{as_time, median};
use super::{Measurement, Pair, Shape};

/// Messages per second of CPU time, as a share of Mosquitto's.
const PER_CPU_SHARE_MIN: f64 = 1.0;

/// The 99th percentile of the time under way, as a share of Mosquitto's.
const P99_SHARE_MAX: f64 = 1.0;

/// Adds the medians of `pairs`.
pub(super) fn judge(report: &mut Report, shape: &Shape, qos: u8, pairs: &[Pair]) {
    let name = format!("{}, QoS {qos}", shape.name);
    let over =
        |figure: &dyn Fn(&Pair) -> f64| median(&pairs.iter().map(figure).collect::<Vec<_>>());
    let compare = |quantity: &dyn Fn(&Measurement) -> f64| {
        (
            over(&|pair| quantity(&pair.ours)),
            over(&|pair| quantity(&pair.theirs)),
            over(&|pair| quantity(&pair.ours) / quantity(&pair.theirs)),
        )
    };

    let (ours, theirs, ratio) = compare(&|one| one.per_cpu_second);
    report.goal(
        format!("{name}: messages per CPU second"),
        format!("{ours:.0}, Mosquitto {theirs:.0}, ratio {ratio:.2}"),
        format!(">= {PER_CPU_SHARE_MIN:.1}"),
        ratio >= PER_CPU_SHARE_MIN,
    );
    let (ours, theirs, ratio) = compare(&|one| one.p99_nanos as f64);
    let rate = shape.deliveries(shape.paced_rate);
    report.goal(
        format!("{name}: p99 at {rate} a second"),
        format!(
            "{}, Mosquitto {}, ratio {ratio:.2}",
            as_time(ours as u64),
            as_time(theirs as u64)
        ),
        format!("<= {P99_SHARE_MAX:.1}"),
        ratio <= P99_SHARE_MAX,
    );
    let (ours, theirs, _) = compare(&|one| one.per_second);
    report.note(
        format!("{name}: messages a second"),
        format!("{ours:.0}, Mosquitto {theirs:.0}"),
    );
}
