//! Wills (MQTT 5 §3.1.2.5): kept while their connection lasts, published when its session ends
//! other than by a DISCONNECT without will.
//!
//! A will is kept beside the connections, so that those without one pay nothing, and as bytes, since
//! it is rarely needed. It is not published where its session ends but a little later in the same
//! turn of the loop: publishing may end other sessions, which may have wills.

use std::sync::Arc;

use mqtt::{Message, Will};
use presence::{Org, SessionRef};

use super::routing::Origin;
use super::worker::Worker;

/// A will that is to be published.
pub(super) struct DueWill {
    org: Arc<Org>,
    session: SessionRef,
    stored: bytes::Bytes,
}

impl Worker {
    /// Keeps the will of a connection whose CONNECT is being decided.
    pub(super) fn keep_will(&mut self, key: usize, will: Option<&Will>) {
        // A message that came in one packet fits into one.
        if let Some(stored) = will.and_then(|will| will.message.encode_stored()) {
            self.wills.insert(key as u32, stored);
        }
    }

    /// The connection is over, or its client has taken its will back.
    pub(super) fn forget_will(&mut self, key: usize) {
        self.wills.remove(&(key as u32));
    }

    /// The session of a connection ends: its will, if it has one, is due. A will delay is cut short
    /// by the end of the session (§3.1.3.2.2), so there is none.
    pub(super) fn leave_will(&mut self, key: usize, org: &Arc<Org>, session: SessionRef) {
        if let Some(stored) = self.wills.remove(&(key as u32)) {
            self.due_wills.push(DueWill {
                org: Arc::clone(org),
                session,
                stored,
            });
        }
    }

    /// Publishes what is due, as if the clients had (MQTT-3.1.2-8). Answers whether there was any.
    pub(super) fn publish_wills(&mut self) -> bool {
        let due = std::mem::take(&mut self.due_wills);
        for will in &due {
            match Message::decode_stored(will.stored.clone()) {
                Ok(message) => {
                    let delay_secs = 0;
                    let will_message = Will {
                        message,
                        delay_secs,
                    };
                    self.house.shared.metrics.wills_published.inc();
                    let message = will_message.into_message(self.now_ms);
                    let origin = Origin {
                        session: Some(will.session),
                        ..Origin::default()
                    };
                    self.route(&will.org, origin, message);
                }
                Err(error) => tracing::error!(%error, "failed to read a will"),
            }
        }
        !due.is_empty()
    }
}
