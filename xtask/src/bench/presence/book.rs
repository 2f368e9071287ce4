//! Who is online, kept beside the organisation under test: who can end, and who must be listed.
//!
//! The first people are settled: they come during the fill and stay. The others are restless:
//! any of them may end at any time, and a new person takes the place.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use presence::{Address, Opening, Org, Protocol, SessionRef};
use topics::TopicFilter;

use super::people::Person;

/// 2026-01-01T00:00:00Z.
const NEW_YEAR_MS: u64 = 1_767_225_600_000;

const SUBSCRIPTIONS_MAX: u16 = 100;

#[derive(Clone, Copy)]
struct Entry {
    session: Option<SessionRef>,
    number: u32,
}

/// The organisation and the list of its sessions.
pub(super) struct Book {
    org: Arc<Org>,
    entries: Vec<Entry>,
    next_number: u32,
    settled_count: usize,
    dice: u64,
}

impl Book {
    /// An empty book of `org` with room for `capacity` sessions, of which the first
    /// `settled_count` stay.
    pub(super) fn new(org: Arc<Org>, capacity: usize, settled_count: usize) -> Self {
        // Written once, so that the book's own pages are not counted as growth later.
        let mut entries = vec![
            Entry {
                session: None,
                number: 1
            };
            capacity
        ];
        entries.clear();
        Self {
            org,
            entries,
            next_number: 0,
            settled_count,
            dice: 0x2545_f491_4f6c_dd1d,
        }
    }

    /// The organisation.
    pub(super) fn org(&self) -> &Arc<Org> {
        &self.org
    }

    /// The next person to open a session; all before have opened theirs.
    pub(super) fn next_number(&self) -> u32 {
        self.next_number
    }

    /// How many are online.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The people who are online now.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().map(|entry| entry.number)
    }

    /// Says who comes next; the costs of inventing names stay out of the measurement.
    pub(super) fn next_person(&self) -> Person {
        Person::number(self.next_number)
    }

    /// Connects and subscribes `person`, the next one.
    pub(super) fn open(&mut self, person: &Person) -> Result<()> {
        let number = self.next_number;
        let opened = self.org.open(&Opening {
            id: presence::SessionId([0; 16]),
            os: None,
            username: &person.username,
            client_id: &person.client_id,
            protocol: Protocol::V5,
            peer: Some(person.peer),
            connected_at_ms: NEW_YEAR_MS + u64::from(number),
            address: Address {
                worker: (number % 2) as u16,
                connection: number,
            },
        });
        ensure!(
            opened.taken_over.is_none(),
            "{} was there already",
            person.client_id
        );
        let filter = TopicFilter::parse(&person.topic)
            .ok()
            .context("an invalid filter")?;
        let subscribed = self
            .org
            .subscribe(opened.session, filter, 0, None, SUBSCRIPTIONS_MAX);
        ensure!(
            subscribed == Ok(true),
            "{} cannot subscribe: {subscribed:?}",
            person.username
        );
        self.entries.push(Entry {
            session: Some(opened.session),
            number,
        });
        self.next_number += 1;
        Ok(())
    }

    /// Chooses a restless session.
    pub(super) fn roll(&mut self) -> usize {
        // Marsaglia's xorshift: any sequence will do that does not favour the newest.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let restless = self.entries.len() - self.settled_count;
        self.settled_count + (self.dice % restless as u64) as usize
    }

    /// Ends the session at `place`.
    pub(super) fn end(&mut self, place: usize) -> Result<()> {
        let entry = self.entries.swap_remove(place);
        let ended = entry.session.and_then(|session| self.org.end(session));
        ensure!(ended.is_some(), "person {} was not online", entry.number);
        Ok(())
    }
}
