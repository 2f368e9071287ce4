//! The pairs of one transport against the goals.

use super::super::report::Report;
use super::super::stats::median;
use super::trial::Measurement;
use super::{Pair, Transport};

/// An idle connection may need this share of Mosquitto's memory.
const MEMORY_SHARE_MAX: f64 = 0.25;

/// CONNECT and SUBSCRIBE may need this share of Mosquitto's CPU time, with the journal and its
/// views, for which Mosquitto has no like.
const CPU_SHARE_MAX: f64 = 1.0;

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
    let name = format!("{name}: CPU us per CONNECT+SUBSCRIBE, journal and views on");
    let measured = format!(
        "{:.1}, {peer} {:.1}, ratio {:.2}",
        cpu.ours, cpu.theirs, cpu.ratio
    );
    match transport {
        Transport::Tcp => {
            report.goal(
                name,
                measured,
                format!("<= {CPU_SHARE_MAX:.1}"),
                cpu.ratio <= CPU_SHARE_MAX,
            );
        }
        Transport::Tls | Transport::WebSocket => report.note(name, measured),
    }
}

/// Adds the medians of `pairs` over TLS, for which there is no goal.
pub(super) fn note_tls(report: &mut Report, pairs: &[Pair]) {
    let Comparison {
        ours,
        theirs,
        ratio,
    } = Comparison::of(pairs, |m| m.resident_bytes);
    report.note(
        "TLS: bytes per idle connection",
        format!("{ours:.0}, Mosquitto {theirs:.0}, ratio {ratio:.3}"),
    );
    let Comparison {
        ours,
        theirs,
        ratio,
    } = Comparison::of(pairs, |m| m.cpu_micros);
    report.note(
        "TLS: CPU us per full handshake+CONNECT+SUBSCRIBE",
        format!("{ours:.1}, Mosquitto {theirs:.1}, ratio {ratio:.2}"),
    );
}

/// Adds what a webhook costs on top, from runs beside the `pairs` over TCP.
pub(super) fn note_webhook(report: &mut Report, pairs: &[Pair], with_webhook: &[f64]) {
    let more = pairs.iter().zip(with_webhook);
    let more: Vec<f64> = more
        .map(|(pair, with)| with - pair.ours.cpu_micros)
        .collect();
    report.note(
        "TCP: CPU us that a webhook adds per CONNECT",
        format!("{:.1}", median(&more)),
    );
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
