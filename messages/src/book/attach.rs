//! A connection takes up a stored session, or begins one (§3.1.2.4, §4.1).

use topics::TopicFilter;

use super::{BodySource, Book};
use crate::answer::{Answer, Attached, Refused};
use crate::id::{Attachment, StoredRef};
use crate::record::{Began, Record};
use crate::request::{Attach, Permit};

/// What a connection gets.
struct Taken {
    session: StoredRef,
    /// Whether it was there before.
    is_present: bool,
    /// How many of its subscriptions its client may not have any more.
    withdrawn: usize,
}

impl Book {
    pub(super) fn attach(&mut self, attach: Attach, now_ms: u64, bodies: &mut dyn BodySource) {
        let carrier = attach.carrier;
        let answer = match self.take_up(attach, now_ms) {
            Err(why) => Answer::Refused(why),
            Ok(None) => Answer::Attached(Box::new(Attached {
                session_present: false,
                attachment: None,
                subscriptions: Vec::new(),
                received: Vec::new(),
                withdrawn: 0,
                window: Vec::new(),
            })),
            Ok(Some(taken)) => {
                self.state.carry(taken.session, Some(carrier));
                self.answer_attached(&taken, now_ms, bodies)
            }
        };
        match answer {
            Answer::Refused(_) => self.prompt.push((Some(carrier), answer)),
            _ => self.letters.push((Some(carrier), answer)),
        }
        // A will of the connection or the session before.
        self.tick(now_ms);
    }

    /// Decides which session it gets; `None` if nothing is to be stored.
    fn take_up(&mut self, attach: Attach, now_ms: u64) -> Result<Option<Taken>, Refused> {
        if self.is_failing {
            return Err(Refused::Unavailable);
        }
        let kept = self.state.directory.org(&attach.org);
        if let Some(session) = kept.session_of(&attach.client_id) {
            let found = &self.state.sessions[&session];
            let serial = attach.carrier.session.serial;
            // Requests of several event loops can overtake each other; `presence` knows the order.
            if found
                .carrier
                .is_some_and(|other| other.session.serial > serial)
            {
                return Err(Refused::TakenOver);
            }
            // What another user's messages say is nobody else's business; and a session without an
            // expiry ends with the connection that is taken over (§3.1.2.11.2).
            let is_kept = found.username == attach.username && found.expiry_secs != 0;
            if is_kept && !attach.clean_start {
                let withdrawn = self.attach_again(session, attach, now_ms);
                return Ok(Some(Taken {
                    session,
                    is_present: true,
                    withdrawn,
                }));
            }
            self.write_urgent(Record::Ended { session });
        }
        if attach.expiry_secs == 0 {
            return Ok(None);
        }
        if kept.session_count() >= self.limits.sessions_max {
            return Err(Refused::TooMany);
        }
        let session = StoredRef(self.state.next_session);
        self.write_urgent(Record::Began(Began {
            session,
            org: attach.org,
            client_id: attach.client_id,
            username: attach.username,
            at_ms: now_ms,
            expiry_secs: attach.expiry_secs,
            will: attach.will,
        }));
        Ok(Some(Taken {
            session,
            is_present: false,
            withdrawn: 0,
        }))
    }

    /// Answers how many subscriptions were withdrawn.
    fn attach_again(&mut self, session: StoredRef, attach: Attach, now_ms: u64) -> usize {
        let found = &self.state.sessions[&session];
        if found.is_attached {
            // What the connection before was sent counts as sent; its will is decided with the
            // attachment of the new one.
            let expiry_secs = found.expiry_secs;
            self.leave(session, now_ms, expiry_secs, true);
        }
        let permit = attach.permit.as_deref();
        let withdrawn = permit.map_or(0, |permit| self.withdraw(session, permit));
        self.write_urgent(Record::Attached {
            session,
            at_ms: now_ms,
            expiry_secs: attach.expiry_secs,
            will: attach.will,
        });
        withdrawn
    }

    /// Ends the subscriptions that the client may not have any more: nothing that comes of them is
    /// its business now. What they have brought into its queue is looked at when it is sent.
    fn withdraw(&mut self, session: StoredRef, permit: &dyn Permit) -> usize {
        let filters = self.state.sessions[&session].subscriptions.keys();
        let is_allowed = |text: &str| TopicFilter::parse(text).is_ok_and(|it| permit.allows(it));
        let withdrawn: Vec<_> = filters.filter(|text| !is_allowed(text)).cloned().collect();
        let count = withdrawn.len();
        for filter in withdrawn {
            self.write_urgent(Record::Unsubscribed { session, filter });
        }
        self.tally.withdrawn += count as u64;
        count
    }

    fn answer_attached(
        &mut self,
        taken: &Taken,
        now_ms: u64,
        bodies: &mut dyn BodySource,
    ) -> Answer {
        let session = taken.session;
        let found = &self.state.sessions[&session];
        let (number, expiry_secs) = (found.attachments, found.expiry_secs);
        let attachment = Attachment { session, number };
        let subscriptions = found.subscriptions.iter();
        let attached = Attached {
            session_present: taken.is_present,
            attachment: Some(attachment),
            subscriptions: subscriptions
                .map(|(filter, subscription)| (filter.clone(), *subscription))
                .collect(),
            received: found.received.iter().copied().collect(),
            withdrawn: taken.withdrawn,
            window: Vec::new(),
        };
        match self.window(session, now_ms, bodies) {
            Ok(window) => Answer::Attached(Box::new(Attached { window, ..attached })),
            Err(error) => {
                tracing::error!(%error, "cannot read the messages of a stored session");
                self.leave(session, now_ms, expiry_secs, false);
                Answer::Refused(Refused::Unavailable)
            }
        }
    }
}
