//! The questions: a user's history, a user's state, events in order.
//!
//! A reader sees every event that `fold` has returned, flushed or not: it looks into memory first,
//! and what is not there is in the file, because the writer lets go of it only after the commit.

use std::path::Path;
use std::sync::Arc;

use journal::Position;
use rusqlite::Connection;

use crate::tail::{Link, Orgs, Shared};
use crate::user::User;
use crate::users::KeyRef;
use crate::{Event, ReadError, history, people, progress, schema};

/// A call looks at so many events at most, those included that it leaves out.
const SCAN_MAX: usize = 10_000;

/// The clock may have been set back by so much; beyond, a chain is not followed to older events.
const CLOCK_STEP_MS: u64 = 3_600_000;

/// Answers questions on a connection of its own; for one thread at a time.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    shared: Arc<Shared>,
}

/// Where the next page of a history begins; stable while events come.
///
/// Safe to take from anyone: with a cursor of another user the page is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub Position);

/// A piece of a user's history.
#[derive(Clone, Debug, Default)]
pub struct HistoryPage {
    /// Newest first.
    pub events: Vec<Arc<Event>>,
    /// Where it goes on; `None` at the end. A page can be short, or empty, and still have one.
    pub next: Option<Cursor>,
}

/// Events of an organisation in the order of the journal.
#[derive(Clone, Debug)]
pub struct EventsPage {
    /// Oldest first.
    pub events: Vec<Arc<Event>>,
    /// Where to go on: everything before it has been looked at.
    pub next: Position,
}

/// What is known of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFacts {
    /// The number of the last event.
    pub seq: u64,
    /// When the last event happened, in Unix milliseconds.
    pub last_seen_ms: u64,
    /// Logged out, and not connected since.
    pub push_suspended: bool,
    /// How many sessions are open.
    pub online_sessions: u32,
}

impl Reader {
    pub(crate) fn open(path: &Path, shared: Arc<Shared>) -> rusqlite::Result<Self> {
        let connection = schema::open_read_only(path)?;
        Ok(Self { connection, shared })
    }

