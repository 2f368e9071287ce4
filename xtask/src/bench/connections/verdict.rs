//! The pairs of one transport against the goals.

use super::super::report::Report;
use super::super::stats::median;
use super::trial::Measurement;
use super::{Pair, Transport};

/// An idle connection may need this share of Mosquitto's memory.
const MEMORY_SHARE_MAX: f64 = 0.25;

/// CONNECT and SUBSCRIBE may need this share of Mosquitto's CPU time.
const CPU_SHARE_MAX: f64 = 0.9;

/// Adds the medians of `pairs`; `like_for_like` is false where Mosquitto's side ran over TCP.
pub(super) fn judge(
    report: &mut Report,
    transport: Transport,
    pairs: &[Pair],
    like_for_like: bool,
) {
    let name = transport.name();
    let peer = if like_for_like {
        "Mosquitto"
    } else {
        "Mosquitto over TCP"
    };

    let memory = Comparison::of(pairs, |m| m.resident_bytes);
    report.goal(
        format!("{name}: bytes per idle connection"),
        format!(
            "{:.0}, {peer} {:.0}, ratio {:.3}",
            memory.ours, memory.theirs, memory.ratio
        ),
        format!("<= {MEMORY_SHARE_MAX}"),
        memory.ratio <= MEMORY_SHARE_MAX,
    );

    let cpu = Comparison::of(pairs, |m| m.cpu_micros);
    let name = format!("{name}: CPU us per CONNECT+SUBSCRIBE");
    let measured = format!(
        "{:.1}, {peer} {:.1}, ratio {:.2}",
        cpu.ours, cpu.theirs, cpu.ratio
    );
    match transport {
        Transport::Tcp => {
            report.goal(
                name,
                measured,
                format!("<= {CPU_SHARE_MAX}"),
                cpu.ratio <= CPU_SHARE_MAX,
            );
        }
        Transport::WebSocket => report.note(name, measured),
    }
}

/// Medians of both sides, and of the ratios within the pairs.
struct Comparison {
    ours: f64,
    theirs: f64,
    ratio: f64,
}

impl Comparison {
    fn of(pairs: &[Pair], quantity: impl Fn(&Measurement) -> f64) -> Self {
        let over =
            |figure: &dyn Fn(&Pair) -> f64| median(&pairs.iter().map(figure).collect::<Vec<_>>());
        Self {
            ours: over(&|pair| quantity(&pair.ours)),
            theirs: over(&|pair| quantity(&pair.theirs)),
            ratio: over(&|pair| quantity(&pair.ours) / quantity(&pair.theirs)),
        }
    }
}
