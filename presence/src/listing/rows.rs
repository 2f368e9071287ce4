//! One row of a listing: a session as a query sees it.

use std::net::SocketAddr;

use topics::TopicFilter;

use crate::id::{Protocol, SessionRef};
use crate::org::{NONE, Session, State, User};

/// A session, as it is at the moment of the visit.
pub struct SessionView<'a> {
    state: &'a State,
    row: &'a Session,
    /// Which session it is.
    pub session: SessionRef,
    /// Whose session it is.
    pub username: &'a str,
}

impl<'a> SessionView<'a> {
    /// MQTT client identifier.
    #[must_use]
    pub fn client_id(&self) -> &'a str {
        &self.row.client_id
    }

    /// The client's address, if known; IPv4 as IPv4 also where it came in through IPv6.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.row.peer()
    }

    /// When it connected, in Unix milliseconds.
    #[must_use]
    pub fn connected_at_ms(&self) -> u64 {
        self.row.connected_at_ms
    }

    /// The protocol it speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.row.protocol
    }

    /// Its topic filters, as the client wrote them, in order of subscription.
    pub fn for_each_topic(&self, mut each: impl FnMut(&str)) {
        let mut text = String::new();
        for (_, subscription) in self.state.subscriptions_of(self.row) {
            text.clear();
            self.state.write_filter(subscription, &mut text);
            each(&text);
        }
    }

    /// Whether one of its subscriptions has a topic name in common with `filter`.
    pub(super) fn overlaps(&self, filter: TopicFilter<'_>) -> bool {
        let mut text = String::new();
        self.state.subscriptions_of(self.row).any(|(_, found)| {
            text.clear();
            self.state.write_filter(found, &mut text);
            TopicFilter::parse(&text).is_ok_and(|own| own.overlaps(filter))
        })
    }
}

/// The user's sessions opened after the serial `after`, in order of opening.
///
/// `last` is the session with that serial, if known: while it is online, the walk begins there
/// instead of at the user's first session.
pub(super) fn of_user<'a>(
    state: &'a State,
    user: &'a User,
    after: Option<u64>,
    last: Option<SessionRef>,
) -> impl Iterator<Item = SessionView<'a>> {
    let resumed = last.filter(|last| Some(last.serial) == after);
    let mut next = match resumed.and_then(|last| state.slot_of(last)) {
        Some(slot) => state.sessions[slot].next_of_user,
        None => user.first_session,
    };
    std::iter::from_fn(move || {
        if next == NONE {
            return None;
        }
        let slot = next;
        let row = &state.sessions[slot];
        next = row.next_of_user;
        Some(SessionView {
            state,
            row,
            session: SessionRef {
                slot,
                serial: row.serial,
            },
            username: &user.name,
        })
    })
    .filter(move |view| after.is_none_or(|after| view.session.serial > after))
}
