//! Who receives a message: the sessions with a subscription that matches its topic.

use topics::TopicName;

use super::Org;
use crate::id::{Address, SessionRef};

/// A session that a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Where its connection is.
    pub address: Address,
    /// Which session it must still be when the message gets there.
    pub session: SessionRef,
    /// The options of the subscription that matched.
    pub options: u8,
}

impl Org {
    /// Appends one [`Recipient`] for each subscription that matches, ordered by address. A session
    /// whose subscriptions overlap stands there once for each: the caller decides what it makes of
    /// them (MQTT 5 §3.3.4).
    pub fn recipients(&self, topic: TopicName<'_>, recipients: &mut Vec<Recipient>) {
        let state = self.lock();
        let start = recipients.len();
        state.filters.matching(topic, |first| {
            let mut next = first;
            while let Some(subscription) = state.subscriptions.get(next) {
                let session = &state.sessions[subscription.session];
                recipients.push(Recipient {
                    address: session.address(),
                    session: SessionRef {
                        slot: subscription.session,
                        serial: session.serial,
                    },
                    options: subscription.options.bits(),
                });
                next = subscription.next_of_filter;
            }
        });
        drop(state);
        recipients[start..].sort_unstable_by_key(|found| (found.address, found.options));
    }
}
