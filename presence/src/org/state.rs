//! What is kept of each session, user and subscription, and how the lists through them are linked.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};

use compact_str::CompactString;
use topics::slab::ChunkedSlab;
use topics::split_table::SplitTable;
use topics::{FilterTrie, NodeId};

use super::lately::Lately;
use super::shares::Shares;
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
    marks: Marks,
}

/// What is so or not about a session, and the system it runs on: a byte.
#[derive(Clone, Copy, Default)]
struct Marks(u8);

impl Marks {
    const STORED: u8 = 1;
    const GONE: u8 = 2;
    const PEER_KNOWN: u8 = 4;
    const OS_SHIFT: u8 = 3;
    const MANY: u8 = 32;

    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    fn set(&mut self, mark: u8, is_so: bool) {
        self.0 = self.0 & !mark | if is_so { mark } else { 0 };
    }

    fn os(self) -> Option<Os> {
        match self.0 >> Self::OS_SHIFT & 0b11 {
            1 => Some(Os::Ios),
            2 => Some(Os::Android),
            3 => Some(Os::Websocket),
            _ => None,
        }
    }

    fn of_os(os: Option<Os>) -> Self {
        let number: u8 = match os {
            None => 0,
            Some(Os::Ios) => 1,
            Some(Os::Android) => 2,
            Some(Os::Websocket) => 3,
        };
        Self(number << Self::OS_SHIFT)
    }
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
        let mut marks = Marks::of_os(opening.os);
        marks.set(Marks::PEER_KNOWN, opening.peer.is_some());
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
            marks,
        }
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.marks.has(Marks::STORED)
    }

    pub(crate) fn mark_stored(&mut self) {
        self.marks.set(Marks::STORED, true);
    }

    /// Whether its subscriptions are in [`State::many`].
    pub(crate) fn has_many(&self) -> bool {
        self.marks.has(Marks::MANY)
    }

    pub(crate) fn mark_many(&mut self) {
        self.marks.set(Marks::MANY, true);
    }

    /// Whether its connection was found gone: its ending is under way.
    pub(crate) fn is_gone(&self) -> bool {
        self.marks.has(Marks::GONE)
    }

    pub(crate) fn mark_gone(&mut self) {
        self.marks.set(Marks::GONE, true);
    }

    pub(crate) fn address(&self) -> Address {
        Address {
            worker: self.worker,
            connection: self.connection,
        }
    }

    /// The client's address. An IPv4 address reached through an IPv6 socket is shown as IPv4.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.marks.has(Marks::PEER_KNOWN).then(|| {
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

/// One subscription, in the list of its session and in that of its filter or share group: 24 bytes.
pub(crate) struct Subscription {
    pub(crate) session: u32,
    /// The node of its filter; with [`Options::has_details`], the slot of its [`Details`].
    place: u32,
    pub(crate) next_of_session: u32,
    pub(crate) next_in_list: u32,
    pub(crate) previous_in_list: u32,
    pub(crate) options: Options,
}

// A million of each: see the goal of `cargo xtask bench presence`.
const _: () = assert!(size_of::<Option<Session>>() == 104);
const _: () = assert!(size_of::<Option<Subscription>>() == 24);

impl Subscription {
    /// A subscription at the head of a list whose first is `next_in_list`.
    pub(crate) fn new(session: u32, next_in_list: u32, options: Options) -> Self {
        Self {
            session,
            place: NONE,
            next_of_session: NONE,
            next_in_list,
            previous_in_list: NONE,
            options,
        }
    }

    /// Says which list it stands in and which identifier it has; it must have no details yet.
    pub(crate) fn place(
        &mut self,
        details: &mut ChunkedSlab<Details>,
        list: List,
        identifier: Option<NonZeroU32>,
    ) {
        if let (List::Filter(node), None) = (list, identifier) {
            self.place = node.number();
        } else {
            self.place = details.insert(Details { list, identifier });
            self.options = self.options.with_details();
        }
    }
}

/// What few subscriptions have, so that the others need not have room for it.
pub(crate) struct Details {
    pub(crate) list: List,
    pub(crate) identifier: Option<NonZeroU32>,
}

/// A list of subscriptions: those to a filter, or the members of a group that shares one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum List {
    Filter(NodeId),
    Group(u32),
}

/// Subscription options of MQTT 5 §3.8.3.1 (7 bits) and two marks of ours. Never zero: the lowest
/// bit lets a free slot of the slab cost nothing extra.
#[derive(Clone, Copy)]
pub(crate) struct Options(NonZeroU16);

impl Options {
    const DETAILS: u16 = 1 << 8;
    const STORED: u16 = 1 << 9;

    pub(crate) fn new(bits: u8, is_stored: bool) -> Self {
        let marks = if is_stored { Self::STORED } else { 0 };
        Self(NonZeroU16::MIN | (u16::from(bits & 0x7f) << 1) | marks)
    }

    pub(crate) fn bits(self) -> u8 {
        (self.0.get() >> 1 & 0x7f) as u8
    }

    /// Whether messages for it are routed elsewhere.
    pub(crate) fn is_stored(self) -> bool {
        self.0.get() & Self::STORED != 0
    }

    fn has_details(self) -> bool {
        self.0.get() & Self::DETAILS != 0
    }

    fn with_details(self) -> Self {
        Self(self.0 | Self::DETAILS)
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
    /// Groups that share filters; these have a trie of their own.
    pub(crate) shares: Shares,
    pub(crate) details: ChunkedSlab<Details>,
    /// Finds the subscriptions of sessions that have many, by session and list. The others' lists are
    /// short enough to be looked through.
    pub(crate) many: SplitTable,
    /// For queries that gather subscribers.
    pub(crate) lately: Lately,
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
            os: session.marks.os(),
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

    /// The list that a subscription stands in, and its identifier.
    pub(crate) fn details_of(&self, subscription: &Subscription) -> (List, Option<NonZeroU32>) {
        if subscription.options.has_details() {
            let details = &self.details[subscription.place];
            return (details.list, details.identifier);
        }
        (List::Filter(NodeId::from_number(subscription.place)), None)
    }

    /// Forgets a subscription's details, before it goes or gets others.
    pub(crate) fn forget_details(&mut self, slot: u32) {
        let subscription = &self.subscriptions[slot];
        if subscription.options.has_details() {
            self.details.remove(subscription.place);
        }
    }

    /// The first subscription of a list; `NONE` if there is no such list.
    pub(crate) fn first_of(&self, list: List) -> u32 {
        match list {
            List::Filter(node) => self.filters.value(node),
            List::Group(slot) => self.shares.first_member(slot),
        }
    }

    /// Appends a subscription's filter as the client wrote it.
    pub(crate) fn write_filter(&self, subscription: &Subscription, text: &mut String) {
        match self.details_of(subscription).0 {
            List::Filter(node) => self.filters.write_filter(node, text),
            List::Group(slot) => self.shares.write_filter(slot, text),
        }
    }
}
