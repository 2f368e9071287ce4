//! Share groups with members whose sessions are stored (MQTT 5 §4.8.2).
//!
//! `presence` gives the turn to one of all members that are connected, of whichever kind. If its
//! session is stored, the message goes into its queue; if that session has lost its connection
//! meanwhile, it is the next one's turn. Members that are away get what no connected one has got.

use std::num::NonZeroU32;
use std::sync::Arc;

use messages::{Kept, Retain, StoredRecipient, Subscription};
use mqtt::{Message, PublishOutcome};
use presence::{Org, Recipient};
use topics::TopicFilter;

use super::keeping::target;
use super::routing::{Origin, Routes, TRIES_MAX};
use super::worker::Worker;

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
    let Some(Ok(filter)) = found.share.as_deref().map(TopicFilter::parse) else {
        return false;
    };
    !routes.served.is_empty()
        && org
            .share_of(filter)
            .is_some_and(|share| routes.served.contains(&share))
}

impl Worker {
    /// Gives a message to the stored session of a member that was chosen because the one before it
    /// had gone. Answers whether that session still has its connection.
    pub(super) fn pass_to_stored(
        &mut self,
        org: &Arc<Org>,
        message: &Arc<Message>,
        member: &Recipient,
    ) -> bool {
        let Some(found) = stored_recipient(self.kept_of(org), member) else {
            return false;
        };
        let mut routes = Routes::default();
        let origin = Origin::default();
        if let Some(to) = target(&[found], &origin, message, &mut routes) {
            let publish = self.publish_of(org, &origin, message, Retain::No, vec![to]);
            let outcome = PublishOutcome::Routed;
            if self.keep(publish, &origin, outcome) != Some(outcome) {
                self.house.shared.metrics.drop_messages("keeper_busy", 1);
            }
        }
        for (worker, deliveries) in routes.groups() {
            self.send_or_drop(worker, message, org, deliveries);
        }
        true
    }
}
