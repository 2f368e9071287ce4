//! Who has guessed wrong lately: by address and by user, in a table of fixed size.
//!
//! Each wrong guess raises a level, which sinks steadily: from its limit to nothing in the window.
//! An address at its limit is answered nothing but "later". A user at its limit is open only to
//! addresses that have not guessed wrong within the window: so guessing from many addresses is slow
//! too, and the user, who comes from one of her own, is not locked out by strangers.
//!
//! IPv6 addresses count by their /64, which is what one subscriber has. Names and addresses are
//! kept as keyed hashes; where the table is full, the lowest level makes room.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;

use super::OrgIndex;

/// Slots that a key may be in.
const WAYS: usize = 4;

/// Below this nothing is left of a wrong guess.
const TRACE: f64 = 0.01;

/// Threads that ask at the same time may have read the clock so far apart.
const CLOCKS_APART_SECS: u64 = 5;

/// The limits of guessing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuessLimits {
    /// Wrong guesses of one address in the window; 0 for no limit.
    pub address_max: u32,
    /// Wrong guesses for one user in the window; 0 for no limit.
    pub user_max: u32,
    /// Time in which a full level sinks to nothing, seconds.
    pub window_secs: u32,
    /// Addresses and users that are remembered.
    pub entries_max: usize,
}

/// The levels of addresses and users.
pub struct Guesses {
    limits: GuessLimits,
    hasher: RandomState,
    slots: Mutex<Box<[Slot]>>,
    /// Whether anything was ever wrong: until then nobody is looked up.
    has_any: AtomicBool,
    /// Attempts that were not looked at.
    pub(super) slowed: Counter,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// A hash of the key; 0 for none.
    tag: u64,
    level: f64,
    raised_at_secs: u64,
}

/// Whom a level is about.
#[derive(Hash)]
enum Subject<'a> {
    /// An address that logs in.
    Address(IpAddr),
    /// An address that sends API keys.
    KeyAddress(IpAddr),
    User(&'a Guessed<'a>),
}

/// The user whom a login names, if there is such an organisation and such a user or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Guessed<'a> {
    pub(super) org: Option<OrgIndex>,
    /// Empty where a token is to say who it is: that is nobody whose password could be guessed.
    pub(super) username: &'a str,
}

/// What is remembered of a subject.
struct Memory {
    level: f64,
    /// Whether it was raised within the window.
    is_recent: bool,
}

impl Guesses {
    pub(super) fn new(limits: GuessLimits) -> Self {
        let sets = (limits.entries_max / WAYS).max(1);
        Self {
            limits,
            hasher: RandomState::new(),
            slots: Mutex::new(vec![Slot::default(); sets * WAYS].into()),
            has_any: AtomicBool::new(false),
            slowed: Counter::default(),
        }
    }

    /// Whether no guess was ever counted: then nobody is slowed.
    pub fn is_quiet(&self) -> bool {
        !self.has_any.load(Ordering::Relaxed)
    }

    /// Whether a login is to be turned away unseen.
    pub(super) fn is_slowed(
        &self,
        address: Option<IpAddr>,
        user: &Guessed<'_>,
        now_secs: u64,
    ) -> bool {
        let Some(address) = address.map(network_of) else {
            return false;
        };
        let GuessLimits {
            address_max,
            user_max,
            ..
        } = self.limits;
        let of_address = self.memory(&Subject::Address(address), address_max, now_secs);
        let is_slowed = is_full(of_address.level, address_max)
            || of_address.is_recent && !user.username.is_empty() && {
                let of_user = self.memory(&Subject::User(user), user_max, now_secs);
                is_full(of_user.level, user_max)
            };
        if is_slowed {
            self.slowed.inc();
        }
        is_slowed
    }

    /// A login was wrong.
    pub(super) fn count(&self, address: Option<IpAddr>, user: &Guessed<'_>, now_secs: u64) {
        let GuessLimits {
            address_max,
            user_max,
            ..
        } = self.limits;
        if let Some(address) = address.map(network_of) {
            // The limit of users asks who has guessed, even if addresses have none.
            let most = address_max.max(u32::from(user_max > 0));
            self.raise(&Subject::Address(address), most, now_secs);
        }
        if !user.username.is_empty() {
            self.raise(&Subject::User(user), user_max, now_secs);
        }
    }

    /// How many seconds an address has to wait with its next API key; none if it need not.
    pub fn key_pause_secs(&self, address: IpAddr, now_secs: u64) -> Option<u64> {
        let most = self.limits.address_max;
        let subject = Subject::KeyAddress(network_of(address));
        let level = self.memory(&subject, most, now_secs).level;
        is_full(level, most).then(|| {
            self.slowed.inc();
            // Until the level is one below the limit.
            let per_guess = f64::from(self.limits.window_secs) / f64::from(most);
            ((level - f64::from(most) + 1.0) * per_guess).ceil() as u64
        })
    }

