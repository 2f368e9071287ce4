//! Share groups whose members have gone, or have sessions that are stored (MQTT 5 §4.8.2).
//!
//! `presence` gives the turn to one of all members that are connected, of whichever kind. If its
//! session is stored, the message goes into its queue; if it has lost its connection meanwhile, it
//! is the next one's turn. Members that are away get what no connected one has got.

use std::num::NonZeroU32;
use std::sync::Arc;

use messages::{Kept, Retain, StoredRecipient, Subscription};
use mqtt::{Message, PublishOutcome};
use presence::{Org, Recipient, SessionRef, ShareRef};
use topics::{TopicFilter, TopicName};

use super::keeping::target;
use super::routing::{Origin, Routes, delivery};
use super::worker::Worker;

/// Members that are tried for one message. Whoever was found gone is passed over from then on, so
/// more than a few are needed only for the first message after many have gone in the same moment.
pub(super) const TRIES_MAX: u16 = 1_000;

/// Decides which stored sessions get a message by their share groups: in `found` are those that
/// `kept` has chosen, one of each group that has stored members, attached or away. The list is
/// left in the order of sessions.
pub(super) fn share_out(
    org: &Org,
    kept: &Kept,
    message: &Message,
    routes: &mut Routes,
    found: &mut Vec<StoredRecipient>,
) {
    let mut chosen = Vec::new();
    for member in std::mem::take(&mut routes.stored_members) {
        chosen.extend(member_or_next(org, kept, message, member, routes));
    }
    found.retain(|one| !is_served(org, routes, one));
    found.append(&mut chosen);
    found.sort_by_key(|one| one.session);
}

/// The stored session of the member whose turn it is. If that has lost its connection, another
/// member is asked; one whose session is not stored is added to `routes`.
fn member_or_next(
    org: &Org,
    kept: &Kept,
    message: &Message,
    mut member: Recipient,
    routes: &mut Routes,
) -> Option<StoredRecipient> {
    let share = member.share?;
    for tries_left in (0..TRIES_MAX).rev() {
        if !member.is_stored {
            routes.add_member(&member, message, tries_left);
            return None;
        }
        if let Some(found) = stored_recipient(kept, &member) {
            routes.served.push(share);
            return Some(found);
        }
        member = org.next_member(share, member.session)?;
    }
    None
}

fn stored_recipient(kept: &Kept, member: &Recipient) -> Option<StoredRecipient> {
    let (session, carrier) = kept.carried_by(member.session)?;
    Some(StoredRecipient {
        session,
        subscription: Subscription {
            options: member.options,
            id: member.identifier.map(NonZeroU32::get),
        },
        share: None,
        carrier: Some(carrier),
    })
}

/// Whether the group that a stored session was chosen from has given the message to a connected
/// member already.
fn is_served(org: &Org, routes: &Routes, found: &StoredRecipient) -> bool {
    !routes.served.is_empty()
        && share_of(org, found).is_some_and(|share| routes.served.contains(&share))
}

/// The share group that a stored session was chosen from, if any.
fn share_of(org: &Org, found: &StoredRecipient) -> Option<ShareRef> {
    let filter = TopicFilter::parse(found.share.as_deref()?).ok()?;
    org.share_of(filter)
}

impl Worker {
    /// Gives a message to another member of a share group, since the one chosen, a session that had
    /// `gone` with so many tries left, has lost its connection: to one who is connected, else to one
    /// who is away and whose session is stored. If there is none, it is dropped and counted.
    pub(super) fn pass_on(
        &mut self,
        gone: (SessionRef, u16),
        share: ShareRef,
        message: &Arc<Message>,
        org: &Arc<Org>,
    ) {
        let (mut gone, tries) = gone;
        for tries_left in (0..tries).rev() {
            let Some(member) = org.next_member(share, gone) else {
                break;
            };
            if self.is_taken(&member, tries_left, message, org) {
                return;
            }
            gone = member.session;
        }
        if !self.leave_to_stored(org, message, share) {
            let metrics = &self.house.shared.metrics;
            metrics.drop_messages("share_gone", 1);
        }
    }

    /// Whether a member takes a message, or the loop that it belongs to sees to it.
    fn is_taken(
        &mut self,
        member: &Recipient,
        tries_left: u16,
        message: &Arc<Message>,
        org: &Arc<Org>,
    ) -> bool {
        if member.is_stored {
            let found = stored_recipient(self.kept_of(org), member);
            return found.is_some_and(|found| self.give_to_stored(org, message, found));
        }
        let Some(mut next) = delivery(&[*member], None, message) else {
            return false;
        };
        next.tries_left = tries_left;
        let worker = member.address.worker;
        if worker != self.index {
            self.send_or_drop(worker, message, org, &[next]);
            return true;
        }
        self.deliver(&next, message)
    }

    /// Leaves a message to a stored session of a share group of which nobody is connected any more. Answers
    /// whether there is one that it can wait for.
    fn leave_to_stored(&mut self, org: &Arc<Org>, message: &Arc<Message>, share: ShareRef) -> bool {
        let mut found = Vec::new();
        if let Ok(topic) = TopicName::parse(message.topic()) {
            self.kept_of(org).recipients(topic, &mut found);
        }
        let mut members = found.into_iter();
        let member = members.find(|one| share_of(org, one) == Some(share));
        member.is_some_and(|member| self.give_to_stored(org, message, member))
    }

    /// Gives a message to a stored session, by the keeper or (QoS 0) its connection. Answers whether
    /// it could.
    fn give_to_stored(
        &mut self,
        org: &Arc<Org>,
        message: &Arc<Message>,
        member: StoredRecipient,
    ) -> bool {
        let mut routes = Routes::default();
        let origin = Origin::default();
        let to = target(&[member], &origin, message, &mut routes);
        let mut is_given = to.is_some();
        if let Some(to) = to {
            let publish = self.publish_of(org, &origin, message, Retain::No, vec![to]);
            let outcome = PublishOutcome::Routed;
            if self.keep(publish, &origin, outcome) != Some(outcome) {
                self.house.shared.metrics.drop_messages("keeper_busy", 1);
            }
        }
        for (worker, deliveries) in routes.groups(self.index) {
            is_given = true;
            self.send_or_drop(worker, message, org, deliveries);
        }
        is_given
    }
}
