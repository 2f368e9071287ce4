//! The one place where sessions begin and end, whatever the reason.
//!
//! Everything that follows from somebody coming or going follows from here: the index changes, and
//! those who watch are told, in the order in which it happened. A takeover is the end of one session
//! and the beginning of another, in that order.

use std::sync::mpsc::SyncSender;

use presence::{EndReason, Ended, Opened, Opening, Org, SessionRef};

use crate::event_loop::MqttMetrics;

/// Somebody came or went.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// The organisation.
    pub org: Box<str>,
    /// The user, without the organisation's suffix.
    pub username: Box<str>,
    /// MQTT client identifier.
    pub client_id: Box<str>,
    /// Sessions the user has now.
    pub online_sessions: u32,
    /// What happened.
    pub what: What,
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It began.
    Came,
    /// It ended.
    Went(EndReason),
}

/// Opens and ends sessions.
pub struct Lifecycle {
    metrics: MqttMetrics,
    watcher: Option<SyncSender<Occurrence>>,
}

impl Lifecycle {
    /// `watcher` gets each occurrence, unless it is full: nobody waits for it.
    #[must_use]
    pub fn new(metrics: MqttMetrics, watcher: Option<SyncSender<Occurrence>>) -> Self {
        Self { metrics, watcher }
    }

    /// A session opens; the one it takes over, if any, has ended before.
    pub fn open(&self, org: &Org, opening: &Opening<'_>) -> Opened {
        let opened = org.open(opening);
        if let Some(ended) = &opened.taken_over {
            self.tell_ended(org, ended, EndReason::TakenOver);
        }
        self.metrics.sessions_opened.inc();
        self.tell(|| Occurrence {
            org: org.id().into(),
            username: opening.username.into(),
            client_id: opening.client_id.into(),
            online_sessions: opened.online_sessions,
            what: What::Came,
        });
        opened
    }

    /// A session ends, unless it has ended before.
    pub fn end(&self, org: &Org, session: SessionRef, reason: EndReason) {
        if let Some(ended) = org.end(session) {
            self.tell_ended(org, &ended, reason);
        }
    }

    fn tell_ended(&self, org: &Org, ended: &Ended, reason: EndReason) {
        self.metrics.end_session(reason);
        self.tell(|| Occurrence {
            org: org.id().into(),
            username: ended.username.as_str().into(),
            client_id: ended.client_id.as_str().into(),
            online_sessions: ended.online_sessions,
            what: What::Went(reason),
        });
    }

    fn tell(&self, occurrence: impl FnOnce() -> Occurrence) {
        if let Some(watcher) = &self.watcher {
            // A watcher that does not keep up misses some: it is for eyes, not for the record.
            let _ = watcher.try_send(occurrence());
        }
    }
}
