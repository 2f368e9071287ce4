//! Which changes of retained messages are under way.
//!
//! A message that is to be retained goes to those who are subscribed at once, and to the keeper, who
//! shows it to later ones in its turn. Who subscribes in between must hear of it all the same: such a
//! subscription is answered when the keeper has come to what was asked before it.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{RwLock, RwLockReadGuard};

/// The changes of one organisation.
#[derive(Debug, Default)]
pub(super) struct Changing {
    /// Changes that have begun and that the keeper has not decided.
    count: AtomicUsize,
    /// Held by those which have begun and of which the keeper has not been told.
    gate: RwLock<()>,
}

/// A change that has begun. To be held until the keeper has been told of it.
#[derive(Debug)]
#[must_use]
pub struct Change<'a> {
    changing: &'a Changing,
    _gate: RwLockReadGuard<'a, ()>,
}

impl Changing {
    pub(super) fn begin(&self) -> Change<'_> {
        self.add();
        Change {
            changing: self,
            // Fair: who waits at the gate waits for those who are inside, not for those who come.
            _gate: self.gate.read(),
        }
    }

    /// The keeper has been told of one.
    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// The keeper has decided one.
    pub(super) fn remove(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether any are under way; of all that had begun, the keeper has been told when this returns.
    pub(super) fn is_any(&self) -> bool {
        let is_any = self.count.load(Ordering::SeqCst) > 0;
        if is_any {
            drop(self.gate.write());
        }
        is_any
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.changing.remove();
    }
}
