//! What is kept of each session, user and subscription, and how the lists through them are linked.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU8;

use compact_str::CompactString;
use topics::slab::ChunkedSlab;
use topics::split_table::SplitTable;
use topics::{FilterTrie, NodeId};

use crate::change::SessionFacts;
use crate::id::{Address, Os, Protocol, SessionId, SessionRef};

/// The end of every list.
pub(crate) const NONE: u32 = u32::MAX;

/// One session: 104 bytes, names of up to 24 bytes included.
pub(crate) struct Session {
    pub(crate) client_id: CompactString,
    pub(crate) serial: u64,
    pub(crate) connected_at_ms: u64,
    id: SessionId,
    peer_ip: [u8; 16],
    pub(crate) user: u32,
    pub(crate) next_of_user: u32,
    pub(crate) previous_of_user: u32,
    pub(crate) first_subscription: u32,
    pub(crate) last_subscription: u32,
    connection: u32,
    worker: u16,
    peer_port: u16,
    pub(crate) subscription_count: u16,
    pub(crate) protocol: Protocol,
    peer_known: bool,
    os: Option<Os>,
}

impl Session {
    pub(crate) fn new(opening: &crate::Opening<'_>, serial: u64, user: u32) -> Self {
        let (peer_ip, peer_port) = opening.peer.map_or(([0; 16], 0), |peer| {
            let ip = match peer.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            (ip.octets(), peer.port())
        });
        Self {
            client_id: opening.client_id.into(),
            serial,
            connected_at_ms: opening.connected_at_ms,
            id: opening.id,
            peer_ip,
            user,
            next_of_user: NONE,
            previous_of_user: NONE,
            first_subscription: NONE,
            last_subscription: NONE,
            connection: opening.address.connection,
            worker: opening.address.worker,
            peer_port,
            subscription_count: 0,
            protocol: opening.protocol,
            peer_known: opening.peer.is_some(),
            os: opening.os,
        }
    }

    pub(crate) fn address(&self) -> Address {
        Address {
            worker: self.worker,
            connection: self.connection,
        }
    }

    /// The client's address. An IPv4 address reached through an IPv6 socket is shown as IPv4.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer_known.then(|| {
            let ip = Ipv6Addr::from(self.peer_ip).to_canonical();
            SocketAddr::new(ip, self.peer_port)
        })
    }
}

/// One user with at least one session online.
pub(crate) struct User {
    pub(crate) name: CompactString,
    pub(crate) first_session: u32,
    pub(crate) last_session: u32,
    pub(crate) session_count: u32,
}

/// One subscription, in the list of its session and in that of its filter.
pub(crate) struct Subscription {
    pub(crate) session: u32,
    pub(crate) filter: NodeId,
    pub(crate) next_of_session: u32,
    pub(crate) next_of_filter: u32,
    pub(crate) previous_of_filter: u32,
    pub(crate) options: Options,
}

/// Subscription options of MQTT 5 §3.8.3.1, never zero: the bit that options leave spare lets a free slot of the
/// slab cost nothing extra.
#[derive(Clone, Copy)]
pub(crate) struct Options(NonZeroU8);

impl Options {
    pub(crate) fn new(bits: u8) -> Self {
        Self(NonZeroU8::MIN | (bits << 1))
    }

    pub(crate) fn bits(self) -> u8 {
        self.0.get() >> 1
    }
}

/// All that the lock of an organisation guards.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) sessions: ChunkedSlab<Session>,
    pub(crate) users: ChunkedSlab<User>,
    pub(crate) subscriptions: ChunkedSlab<Subscription>,
    pub(crate) clients: SplitTable,
    pub(crate) names: SplitTable,
    /// The value of a filter's node is the first subscription of its list.
    pub(crate) filters: FilterTrie,
    pub(crate) next_serial: u64,
    /// Names come from clients: the seed keeps them from choosing their place in a table.
    pub(crate) seed: RandomState,
}

impl State {
    pub(crate) fn hash(&self, text: &str) -> u64 {
        self.seed.hash_one(text)
    }

    /// Where a user stands in the order of listings: the order of the name table, which growing
    /// does not change.
    pub(crate) fn listing_key(&self, username: &str) -> u64 {
        self.hash(username).reverse_bits()
    }

    pub(crate) fn find_user(&self, name: &str) -> Option<u32> {
        self.names
            .find(self.hash(name), |slot| self.users[slot].name == name)
    }

    pub(crate) fn find_client(&self, client_id: &str) -> Option<u32> {
        self.clients.find(self.hash(client_id), |slot| {
            self.sessions[slot].client_id == client_id
        })
    }

    /// The session's slot, if it is still the one that is meant.
    pub(crate) fn slot_of(&self, session: SessionRef) -> Option<u32> {
        let found = self.sessions.get(session.slot)?;
        (found.serial == session.serial).then_some(session.slot)
    }

    /// All that is known of the session in a slot.
    pub(crate) fn facts(&self, slot: u32) -> SessionFacts {
        let session = &self.sessions[slot];
        SessionFacts {
            session: SessionRef {
                slot,
                serial: session.serial,
            },
            id: session.id,
            address: session.address(),
            username: self.users[session.user].name.clone(),
            client_id: session.client_id.clone(),
            protocol: session.protocol,
            peer: session.peer(),
            os: session.os,
            connected_at_ms: session.connected_at_ms,
        }
    }

    /// Iterates over the subscriptions of a session, in order of subscription.
    pub(crate) fn subscriptions_of<'a>(
        &'a self,
        session: &Session,
    ) -> impl Iterator<Item = (u32, &'a Subscription)> + use<'a> {
        let mut next = session.first_subscription;
        std::iter::from_fn(move || {
            let slot = next;
            let subscription = self.subscriptions.get(slot)?;
            next = subscription.next_of_session;
            Some((slot, subscription))
        })
    }
}
