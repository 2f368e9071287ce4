//! One server, one kind of transport, measured once.

use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::peer::Peer;
use super::super::process;
use super::super::receiver::Receiver;
use super::super::whosthere::{Whosthere, webhook_settings};
use super::Transport;
use super::fleet::Fleet;

/// Time for a server to finish what it does after the last SUBACK.
const SETTLE: Duration = Duration::from_secs(2);

/// The cost of one connection.
pub(super) struct Measurement {
    /// Growth of the resident memory, in bytes.
    pub(super) resident_bytes: f64,
    /// Growth of the proportional memory, where it can be read.
    pub(super) proportional_bytes: Option<f64>,
    /// CPU time from CONNECT to SUBACK, and what comes of it within two seconds, in microseconds:
    /// the views of the journal are written after the SUBACK.
    pub(super) cpu_micros: f64,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} B", self.resident_bytes)?;
        if let Some(bytes) = self.proportional_bytes {
            write!(f, " (PSS {bytes:.0})")?;
        }
        write!(f, " {:.1} us", self.cpu_micros)
    }
}

/// Starts the server, connects `connection_count` clients, and compares before with after.
pub(super) fn measure(
    peer: &impl Peer,
    transport: Transport,
    connection_count: usize,
) -> Result<Measurement> {
    let running = peer.start()?;
    let addresses = running.addresses;
    let target = match transport {
        Transport::Tcp | Transport::Tls => addresses.tcp,
        Transport::WebSocket => addresses.websocket,
    };
    sleep(SETTLE / 4);

    let before = Reading::take(running.pid())?;
    let mut fleet = Fleet::connect(target, transport, peer.trusting(), connection_count)?;
    sleep(SETTLE);
    let after = Reading::take(running.pid())?;

    fleet.ensure_all_open()?;
    peer.verify(&running, connection_count)?;
    Ok(before.growth_to(&after, connection_count as f64))
}

/// As [`measure`] for the server of this repository and TCP, with a webhook that is told of every
/// session before this returns. Tells the CPU time in microseconds.
pub(super) fn measure_with_webhook(server: &Whosthere, connection_count: usize) -> Result<f64> {
    let receiver = Receiver::answering()?;
    let settings = webhook_settings(receiver.address);
    let told = measure(&server.with(&settings), Transport::Tcp, connection_count)?;
    let received = receiver.finish()?.len();
    ensure!(
        received >= connection_count,
        "{received} of {connection_count} events came in time"
    );
    Ok(told.cpu_micros)
}

/// The state of a server process at one moment.
struct Reading {
    resident: u64,
    proportional: Option<u64>,
    cpu_nanos: u64,
}

impl Reading {
    fn take(pid: u32) -> Result<Self> {
        Ok(Self {
            resident: process::resident_bytes(pid)?,
            proportional: process::proportional_bytes(pid),
            cpu_nanos: process::cpu_nanos(pid)?,
        })
    }

    fn growth_to(&self, after: &Self, connection_count: f64) -> Measurement {
        let growth = |from: u64, to: u64| to.saturating_sub(from) as f64 / connection_count;
        let proportional = self.proportional.zip(after.proportional);
        Measurement {
            resident_bytes: growth(self.resident, after.resident),
            proportional_bytes: proportional.map(|(from, to)| growth(from, to)),
            cpu_micros: after.cpu_nanos.saturating_sub(self.cpu_nanos) as f64
                / 1_000.0
                / connection_count,
        }
    }
}
