//! Who receives a message: the sessions with a subscription that matches its topic.

use std::num::NonZeroU32;

use topics::{TopicFilter, TopicName};

use super::shares::ShareRef;
use super::{Org, State};
use crate::id::{Address, SessionRef};

/// A subscription that a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Where its session's connection is.
    pub address: Address,
    /// Which session it must still be when the message gets there.
    pub session: SessionRef,
    /// The options of the subscription.
    pub options: u8,
    /// Its Subscription Identifier, if it has one (MQTT 5 §3.8.2.1.2).
    pub identifier: Option<NonZeroU32>,
    /// Of a shared subscription: the group for which this member was chosen.
    pub share: Option<ShareRef>,
    /// Whether its session is stored: then it only has its turn here, and is sent the message from
    /// elsewhere. Never without `share`.
    pub is_stored: bool,
}

impl Org {
    /// Appends one [`Recipient`] for each ordinary subscription that matches, and behind them one
    /// for each share group and filter that match: the member whose turn it is (MQTT 5 §4.8.2), none
    /// if all are known to be gone.
    ///
    /// The ordinary ones of one session stand together: the caller decides what it makes of
    /// subscriptions that overlap (§3.3.4). Ordinary ones of sessions that are stored are left out.
    pub fn recipients(&self, topic: TopicName<'_>, recipients: &mut Vec<Recipient>) {
        let mut state = self.lock();
        let (mut lists, start) = (0, recipients.len());
        state.filters.matching(topic, |first| {
            lists += 1;
            let mut next = first;
            while let Some(subscription) = state.subscriptions.get(next) {
                if !subscription.options.is_stored() {
                    recipients.push(state.recipient(next, None));
                }
                next = subscription.next_in_list;
            }
        });
        // A session stands at most once in each list.
        if lists > 1 {
            recipients[start..].sort_unstable_by_key(Recipient::place);
        }
        if state.shares.filter_count() > 0 {
            state.take_turns(topic, recipients);
        }
    }

    /// Names the group of a shared subscription (`$share/{group}/{filter}`), whether or not anybody of
    /// it is connected; `None` for an ordinary filter.
    #[must_use]
    pub fn share_of(&self, filter: TopicFilter<'_>) -> Option<ShareRef> {
        filter.share_group()?;
        Some(self.lock().shares.share_of(filter))
    }

    /// Another member of a share group, for a message whose first choice, `gone`, had lost its
    /// connection; that one has no turn any more. `None` if nobody is left: asked again and again,
    /// with each answer as the next one that is gone, it comes to that.
    #[must_use]
    pub fn next_member(&self, share: ShareRef, gone: SessionRef) -> Option<Recipient> {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(slot) = state.slot_of(gone) {
            state.pass_over(slot);
        }
        let member = state.shares.take_turn(share, &state.subscriptions)?;
        Some(state.recipient(member, Some(share)))
    }
}

impl Recipient {
    /// By connection, and among the subscriptions of one session always in the same order.
    fn place(&self) -> (Address, u64, u8, Option<NonZeroU32>) {
        let serial = self.session.serial;
        (self.address, serial, self.options, self.identifier)
    }
}

impl State {
    fn take_turns(&mut self, topic: TopicName<'_>, recipients: &mut Vec<Recipient>) {
        let mut chosen = Vec::new();
        let subscriptions = &self.subscriptions;
        self.shares
            .take_turns(topic, subscriptions, |member, share| {
                chosen.push((member, share))
            });
        let members = chosen.into_iter();
        recipients.extend(members.map(|(member, share)| self.recipient(member, Some(share))));
    }

    fn recipient(&self, slot: u32, share: Option<ShareRef>) -> Recipient {
        let subscription = &self.subscriptions[slot];
        let session = &self.sessions[subscription.session];
        Recipient {
            address: session.address(),
            session: SessionRef {
                slot: subscription.session,
                serial: session.serial,
            },
            options: subscription.options.bits(),
            identifier: self.details_of(subscription).1,
            share,
            is_stored: subscription.options.is_stored(),
        }
    }
}
