//! `bench connections`: what one idle MQTT connection costs, here and in Mosquitto.
//!
//! Both servers run as fresh child processes and get the same connections from the same load
//! generator, in turns: their figures of one round form a pair, so that what the machine does
//! at the time falls on both. Per connection there is one CONNECT, one SUBSCRIBE and no
//! message. Whosthere writes its journal and its views as it does by default; what a webhook adds
//! is shown beside, and the same connections over TLS, each with a full handshake. The generator lives
//! in this process, and its own costs are not counted.

mod conversation;
mod fleet;
mod secure;
mod trial;
mod verdict;
mod websocket;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::certificate::Certificate;
use super::{machine, mosquitto::Mosquitto, report::Report, whosthere::Whosthere};
use trial::{Measurement, measure, measure_with_webhook};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Connections to open at each server
    #[arg(long, default_value_t = 19_000)]
    connections: usize,
    /// How often each pair is measured; the medians count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The Mosquitto to compare with
    #[arg(long, default_value = "mosquitto")]
    mosquitto: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 19_000,
            rounds: 3,
            mosquitto: "mosquitto".into(),
        }
    }
}

/// How MQTT travels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Tls,
    WebSocket,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::WebSocket => "WebSocket",
        }
    }
}

/// The figures of both servers from one round.
struct Pair {
    ours: Measurement,
    theirs: Measurement,
}

/// Measures all pairs and judges them.
pub(crate) fn run(options: &Options) -> Result<Report> {
    machine::raise_open_files(options.connections)?;
    let mosquitto = Mosquitto::find(&options.mosquitto)?;
    let whosthere = Whosthere::build()?;

    let certificate = Certificate::new()?;
    let secure = (
        whosthere.with_tls(&certificate),
        mosquitto.with_tls(&certificate),
    );

    let (mut tcp, mut websocket, mut told) = (Vec::new(), Vec::new(), Vec::new());
    let mut tls = Vec::new();
    for round in 0..options.rounds {
        let pair = |transport| measure_pair(options, round, transport, &whosthere, &mosquitto);
        tcp.push(pair(Transport::Tcp)?);
        told.push(measure_with_webhook(&whosthere, options.connections)?);
        websocket.push(pair(Transport::WebSocket)?);
        tls.push(measure_pair(
            options,
            round,
            Transport::Tls,
            &secure.0,
            &secure.1,
        )?);
    }

    let mut report = Report::default();
    machine::describe(&mut report);
    report.note("peer", mosquitto.version());
    report.note(
        "connections",
        format!("{} x {} rounds", options.connections, options.rounds),
    );
    verdict::judge(&mut report, Transport::Tcp, &tcp, true);
    verdict::note_webhook(&mut report, &tcp, &told);
    verdict::judge(
        &mut report,
        Transport::WebSocket,
        &websocket,
        mosquitto.speaks_websocket(),
    );
    verdict::note_tls(&mut report, &tls);
    Ok(report)
}

/// One round of both servers; who goes first changes from round to round.
fn measure_pair(
    options: &Options,
    round: usize,
    transport: Transport,
    whosthere: &Whosthere,
    mosquitto: &Mosquitto,
) -> Result<Pair> {
    let count = options.connections;
    let ours = || measure(whosthere, transport, count);
    // A Mosquitto without WebSocket is measured over TCP, where a connection costs it less.
    let theirs = || {
        let possible = match transport {
            Transport::WebSocket if !mosquitto.speaks_websocket() => Transport::Tcp,
            _ => transport,
        };
        measure(mosquitto, possible, count)
    };
    let pair = if round.is_multiple_of(2) {
        let ours = ours()?;
        Pair {
            ours,
            theirs: theirs()?,
        }
    } else {
        let theirs = theirs()?;
        Pair {
            ours: ours()?,
            theirs,
        }
    };
    let (ours, theirs) = (&pair.ours, &pair.theirs);
    println!(
        "round {}, {}: whosthere {ours}; mosquitto {theirs}",
        round + 1,
        transport.name()
    );
    Ok(pair)
}
