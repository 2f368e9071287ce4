//! Who is subscribed to one filter. All is found by session, so joining, leaving and choosing a
//! member cost about the same for ten and for a hundred thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::atomic::{AtomicU64, Ordering};

use compact_str::CompactString;

use crate::id::StoredRef;
use crate::record::Subscription;

/// The subscriptions to a filter, by session.
#[derive(Debug, Default)]
pub(super) struct List {
    pub(super) ordinary: BTreeMap<StoredRef, Member>,
    /// Share groups (§4.8.2), by their filter as the client wrote it.
    pub(super) groups: BTreeMap<CompactString, Group>,
}

/// One session's subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) subscription: Subscription,
    /// The session's place among all.
    pub(super) seat: u32,
}

/// The members of a share group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeMap<StoredRef, Member>,
    /// Those whose client is there.
    pub(super) attached: BTreeSet<StoredRef>,
    /// Who had the last turn. It may have left.
    last: AtomicU64,
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.ordinary.is_empty() && self.groups.is_empty()
    }

    /// The members of a share group, made if there is none, or those that do not share.
    pub(super) fn members(&mut self, share: Option<&str>) -> &mut BTreeMap<StoredRef, Member> {
        match share {
            None => &mut self.ordinary,
            Some(share) => &mut self.groups.entry(share.into()).or_default().members,
        }
    }

    /// Answers whether there was one.
    pub(super) fn remove(&mut self, session: StoredRef, share: Option<&str>) -> bool {
        let Some(share) = share else {
            return self.ordinary.remove(&session).is_some();
        };
        let Some(group) = self.groups.get_mut(share) else {
            return false;
        };
        group.attached.remove(&session);
        let had = group.members.remove(&session).is_some();
        if group.members.is_empty() {
            self.groups.remove(share);
        }
        had
    }
}

impl Group {
    /// The member whose turn is next: in the order of sessions, among those that are attached, or
    /// among all if none is. Threads that ask at the same time get different ones.
    pub(super) fn choose(&self) -> Option<(StoredRef, &Member)> {
        let order = Ordering::Relaxed;
        let next = |last| self.after(StoredRef(last)).map(|session| session.0);
        let last = self.last.fetch_update(order, order, next).ok()?;
        let session = self.after(StoredRef(last))?;
        Some((session, self.members.get(&session)?))
    }

    fn after(&self, last: StoredRef) -> Option<StoredRef> {
        let behind = (Excluded(last), Unbounded);
        if self.attached.is_empty() {
            let members = &self.members;
            let next = members.range(behind).next();
            return next
                .or_else(|| members.first_key_value())
                .map(|(key, _)| *key);
        }
        let next = self.attached.range(behind).next();
        next.or_else(|| self.attached.first()).copied()
    }
}