    /// A user's events, newest first, at most `limit`, of those that happened in `from_ms..to_ms`
    /// (Unix milliseconds).
    ///
    /// A call looks at 10,000 events of the user at most: of a page that ends there `next` says
    /// where to go on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn history(
        &self,
        org: &str,
        username: &str,
        from_ms: Option<u64>,
        to_ms: Option<u64>,
        limit: usize,
        cursor: Option<Cursor>,
    ) -> Result<HistoryPage, ReadError> {
        let Some(org) = self.shared.read().orgs.find(org) else {
            return Ok(HistoryPage::default());
        };
        let key = KeyRef {
            org,
            name: username,
        };
        let mut walk = Walk {
            key,
            range: from_ms.unwrap_or(0)..to_ms.unwrap_or(u64::MAX),
            limit: limit.max(1),
            looked_at: 0,
            at: cursor.map(|cursor| cursor.0),
            events: Vec::new(),
        };
        if walk.at.is_none() {
            walk.at = self.known_user(key)?.and_then(|user| user.last);
        }
        self.walk_memory(&mut walk);
        self.walk_file(&mut walk)?;
        Ok(HistoryPage {
            events: walk.events,
            next: walk.at.map(Cursor),
        })
    }

    fn walk_memory(&self, walk: &mut Walk<'_>) {
        let memory = self.shared.read();
        while let Some(link) = walk.next().and_then(|position| memory.tail.get(position)) {
            walk.visit(link);
        }
    }

    fn walk_file(&self, walk: &mut Walk<'_>) -> rusqlite::Result<()> {
        if walk.next().is_none() {
            return Ok(());
        }
        // One snapshot: the list of tables and the tables belong together.
        let snapshot = self.connection.unchecked_transaction()?;
        let tables = history::tables(&snapshot)?;
        let orgs = self.orgs();
        while let Some(position) = walk.next() {
            let link = history::find(&snapshot, &tables, position, &orgs)?;
            match link {
                Some(link) => walk.visit(&link),
                None => walk.at = None,
            }
        }
        Ok(())
    }

    /// What is known of a user; `None` if there was never an event.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn user(&self, org: &str, username: &str) -> Result<Option<UserFacts>, ReadError> {
        let Some(org) = self.shared.read().orgs.find(org) else {
            return Ok(None);
        };
        let user = self.known_user(KeyRef {
            org,
            name: username,
        })?;
        Ok(user.map(|user| UserFacts {
            seq: user.seq,
            last_seen_ms: user.last_seen_ms,
            push_suspended: user.push_suspended,
            online_sessions: user.online_sessions(),
        }))
    }

    /// A user, from memory or from the disk.
    fn known_user(&self, key: KeyRef<'_>) -> rusqlite::Result<Option<User>> {
        if let Some(user) = self.shared.read().users.get(key) {
            return Ok(Some(user.clone()));
        }
        people::find(&self.connection, key)
    }

    /// The events of `org` from `position` on, at most `max`, for a dispatcher that fell behind.
    ///
    /// A call looks at 10,000 positions at most, so a page can be empty before the end; the end is
    /// reached when `next` is [`crate::Views::position`]. Events that were pruned are passed over.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn events_from(
        &self,
        org: &str,
        position: Position,
        max: usize,
    ) -> Result<EventsPage, ReadError> {
        let mut page = EventsPage {
            events: Vec::new(),
            next: position,
        };
        let max = max.max(1);
        {
            let memory = self.shared.read();
            let number = memory.orgs.find(org);
            if let Some(links) = memory.tail.starting_at(position) {
                for link in links.iter().take(SCAN_MAX) {
                    if !page.take(link, number, max) {
                        break;
                    }
                }
                return Ok(page);
            }
        }
        self.events_from_file(org, max, &mut page)?;
        Ok(page)
    }

    /// The organisations as of now. Taken after the snapshot, so that every one in it has a name;
    /// a copy, so that the writer is not held up.
    fn orgs(&self) -> Arc<Orgs> {
        Arc::clone(&self.shared.read().orgs)
    }

    fn events_from_file(
        &self,
        org: &str,
        max: usize,
        page: &mut EventsPage,
    ) -> rusqlite::Result<()> {
        let snapshot = self.connection.unchecked_transaction()?;
        let tables = history::tables(&snapshot)?;
        let end = progress::read(&snapshot)?.position;
        let oldest = tables.first().map_or(end, |table| table.first);
        page.next = page.next.max(oldest);
        let range = page.next.0..end.0.min(page.next.0 + SCAN_MAX as u64);
        let orgs = self.orgs();
        let number = orgs.find(org);
        let mut full = false;
        history::scan(&snapshot, &tables, range.clone(), &orgs, |link| {
            full = !page.take(&link, number, max);
            Ok(!full)
        })?;
        if !full {
            page.next = Position(range.end);
        }
        Ok(())
    }
}

impl EventsPage {
    /// Looks at the next event. False if the page is full and the event not looked at.
    fn take(&mut self, link: &Link, org: Option<u32>, max: usize) -> bool {
        if Some(link.org) == org {
            if self.events.len() == max {
                return false;
            }
            self.events.push(Arc::clone(&link.event));
        }
        self.next = Position(link.event.position.0 + 1);
        true
    }
}

/// On the way along a user's chain.
struct Walk<'a> {
    key: KeyRef<'a>,
    range: std::ops::Range<u64>,
    limit: usize,
    looked_at: usize,
    at: Option<Position>,
    events: Vec<Arc<Event>>,
}

impl Walk<'_> {
    /// Which event to look at next; `None` if the page or the chain is at its end.
    fn next(&self) -> Option<Position> {
        let full = self.events.len() >= self.limit || self.looked_at >= SCAN_MAX;
        self.at.filter(|_| !full)
    }

    fn visit(&mut self, link: &Link) {
        let event = &link.event;
        self.looked_at += 1;
        let foreign = link.org != self.key.org || event.username != self.key.name;
        let too_old = event.at_ms.saturating_add(CLOCK_STEP_MS) < self.range.start;
        if foreign || too_old {
            self.at = None;
            return;
        }
        if self.range.contains(&event.at_ms) {
            self.events.push(Arc::clone(event));
        }
        self.at = link.previous;
    }
}
