//! What may be asked of the sequencer, and the queue in which it waits.
//!
//! Openings are limited: at the limit a CONNECT is refused as "server busy". Endings are not: there
//! can be no more of them than sessions, and none may be lost.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compact_str::CompactString;
use presence::{Address, EndReason, Opening, Org, SessionRef};
use tokio::sync::oneshot;

use crate::accounts::MultiDevice;

/// A session to be opened, and whom to tell.
#[derive(Clone)]
pub struct OpenRequest {
    /// The organisation that the login belongs to.
    pub org: Arc<Org>,
    /// What it lets a user have at the same time.
    pub multi_device: MultiDevice,
    /// The user, without the organisation's suffix.
    pub username: CompactString,
    /// MQTT client identifier, never empty.
    pub client_id: CompactString,
    /// The rest of the opening. Names and times are filled in from here.
    pub client: Client,
    /// Tells the connection from another that gets its place in the event loop.
    pub ticket: u32,
}

/// What is known of the client before its session has a name.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The protocol it speaks.
    pub protocol: presence::Protocol,
    /// Its address, if known.
    pub peer: Option<std::net::SocketAddr>,
    /// The system it runs on, if known.
    pub os: Option<presence::Os>,
    /// Where its connection is.
    pub address: Address,
}

impl OpenRequest {
    pub(super) fn opening(&self, id: presence::SessionId, connected_at_ms: u64) -> Opening<'_> {
        Opening {
            id,
            username: &self.username,
            client_id: &self.client_id,
            protocol: self.client.protocol,
            peer: self.client.peer,
            os: self.client.os,
            connected_at_ms,
            address: self.client.address,
        }
    }
}

/// A session to be ended.
pub(super) struct EndRequest {
    pub(super) org: Arc<Org>,
    pub(super) session: SessionRef,
    pub(super) reason: EndReason,
}

/// All sessions of a user to be ended.
pub(super) struct EndUserRequest {
    pub(super) org: Arc<Org>,
    pub(super) username: CompactString,
    pub(super) reason: EndReason,
    /// How many have been ended so far.
    pub(super) ended: usize,
    /// Told when they have all ended, durably.
    pub(super) reply: Option<oneshot::Sender<usize>>,
}

pub(super) enum Request {
    Open(OpenRequest),
    End(EndRequest),
    EndUser(EndUserRequest),
}

/// Too many openings wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many sessions are waiting to be opened")]
pub struct Busy;

/// The way to ask for sessions to be opened and ended. Cheap to clone.
#[derive(Clone)]
pub struct Lifecycle {
    queue: Arc<Queue>,
}

pub(super) struct Queue {
    state: Mutex<State>,
    some: Condvar,
    opens_max: usize,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    opens: usize,
    is_closed: bool,
}

/// What a wait for requests came to.
pub(super) enum Waited {
    Some,
    TimedOut,
    /// The server stops, and nothing waits any more.
    Closed,
}

impl Lifecycle {
    /// A queue for at most `opens_max` openings.
    #[must_use]
    pub fn new(opens_max: usize) -> Self {
        Self {
            queue: Arc::new(Queue {
                state: Mutex::default(),
                some: Condvar::new(),
                opens_max,
            }),
        }
    }

    /// Asks for a session to be opened. The answer comes as a letter to the event loop.
    ///
    /// # Errors
    /// If too many wait already, or the server stops.
    pub fn open(&self, request: OpenRequest) -> Result<(), Busy> {
        let mut state = self.queue.lock();
        if state.opens >= self.queue.opens_max || state.is_closed {
            return Err(Busy);
        }
        state.opens += 1;
        self.queue.push(state, Request::Open(request));
        Ok(())
    }

    /// Asks for a session to be ended. Of several reasons the first one counts.
    pub fn end(&self, org: &Arc<Org>, session: SessionRef, reason: EndReason) {
        let org = Arc::clone(org);
        let request = EndRequest {
            org,
            session,
            reason,
        };
        self.queue.push(self.queue.lock(), Request::End(request));
    }

    /// Ends all sessions that a user has now. Answers how many, once that is durable; `None` if the
    /// server stopped before.
    pub async fn end_user(
        &self,
        org: &Arc<Org>,
        username: &str,
        reason: EndReason,
    ) -> Option<usize> {
        let (reply, answer) = oneshot::channel();
        let request = EndUserRequest {
            org: Arc::clone(org),
            username: username.into(),
            reason,
            ended: 0,
            reply: Some(reply),
        };
        self.queue
            .push(self.queue.lock(), Request::EndUser(request));
        answer.await.ok()
    }

    pub(super) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut state: MutexGuard<'_, State>, request: Request) {
        state.requests.push_back(request);
        let is_first = state.requests.len() == 1;
        drop(state);
        // The sequencer takes all there is, so only the first request finds it asleep.
        if is_first {
            self.some.notify_one();
        }
    }

    /// No opening is taken any more; the sequencer ends when the rest is done.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.some.notify_one();
    }

    /// Moves all requests to the end of `into`, waiting for one if there is none.
    pub(super) fn take(&self, into: &mut VecDeque<Request>, timeout: Duration) -> Waited {
        let mut state = self.lock();
        if state.requests.is_empty() && !state.is_closed {
            let (woken, _) = self
                .some
                .wait_timeout(state, timeout)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
        }
        if state.requests.is_empty() {
            return match state.is_closed {
                true => Waited::Closed,
                false => Waited::TimedOut,
            };
        }
        into.append(&mut state.requests);
        state.opens = 0;
        Waited::Some
    }
}
