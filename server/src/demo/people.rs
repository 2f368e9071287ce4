//! Who takes part in the demo, and what they do all day.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{Client, Speaks, Via};
use super::{ORG, PASSWORD};
use crate::config::Listen;

/// One person with one device.
pub(super) struct Person {
    pub(super) username: &'static str,
    pub(super) display_name: Option<&'static str>,
    client_id: &'static str,
    via: Via,
    speaks: Speaks,
    /// Seconds they stay, and stay away.
    stays_secs: u64,
    leaves_politely: bool,
}

/// TCP and WebSocket, 3.1.1 and 5, with and without DISCONNECT: one of each kind. Bob has two
/// devices.
pub(super) const CAST: [Person; 5] = [
    person(
        "alice",
        Some("Alice Martin"),
        "alice-web",
        Via::WebSocket,
        Speaks::V5,
        40,
        true,
    ),
    person("bob", None, "bob-phone", Via::Tcp, Speaks::V311, 25, false),
    person("bob", None, "bob-tablet", Via::Tcp, Speaks::V5, 31, true),
    person(
        "carol",
        Some("Carol Ng"),
        "carol-web",
        Via::WebSocket,
        Speaks::V311,
        17,
        true,
    ),
    person(
        "sensor-7",
        None,
        "sensor-7",
        Via::Tcp,
        Speaks::V5,
        11,
        false,
    ),
];

const fn person(
    username: &'static str,
    display_name: Option<&'static str>,
    client_id: &'static str,
    via: Via,
    speaks: Speaks,
    stays_secs: u64,
    leaves_politely: bool,
) -> Person {
    Person {
        username,
        display_name,
        client_id,
        via,
        speaks,
        stays_secs,
        leaves_politely,
    }
}

/// Lets everybody in, each in a thread that ends soon after `stopping` is set.
pub(super) fn enter(bound: &Listen, stopping: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    CAST.iter()
        .filter_map(|person| {
            let address = match person.via {
                Via::Tcp => bound.mqtt?,
                Via::WebSocket => bound.ws?,
            };
            let stopping = Arc::clone(stopping);
            Some(std::thread::spawn(move || {
                while !stopping.load(Ordering::Relaxed) {
                    if let Err(error) = visit(person, address, &stopping) {
                        tracing::warn!(%error, client = person.client_id, "a demo client failed");
                    }
                    wait(Duration::from_secs(person.stays_secs / 4 + 1), &stopping);
                }
            }))
        })
        .collect()
}

/// One stay: join, subscribe, chat, leave.
fn visit(
    person: &Person,
    address: std::net::SocketAddr,
    stopping: &AtomicBool,
) -> std::io::Result<()> {
    let login = format!("{}@{ORG}", person.username);
    let mut client = Client::connect(
        address,
        person.via,
        person.speaks,
        &login,
        PASSWORD,
        person.client_id,
    )?;
    client.subscribe("chat/lobby")?;
    client.subscribe(&format!("chat/dms/{}", person.username))?;
    client.publish("chat/lobby", &format!("{} is here", person.username))?;
    let until = Instant::now() + Duration::from_secs(person.stays_secs);
    while Instant::now() < until && !stopping.load(Ordering::Relaxed) {
        client.listen()?;
    }
    if person.leaves_politely {
        client.publish("chat/lobby", &format!("{} says goodbye", person.username))?;
        client.disconnect()?;
    }
    Ok(())
}

fn wait(duration: Duration, stopping: &AtomicBool) {
    let until = Instant::now() + duration;
    while Instant::now() < until && !stopping.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
    }
}
