//! What was folded and is not on the disk yet, shared between the writer and the readers.
//!
//! One lock guards it. The writer holds it exclusively for one fact at a time, and shared while it
//! writes to the disk; so a reader never waits for a disk, except for a fold that looks up a user.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use compact_str::CompactString;
use journal::Position;

use crate::Event;
use crate::users::Users;

/// The state in memory, behind its lock.
#[derive(Debug)]
pub(crate) struct Shared(RwLock<Memory>);

/// The state in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The numbers of organisations; readers keep a copy while they look at the file.
    pub(crate) orgs: Arc<Orgs>,
    /// The users.
    pub(crate) users: Users,
    /// The events that are not flushed.
    pub(crate) tail: Tail,
}

/// An event that is not flushed, or a row of history.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// What happened.
    pub(crate) event: Arc<Event>,
    /// The number of its organisation.
    pub(crate) org: u32,
    /// Where the same user's event before it is.
    pub(crate) previous: Option<Position>,
}

/// The events that are not flushed, without gaps.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    from: Position,
    links: Vec<Link>,
}

/// Organisations, numbered from 0 in the order of their first event. Never forgotten: there are as
/// many as the configuration had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orgs {
    names: Vec<CompactString>,
    numbers: HashMap<CompactString, u32>,
}

impl Shared {
    /// Puts the lock around it.
    pub(crate) fn new(memory: Memory) -> Self {
        Self(RwLock::new(memory))
    }

    /// For reading. A thread that panicked cannot have left it half changed in a way that a
    /// reader could notice: a poisoned lock is taken all the same.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For changing.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// No events; the next one is at `from`.
    pub(crate) fn new(from: Position) -> Self {
        Self {
            from,
            links: Vec::new(),
        }
    }

    /// The first position that is not flushed.
    pub(crate) fn from(&self) -> Position {
        self.from
    }

    /// The position after the last.
    pub(crate) fn end(&self) -> Position {
        Position(self.from.0 + self.links.len() as u64)
    }

    /// All of them.
    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// Appends the event at [`Self::end`].
    pub(crate) fn push(&mut self, link: Link) {
        debug_assert_eq!(link.event.position, self.end());
        self.links.push(link);
    }

    /// The event at a position, if it is not flushed.
    pub(crate) fn get(&self, position: Position) -> Option<&Link> {
        let index = position.0.checked_sub(self.from.0)?;
        self.links.get(usize::try_from(index).ok()?)
    }

    /// The events from a position on; none if it lies before the tail.
    pub(crate) fn starting_at(&self, position: Position) -> Option<&[Link]> {
        let index = position.0.checked_sub(self.from.0)?;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        Some(self.links.get(index..).unwrap_or_default())
    }

    /// All of them are on the disk now.
    pub(crate) fn flushed(&mut self) {
        *self = Self {
            from: self.end(),
            links: std::mem::take(&mut self.links),
        };
        self.links.clear();
    }
}

impl Orgs {
    /// The number of an organisation that has had an event.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The number of an organisation, which may be new.
    pub(crate) fn number(orgs: &mut Arc<Self>, name: &CompactString) -> u32 {
        let known = orgs.find(name);
        known.unwrap_or_else(|| Arc::make_mut(orgs).add(name))
    }

    /// Numbers a new organisation.
    pub(crate) fn add(&mut self, name: &CompactString) -> u32 {
        let number = self.len();
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        number
    }

    /// The name that belongs to a number.
    pub(crate) fn name(&self, number: u32) -> Option<&CompactString> {
        self.names.get(number as usize)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }
}
