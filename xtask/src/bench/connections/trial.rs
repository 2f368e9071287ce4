//! One server, one kind of transport, measured once.

use std::fmt;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::super::peer::Peer;
use super::super::process;
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
    /// CPU time from CONNECT to SUBACK, in microseconds.
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
        Transport::Tcp => addresses.tcp,
        Transport::WebSocket => addresses.websocket,
    };
    sleep(SETTLE / 4);

    let before = Reading::take(running.pid())?;
    let mut fleet = Fleet::connect(target, transport, connection_count)?;
    let cpu_after = process::cpu_nanos(running.pid())?;
    sleep(SETTLE);
    let after = Reading::take(running.pid())?;

    fleet.ensure_all_open()?;
    peer.verify(&running, connection_count)?;
    let cpu_nanos = cpu_after.saturating_sub(before.cpu_nanos);
    Ok(before.growth_to(&after, cpu_nanos, connection_count as f64))
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

    fn growth_to(&self, after: &Self, cpu_nanos: u64, connection_count: f64) -> Measurement {
        let growth = |from: u64, to: u64| to.saturating_sub(from) as f64 / connection_count;
        let proportional = self.proportional.zip(after.proportional);
        Measurement {
            resident_bytes: growth(self.resident, after.resident),
            proportional_bytes: proportional.map(|(from, to)| growth(from, to)),
            cpu_micros: cpu_nanos as f64 / 1_000.0 / connection_count,
        }
    }
}
