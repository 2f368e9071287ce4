//! The queue in which requests wait for the keeper: limited for what makes something, open for what
//! ends something.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use messages::Request;

/// Limits of the queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Requests.
    pub requests_max: usize,
    /// Bytes of the messages and topic filters in them.
    pub bytes_max: usize,
}

/// Too many requests wait, or too large ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are waiting to be written down")]
pub struct Busy;

/// What a wait for requests came to.
pub(super) enum Waited {
    Some,
    TimedOut,
    /// The server stops, and nothing waits any more.
    Closed,
}

pub(super) struct Queue {
    state: Mutex<State>,
    some: Condvar,
    limits: QueueLimits,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    bytes: usize,
    is_closed: bool,
    /// The writer has something to say.
    is_rung: bool,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            state: Mutex::default(),
            some: Condvar::new(),
            limits,
        }
    }

    /// Gives the request back if there is no room for it, or the server stops.
    pub(super) fn push(&self, request: Request) -> Result<(), Box<Request>> {
        let bytes = bytes_of(&request);
        let mut state = self.lock();
        if is_limited(&request) {
            let has_room = state.requests.len() < self.limits.requests_max
                && (state.bytes == 0 || state.bytes + bytes <= self.limits.bytes_max);
            if !has_room || state.is_closed {
                return Err(Box::new(request));
            }
        }
        state.bytes += bytes;
        state.requests.push_back(request);
        let is_first = state.requests.len() == 1;
        drop(state);
        // The keeper takes all there is, so only the first request finds it asleep.
        if is_first {
            self.some.notify_one();
        }
        Ok(())
    }

    /// Nothing that makes something is taken any more; the keeper ends when the rest is done.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.some.notify_one();
    }

    /// Wakes the keeper though nobody asks.
    pub(super) fn ring(&self) {
        self.lock().is_rung = true;
        self.some.notify_one();
    }

    /// Moves all requests to the end of `into`, waiting for one if there is none.
    pub(super) fn take(&self, into: &mut VecDeque<Request>, timeout: Duration) -> Waited {
        let mut state = self.lock();
        let is_idle = state.requests.is_empty() && !state.is_closed && !state.is_rung;
        if is_idle && !timeout.is_zero() {
            let (woken, _) = self
                .some
                .wait_timeout(state, timeout)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
        }
        state.is_rung = false;
        if state.requests.is_empty() {
            return match state.is_closed {
                true => Waited::Closed,
                false => Waited::TimedOut,
            };
        }
        into.append(&mut state.requests);
        state.bytes = 0;
        Waited::Some
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the queue may be too full for it: not for what ends something, of which there can be no
/// more than there was made.
fn is_limited(request: &Request) -> bool {
    match request {
        Request::Detach(_) | Request::Acknowledged(..) | Request::Received(..) => false,
        Request::Publish(publish) => publish.will.is_none(),
        Request::Attach(_)
        | Request::Subscribe(_)
        | Request::Unsubscribe(_)
        | Request::Release(..)
        | Request::Reach(..) => true,
    }
}

fn bytes_of(request: &Request) -> usize {
    match request {
        Request::Publish(publish) => publish.message.body.len(),
        Request::Attach(attach) => attach
            .will
            .as_ref()
            .map_or(0, |will| will.message.body.len()),
        Request::Subscribe(subscribe) => {
            let filters = subscribe.wanted.iter();
            filters.map(|wanted| wanted.filter.len()).sum()
        }
        Request::Unsubscribe(unsubscribe) => {
            unsubscribe.filters.iter().map(|text| text.len()).sum()
        }
        _ => 0,
    }
}
