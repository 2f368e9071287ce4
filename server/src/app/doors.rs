//! The doors of MQTT, bound before anything is served, and the limits behind them.

use std::net::SocketAddr;
use std::num::NonZero;

use super::StartError;
use super::files::Shares;
use crate::config::{Config, Listen};
use crate::event_loop::{self, Bound, Door, Settings, TcpProbes};

/// The MQTT side of a server: its doors, bound but not yet served.
pub(super) struct Doors {
    pub(super) by_worker: Vec<Vec<Bound>>,
    /// Their real addresses, ports of 0 resolved. Those of HTTP are not among them.
    pub(super) bound: Listen,
}

impl Doors {
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
        let workers = worker_count(config.workers);
        let mut doors = Self {
            by_worker: (0..workers).map(|_| Vec::new()).collect(),
            bound: Listen::closed(),
        };
        let mut bind = |key, address: Option<SocketAddr>, door| {
            address
                .map(|address| doors.bind(key, address, door, config))
                .transpose()
        };
        let listen = &config.listen;
        let bound = Listen {
            mqtt: bind("mqtt", listen.mqtt, Door::Tcp)?,
            mqtts: bind("mqtts", listen.mqtts, Door::Tls)?,
            ws: bind("ws", listen.ws, Door::WebSocket)?,
            wss: bind("wss", listen.wss, Door::SecureWebSocket)?,
            ..Listen::closed()
        };
        doors.bound = bound;
        Ok(doors)
    }

    fn bind(
        &mut self,
        key: &'static str,
        address: SocketAddr,
        door: Door,
        config: &Config,
    ) -> Result<SocketAddr, StartError> {
        let settings = &config.mqtt;
        let probes = TcpProbes {
            idle_secs: narrow(settings.tcp_keep_alive_idle_secs),
            interval_secs: narrow(settings.tcp_keep_alive_interval_secs),
            count: settings.tcp_keep_alive_probes,
        };
        let backlog = i32::from(settings.listen_backlog);
        let workers = self.by_worker.len();
        let bound =
            event_loop::bind(address, door, workers, backlog, probes).map_err(|source| {
                StartError::Listen {
                    key,
                    address,
                    source,
                }
            })?;
        let real = bound.first().map_or(address, |bound| bound.address);
        for (doors, mut bound) in self.by_worker.iter_mut().zip(bound) {
            bound.is_proxied = config.proxy_protocol.is_spoken_at(key);
            doors.push(bound);
        }
        Ok(real)
    }
}

fn worker_count(configured: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    loops(configured, cores)
}

/// Unless the settings say otherwise, one core is left to the threads beside the event loops: those
/// of the journal, the views, webhooks and the API.
fn loops(configured: usize, cores: usize) -> usize {
    match configured {
        0 => cores.saturating_sub(1).max(1),
        count => count,
    }
}

pub(super) fn limits(config: &Config) -> mqtt::Limits {
    let settings = &config.mqtt;
    mqtt::Limits {
        packet_bytes_max: settings.packet_bytes_max,
        keep_alive_secs_max: settings.keep_alive_secs_max,
        topic_levels_max: narrow(settings.topic_levels_max),
        receive_max: settings.receive_max,
        inflight_max: settings.inflight_max,
        queue_messages_max: narrow(settings.queue_messages_max),
        queue_bytes_max: narrow(settings.queue_bytes_max),
        filters_per_packet_max: narrow(settings.filters_per_packet_max),
        topic_alias_max: settings.topic_alias_max,
        topic_alias_sent_max: settings.topic_alias_sent_max,
        session_expiry_secs_max: config.sessions.expiry_secs_max,
        retain_available: config.retained.messages_max > 0,
        shared_available: true,
        subscription_ids_available: true,
    }
}

pub(super) fn settings(config: &Config, shares: Shares) -> Settings {
    let settings = &config.mqtt;
    Settings {
        connect_timeout_secs: narrow(settings.connect_timeout_secs),
        connect_bytes_max: settings.connect_bytes_max,
        outbound_bytes_max: settings.outbound_bytes_max,
        subscriptions_per_session_max: narrow(settings.subscriptions_per_session_max),
        subscriptions_waiting_max: config.retained.subscriptions_waiting_max,
        connections_max: shares.connections_max,
        refusals_max: shares.refusals_max,
        trusted: config.proxy_protocol.trusted.as_slice().into(),
        mailbox_deliveries_max: settings.mailbox_deliveries_max,
    }
}

/// A setting in the width that its user needs. Validation has seen to it that it fits; if it did
/// not, the largest value would be the nearest to what was meant.
fn narrow<From, To>(value: From) -> To
where
    To: TryFrom<From> + Bounded,
{
    To::try_from(value).unwrap_or(To::MAX)
}

/// Integers that have a largest value.
trait Bounded {
    const MAX: Self;
}

impl Bounded for u16 {
    const MAX: Self = Self::MAX;
}

impl Bounded for u32 {
    const MAX: Self = Self::MAX;
}

#[cfg(test)]
mod tests {
    use super::loops;

    #[test]
    fn one_core_is_left_to_the_threads_beside_the_event_loops() {
        assert_eq!(loops(0, 8), 7);
        assert_eq!(loops(0, 2), 1);
    }

    #[test]
    fn a_single_core_has_an_event_loop_too() {
        assert_eq!(loops(0, 1), 1);
    }

    #[test]
    fn the_settings_may_say_otherwise() {
        assert_eq!(loops(4, 2), 4);
    }
}
