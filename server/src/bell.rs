//! A bell that one thread rings and another waits for. Rung twice before anybody looks, it has rung.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub struct Bell {
    has_rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    /// Rings. Never waits for anything but other ringers.
    pub fn ring(&self) {
        let mut has_rung = self.has_rung.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *has_rung, true) {
            self.rings.notify_one();
        }
    }

    /// Waits until it rings, or has rung since the last wait, but at most for `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let has_rung = self.has_rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut has_rung, _) = self
            .rings
            .wait_timeout_while(has_rung, timeout, |has_rung| !*has_rung)
            .unwrap_or_else(PoisonError::into_inner);
        *has_rung = false;
    }
}