    /// An API key was wrong.
    pub fn count_key(&self, address: IpAddr, now_secs: u64) {
        let most = self.limits.address_max;
        self.raise(&Subject::KeyAddress(network_of(address)), most, now_secs);
    }

    fn memory(&self, subject: &Subject<'_>, most: u32, now_secs: u64) -> Memory {
        let (set, tag) = self.place(subject);
        let slots = self.lock();
        let slot = slots[set..set + WAYS].iter().find(|slot| slot.tag == tag);
        let age_secs = slot.map(|slot| now_secs.saturating_sub(slot.raised_at_secs));
        Memory {
            level: slot.map_or(0.0, |slot| self.sunk(slot, most, now_secs)),
            is_recent: age_secs.is_some_and(|secs| secs < self.limits.window_secs.into()),
        }
    }

    fn raise(&self, subject: &Subject<'_>, most: u32, now_secs: u64) {
        if most == 0 {
            return;
        }
        self.has_any.store(true, Ordering::Relaxed);
        let (set, tag) = self.place(subject);
        let mut slots = self.lock();
        let ways = &mut slots[set..set + WAYS];
        let own = ways.iter().position(|slot| slot.tag == tag);
        let at = own.unwrap_or_else(|| {
            // The limits of the others are unknown here, which matters little for which is lowest.
            let levels = ways.iter().map(|slot| self.sunk(slot, most, now_secs));
            let lowest = levels.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            lowest.map_or(0, |(at, _)| at)
        });
        let level = match own {
            Some(_) => self.sunk(&ways[at], most, now_secs),
            None => 0.0,
        };
        ways[at] = Slot {
            tag,
            // No more than the limit and one, so that a long attack does not lock for longer.
            level: (level + 1.0).min(f64::from(most) + 1.0),
            raised_at_secs: now_secs,
        };
    }

    /// What is left of a level. Nothing if it was raised in the future: the clock was set back, and
    /// whoever was slowed would be until it has caught up.
    fn sunk(&self, slot: &Slot, most: u32, now_secs: u64) -> f64 {
        if slot.raised_at_secs > now_secs.saturating_add(CLOCKS_APART_SECS) {
            return 0.0;
        }
        let secs = now_secs.saturating_sub(slot.raised_at_secs) as f64;
        let sunk = secs * f64::from(most) / f64::from(self.limits.window_secs);
        (slot.level - sunk).max(0.0)
    }

    fn place(&self, subject: &Subject<'_>) -> (usize, u64) {
        let hash = self.hasher.hash_one(subject);
        let sets = self.limits.entries_max / WAYS;
        let set = hash % sets.max(1) as u64;
        (set as usize * WAYS, hash.max(1))
    }

    fn lock(&self) -> MutexGuard<'_, Box<[Slot]>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_full(level: f64, most: u32) -> bool {
    // A little less is full too, so that the seconds that go by between guesses do not matter.
    most > 0 && level > f64::from(most) - 1.0 + TRACE
}

