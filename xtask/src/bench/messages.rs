//! `bench messages`: what a message costs, and how long it takes, here and in Mosquitto.
//!
//! Three shapes of traffic, each at QoS 0 and 1: one publisher to a thousand subscribers, a thousand
//! publishers to one, and five hundred pairs. Each server gets each shape twice: as much as it takes
//! with a bounded number of messages under way, to see how many it delivers per second of its CPU
//! time; and at a fixed rate that neither finds hard, to see how long a message is under way. Limits
//! are so high on both sides that nothing may be dropped, and everything must arrive.
//!
//! The servers take turns within a round, so that what the machine does at the time falls on both.

mod client;
mod crowd;
mod shape;
mod trial;
mod verdict;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::mosquitto::Mosquitto;
use super::peer::Peer;
use super::{machine, report::Report, whosthere::Whosthere};
use shape::{SHAPES, Shape};
use trial::{Measurement, measure};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// How often each pair is measured; the medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only shapes whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// The Mosquitto to compare with
    #[arg(long, default_value = "mosquitto")]
    mosquitto: PathBuf,
}

/// So that neither server drops or delays a message on account of its limits.
const OUR_SETTINGS: &str = "
[mqtt]
inflight_max = 65535
queue_messages_max = 1000000
queue_bytes_max = 1073741824
outbound_bytes_max = 1073741824
mailbox_deliveries_max = 16777216
";

/// The same for Mosquitto; and it sends small packets at once, as we do.
const THEIR_SETTINGS: &str = "\
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
set_tcp_nodelay true
";

/// The figures of both servers from one round.
struct Pair {
    ours: Measurement,
    theirs: Measurement,
}

/// Measures all shapes and judges them.
pub(crate) fn run(options: &Options) -> Result<Report> {
    machine::raise_open_files(2_000)?;
    let mosquitto = Mosquitto::find(&options.mosquitto)?.with(THEIR_SETTINGS);
    let whosthere = Whosthere::build()?.with(OUR_SETTINGS);

    let mut report = Report::default();
    machine::describe(&mut report);
    report.note("peer", mosquitto.version());
    report.note("rounds", options.rounds.to_string());
    let shapes = SHAPES.iter().filter(|one| one.name.contains(&options.only));
    for shape in shapes {
        for qos in [0, 1] {
            let mut pairs = Vec::new();
            for round in 0..options.rounds {
                pairs.push(measure_pair(round, shape, qos, &whosthere, &mosquitto)?);
            }
            verdict::judge(&mut report, shape, qos, &pairs);
        }
    }
    Ok(report)
}

/// One round of both servers; who goes first changes from round to round.
fn measure_pair(
    round: usize,
    shape: &Shape,
    qos: u8,
    whosthere: &impl Peer,
    mosquitto: &impl Peer,
) -> Result<Pair> {
    let pair = if round.is_multiple_of(2) {
        let ours = measure(whosthere, shape, qos)?;
        let theirs = measure(mosquitto, shape, qos)?;
        Pair { ours, theirs }
    } else {
        let theirs = measure(mosquitto, shape, qos)?;
        let ours = measure(whosthere, shape, qos)?;
        Pair { ours, theirs }
    };
    let Pair { ours, theirs } = &pair;
    println!(
        "round {}, {} at QoS {qos}: whosthere {ours}; mosquitto {theirs}",
        round + 1,
        shape.name
    );
    Ok(pair)
}
