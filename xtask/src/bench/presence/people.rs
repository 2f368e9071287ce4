//! The people of the benchmark: names, client ids and topics as real ones look.
//!
//! Everything about a person follows from one number, and the number can be read off the client
//! id again. So a listing of a million sessions is checked with a bitmap, without a table that
//! would be mistaken for the server's memory.
//!
//! The first [`SETTLED_GROUPS`] people subscribe to topics whose number of subscribers does not
//! depend on how many others are online; the queries ask for those.

use std::net::{Ipv4Addr, SocketAddr};

/// Subscribers of the room that is asked for.
pub(super) const ROOM_SIZE: u32 = 50;

/// Subscribers of the popular topic, and of the topics that one wildcard query finds.
pub(super) const CROWD_SIZE: u32 = 4_000;

/// The people whose topics the queries ask for: one with an inbox, one with a wildcard filter,
/// a room, a crowd at one topic and a crowd with a topic each.
pub(super) const SETTLED_GROUPS: u32 = 2 + ROOM_SIZE + 2 * CROWD_SIZE;

/// The person with an inbox.
pub(super) const INBOX_OWNER: u32 = 0;

/// The person with the filter `chat/dms/NAME/#`.
pub(super) const WILDCARD_OWNER: u32 = 1;

/// Rooms of everybody else: about 50 in each when a million are online.
const ROOM_COUNT: u64 = 9_000;

/// Odd, so that multiplying by it can be undone.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

const FIRST_NAMES: [&str; 16] = [
    "li", "bo", "ana", "tom", "max", "kim", "alice", "bruno", "chloe", "david", "elena", "farid",
    "gustavo", "hannah", "isabella", "nathalie",
];

const LAST_NAMES: [&str; 12] = [
    "wu", "kim", "roth", "diaz", "sato", "martin", "jensen", "okafor", "novak", "silva", "petrova",
    "schmidt",
];

/// One client of the organisation.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) username: String,
    pub(super) client_id: String,
    pub(super) topic: String,
    pub(super) peer: SocketAddr,
}

impl Person {
    /// The person with this number, always the same.
    pub(super) fn number(number: u32) -> Self {
        let username = username(number);
        Self {
            client_id: client_id(number),
            topic: topic(number, &username),
            peer: peer(number),
            username,
        }
    }
}

/// 6 to 24 characters, such as `alice.martin4821`.
pub(super) fn username(number: u32) -> String {
    let mixed = mix(number);
    let first = FIRST_NAMES[pick(mixed, FIRST_NAMES.len())];
    let last = LAST_NAMES[pick(mixed >> 16, LAST_NAMES.len())];
    let digits = number + 1_000;
    match mixed >> 62 {
        0 => format!("{first}{digits}"),
        _ => format!("{first}.{last}{digits}"),
    }
}

/// Six in ten from a web page, three from mqtt.js, one a UUID.
fn client_id(number: u32) -> String {
    let scattered = u64::from(number).wrapping_mul(SCATTER);
    match mix(number) >> 8 & 0xff {
        0..154 => format!("web-{scattered:016x}"),
        154..230 => format!("mqttjs_{:08x}", number.wrapping_mul(SCATTER as u32)),
        _ => {
            let head = mix(!number);
            let (group, node) = (scattered >> 48, scattered & 0xffff_ffff_ffff);
            let (low, mid, high) = (head >> 32, head >> 16 & 0xffff, head & 0xfff);
            format!("{low:08x}-{mid:04x}-4{high:03x}-{group:04x}-{node:012x}")
        }
    }
}

/// The number of the person with this client id; `None` if it is nobody's.
pub(super) fn number_of(client_id: &str) -> Option<u32> {
    let number = if let Some(hex) = client_id.strip_prefix("web-") {
        unscatter(u64::from_str_radix(hex, 16).ok()?)
    } else if let Some(hex) = client_id.strip_prefix("mqttjs_") {
        let scattered = u32::from_str_radix(hex, 16).ok()?;
        u64::from(scattered.wrapping_mul(inverse(SCATTER) as u32))
    } else {
        let (group, node) = (client_id.get(19..23)?, client_id.get(24..36)?);
        let group = u64::from_str_radix(group, 16).ok()?;
        unscatter(group << 48 | u64::from_str_radix(node, 16).ok()?)
    };
    u32::try_from(number).ok()
}

fn topic(number: u32, username: &str) -> String {
    let in_groups = |start: u32, size: u32| (start..start + size).contains(&number);
    match number {
        INBOX_OWNER => format!("users/{username}/inbox"),
        WILDCARD_OWNER => format!("chat/dms/{username}/#"),
        _ if in_groups(2, ROOM_SIZE) => "chat/rooms/77".to_owned(),
        _ if in_groups(2 + ROOM_SIZE, CROWD_SIZE) => "news/sport".to_owned(),
        _ if in_groups(2 + ROOM_SIZE + CROWD_SIZE, CROWD_SIZE) => format!("teams/42/{number}"),
        _ => everyday_topic(number, username),
    }
}

/// Nine in twenty sit in a room, seven wait at their inbox, four follow all their conversations.
fn everyday_topic(number: u32, username: &str) -> String {
    let mixed = mix(number) >> 24;
    match mixed % 20 {
        // The first hundred rooms are left out: one of them is asked for.
        0..9 => format!("chat/rooms/{}", 100 + mixed / 20 % ROOM_COUNT),
        9..16 => format!("users/{username}/inbox"),
        _ => format!("chat/dms/{username}/#"),
    }
}

fn peer(number: u32) -> SocketAddr {
    let mixed = mix(number);
    let host = Ipv4Addr::from_bits(0x0a00_0000 | mixed as u32 & 0x00ff_ffff);
    SocketAddr::from((host, 1_024 + (mixed >> 32) as u16 / 2))
}

fn pick(mixed: u64, count: usize) -> usize {
    (mixed & 0xffff) as usize % count
}

/// A number of 64 bits that looks random (the finisher of splitmix64).
fn mix(number: u32) -> u64 {
    let mut mixed = u64::from(number).wrapping_add(1).wrapping_mul(SCATTER);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn unscatter(scattered: u64) -> u64 {
    scattered.wrapping_mul(inverse(SCATTER))
}

/// What `odd` must be multiplied by to give 1; each step doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let mut guess = odd;
    let mut step = 0;
    while step < 5 {
        guess = guess.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(guess)));
        step += 1;
    }
    guess
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn sample() -> impl Iterator<Item = u32> {
        (0..20_000).chain((1_000_000..9_000_000).step_by(4_999))
    }

    #[test]
    fn the_number_can_be_read_off_the_client_id() {
        for number in sample() {
            let person = Person::number(number);
            assert_eq!(number_of(&person.client_id), Some(number), "{person:?}");
        }
    }

    #[test]
    fn names_have_the_lengths_of_real_ones() {
        for number in sample() {
            let person = Person::number(number);
            assert!((6..=24).contains(&person.username.len()), "{person:?}");
            assert!([20, 15, 36].contains(&person.client_id.len()), "{person:?}");
        }
    }

    #[test]
    fn the_groups_have_their_sizes_and_nobody_else_joins_them() {
        let mut sizes = HashMap::new();
        for number in sample() {
            let topic = Person::number(number).topic;
            let team = topic.starts_with("teams/42/");
            *sizes
                .entry(if team { "teams".to_owned() } else { topic })
                .or_insert(0) += 1;
        }
        assert_eq!(sizes["chat/rooms/77"], ROOM_SIZE);
        assert_eq!(sizes["news/sport"], CROWD_SIZE);
        assert_eq!(sizes["teams"], CROWD_SIZE);
    }
}