/// The address, or the /64 of an IPv6 one.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            std::net::Ipv6Addr::from(prefix).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GuessLimits = GuessLimits {
        address_max: 10,
        user_max: 5,
        window_secs: 100,
        entries_max: 1024,
    };

    fn named(login: &str) -> Guessed<'_> {
        Guessed {
            org: Some(OrgIndex(0)),
            username: login,
        }
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_is_slowed_after_its_guesses_and_may_try_again_later() {
        let guesses = Guesses::new(LIMITS);
        let here = address("192.0.2.1");
        for user in 0..10 {
            assert!(!guesses.is_slowed(here, &named(&user.to_string()), 0));
            guesses.count(here, &named(&user.to_string()), 0);
        }
        assert!(guesses.is_slowed(here, &named("alice"), 0));
        assert!(guesses.is_slowed(here, &named("alice"), 9));
        assert!(
            !guesses.is_slowed(here, &named("alice"), 11),
            "one guess each ten seconds"
        );
        assert!(!guesses.is_slowed(address("192.0.2.2"), &named("alice"), 0));
        assert_eq!(guesses.slowed.get(), 2);
    }

    #[test]
    fn a_user_under_attack_comes_in_from_an_address_of_her_own() {
        let guesses = Guesses::new(LIMITS);
        for host in 0..100 {
            let there = address(&format!("198.51.100.{host}"));
            guesses.count(there, &named("alice@a"), 0);
            assert_eq!(
                guesses.is_slowed(there, &named("alice@a"), 0),
                host >= 4,
                "{host}"
            );
            assert!(!guesses.is_slowed(there, &named("bob@a"), 0));
        }
        assert!(!guesses.is_slowed(address("192.0.2.1"), &named("alice@a"), 0));
        guesses.count(address("192.0.2.1"), &named("alice@a"), 0);
        assert!(
            guesses.is_slowed(address("192.0.2.1"), &named("alice@a"), 0),
            "she has mistyped"
        );
        assert!(!guesses.is_slowed(address("192.0.2.1"), &named("alice@a"), 41));
    }

    #[test]
    fn who_guesses_patiently_from_one_address_meets_the_user_s_limit_too() {
        let guesses = Guesses::new(LIMITS);
        let there = address("198.51.100.1");
        // Slowly enough for the address: one each ten seconds is forgiven.
        let tried = (0..100).filter(|turn| {
            let now_secs = turn * 11;
            let is_slowed = guesses.is_slowed(there, &named("alice"), now_secs);
            if !is_slowed {
                guesses.count(there, &named("alice"), now_secs);
            }
            !is_slowed
        });
        // Five at once, then five in each window of 100 seconds.
        assert!(tried.count() <= 5 + 5 * 11);
    }

    #[test]
    fn a_user_s_limit_holds_where_addresses_have_none() {
        let guesses = Guesses::new(GuessLimits {
            address_max: 0,
            ..LIMITS
        });
        let balancer = address("10.0.0.1");
        for turn in 0..10 {
            let is_slowed = guesses.is_slowed(balancer, &named("alice"), 0);
            assert_eq!(is_slowed, turn >= 5, "{turn}");
            guesses.count(balancer, &named("alice"), 0);
        }
        assert!(!guesses.is_slowed(balancer, &named("bob"), 0));
    }

    #[test]
    fn those_whom_their_token_names_are_not_one_user() {
        let guesses = Guesses::new(LIMITS);
        for host in 0..100 {
            let there = address(&format!("198.51.100.{host}"));
            guesses.count(there, &named(""), 0);
            assert!(!guesses.is_slowed(there, &named(""), 0), "{host}");
        }
    }

    #[test]
    fn a_subscriber_s_ipv6_addresses_are_one() {
        let guesses = Guesses::new(LIMITS);
        for host in 0..10 {
            guesses.count(
                address(&format!("2001:db8:0:1::{host:x}")),
                &named("alice"),
                0,
            );
        }
        assert!(guesses.is_slowed(address("2001:db8:0:1:ffff::1"), &named("bob"), 0));
        assert!(!guesses.is_slowed(address("2001:db8:0:2::1"), &named("bob"), 0));
        for _ in 0..10 {
            guesses.count(address("::ffff:192.0.2.7"), &named("alice"), 0);
        }
        assert!(guesses.is_slowed(address("192.0.2.7"), &named("bob"), 0));
    }

    #[test]
    fn wrong_keys_have_a_level_of_their_own_and_say_when_to_come_back() {
        let guesses = Guesses::new(LIMITS);
        let here = address("192.0.2.1").unwrap();
        for _ in 0..10 {
            assert_eq!(guesses.key_pause_secs(here, 0), None);
            guesses.count_key(here, 0);
        }
        assert_eq!(guesses.key_pause_secs(here, 0), Some(10));
        assert_eq!(guesses.key_pause_secs(here, 11), None);
        assert!(!guesses.is_slowed(Some(here), &named("alice"), 0));
    }

    #[test]
    fn a_clock_that_is_set_back_slows_nobody_for_longer() {
        let guesses = Guesses::new(LIMITS);
        let here = address("192.0.2.1");
        for _ in 0..20 {
            guesses.count(here, &named("alice"), 10_000);
        }
        assert!(guesses.is_slowed(here, &named("alice"), 9_999));
        assert!(!guesses.is_slowed(here, &named("alice"), 5_000));
        for _ in 0..20 {
            guesses.count(here, &named("alice"), 5_000);
        }
        assert!(guesses.is_slowed(here, &named("alice"), 5_001));
        assert!(!guesses.is_slowed(here, &named("alice"), 5_101));
    }

    #[test]
    fn a_full_table_forgets_and_does_not_grow() {
        let small = GuessLimits {
            entries_max: 8,
            ..LIMITS
        };
        let guesses = Guesses::new(small);
        for host in 0..10_000_u32 {
            let there = IpAddr::from(host.to_be_bytes());
            guesses.count(Some(there), &named(&host.to_string()), 0);
        }
        assert_eq!(guesses.lock().len(), 8);
    }

    #[test]
    fn limits_of_0_are_none() {
        let guesses = Guesses::new(GuessLimits {
            address_max: 0,
            user_max: 0,
            ..LIMITS
        });
        for _ in 0..100 {
            guesses.count(address("192.0.2.1"), &named("alice"), 0);
            guesses.count_key(address("192.0.2.1").unwrap(), 0);
        }
        assert!(!guesses.is_slowed(address("192.0.2.1"), &named("alice"), 0));
        assert_eq!(
            guesses.key_pause_secs(address("192.0.2.1").unwrap(), 0),
            None
        );
    }
}
