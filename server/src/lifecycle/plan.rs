//! What a batch of requests comes to, given who is online: facts for the journal and, once those are
//! durable, changes of who is online. No I/O.
//!
//! A plan is made against the index, which changes only after the plan is durable. So a request that
//! depends on one planned before it (the same client identifier opens twice, or a user who may have
//! one device opens two sessions) does not fit into the same plan: it begins the next one.

use std::collections::HashSet;
use std::sync::Arc;

use compact_str::CompactString;
use journal::Fact;
use presence::{EndReason, Org, SessionFacts, SessionId, SessionRef};

use super::requests::{EndRequest, EndUserRequest, OpenRequest, Request};
use crate::accounts::MultiDevice;

/// Most facts of one commit: some 100 KiB, written and synced well within a millisecond or two.
pub(super) const FACTS_MAX: usize = 1024;

/// Who is told when a plan has become durable, and what changes then.
pub(super) enum Change {
    Open {
        request: OpenRequest,
        id: SessionId,
        at_ms: u64,
    },
    End {
        org: Arc<Org>,
        facts: SessionFacts,
        reason: EndReason,
        at_ms: u64,
        /// The connection does not know yet.
        is_news_to_the_client: bool,
    },
    Reply(EndUserRequest),
}

/// Requests that become durable together.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    facts: usize,
    ended: HashSet<(usize, SessionRef)>,
    clients: HashSet<(usize, CompactString)>,
    users: HashSet<(usize, CompactString)>,
}

/// Makes the names of new sessions and knows the time, so that a plan can be made without either.
pub(super) trait World {
    fn now_ms(&mut self) -> u64;
    fn session_id(&mut self, now_ms: u64) -> SessionId;
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Plans a request, or gives it back: it belongs into the next plan.
    pub(super) fn add(&mut self, request: Request, world: &mut impl World) -> Result<(), Request> {
        if self.facts >= FACTS_MAX {
            return Err(request);
        }
        match request {
            Request::Open(open) => self.open(open, world).map_err(Request::Open),
            Request::End(end) => {
                self.end(&end, world);
                Ok(())
            }
            Request::EndUser(end) => self.end_user(end, world).map_err(Request::EndUser),
        }
    }

    fn open(&mut self, request: OpenRequest, world: &mut impl World) -> Result<(), OpenRequest> {
        let org = key(&request.org);
        let is_limited = request.multi_device != MultiDevice::Unlimited;
        let client = (org, request.client_id.clone());
        let user = (org, request.username.clone());
        if self.clients.contains(&client) || (is_limited && self.users.contains(&user)) {
            return Err(request);
        }
        let at_ms = world.now_ms();
        if let Some(old) = request.org.session_of_client(&request.client_id) {
            self.push_end(&request.org, old, EndReason::TakenOver, at_ms, true);
        }
        for other in rivals(&request) {
            self.push_end(&request.org, other, EndReason::KickedByDevice, at_ms, true);
        }
        self.clients.insert(client);
        self.users.insert(user);
        let id = world.session_id(at_ms);
        self.facts += 1;
        self.changes.push(Change::Open { request, id, at_ms });
        Ok(())
    }

    fn end(&mut self, request: &EndRequest, world: &mut impl World) {
        if let Some(facts) = request.org.session(request.session) {
            let at_ms = world.now_ms();
            self.push_end(&request.org, facts, request.reason, at_ms, false);
        }
    }

    /// Ends the user's sessions, as many as fit; the request comes back until none are left.
    fn end_user(
        &mut self,
        mut request: EndUserRequest,
        world: &mut impl World,
    ) -> Result<(), EndUserRequest> {
        if self
            .users
            .contains(&(key(&request.org), request.username.clone()))
        {
            return Err(request);
        }
        let sessions = request.org.sessions_of_user(&request.username, FACTS_MAX);
        let is_last = sessions.len() < FACTS_MAX;
        let at_ms = world.now_ms();
        for facts in sessions {
            let is_new = self.push_end(&request.org, facts, request.reason, at_ms, true);
            request.ended += usize::from(is_new);
        }
        if !is_last {
            return Err(request);
        }
        self.changes.push(Change::Reply(request));
        Ok(())
    }

    fn push_end(
        &mut self,
        org: &Arc<Org>,
        facts: SessionFacts,
        reason: EndReason,
        at_ms: u64,
        is_news_to_the_client: bool,
    ) -> bool {
        if !self.ended.insert((key(org), facts.session)) {
            return false;
        }
        self.facts += 1;
        self.changes.push(Change::End {
            org: Arc::clone(org),
            facts,
            reason,
            at_ms,
            is_news_to_the_client,
        });
        true
    }
}

/// Sessions that have to go because the user opens another one.
fn rivals(request: &OpenRequest) -> Vec<SessionFacts> {
    let mut sessions = match request.multi_device {
        MultiDevice::Unlimited => return Vec::new(),
        MultiDevice::One | MultiDevice::OnePerPlatform => {
            request.org.sessions_of_user(&request.username, FACTS_MAX)
        }
    };
    if request.multi_device == MultiDevice::OnePerPlatform {
        sessions.retain(|other| other.os == request.client.os);
    }
    sessions
}

/// Organisations live as long as the server, so their place in memory names them.
fn key(org: &Arc<Org>) -> usize {
    Arc::as_ptr(org) as usize
}

impl Change {
    /// What the journal has to say of it.
    pub(super) fn fact(&self) -> Option<Fact> {
        match self {
            Self::Open { request, id, at_ms } => Some(Fact::Opened(journal::Opened {
                org: request.org.id().into(),
                session: *id,
                username: request.username.clone(),
                client_id: request.client_id.clone(),
                protocol: request.client.protocol,
                peer: request.client.peer,
                os: request.client.os,
                at_ms: *at_ms,
                node: 0,
            })),
            Self::End {
                org,
                facts,
                reason,
                at_ms,
                ..
            } => Some(Fact::Ended(journal::Ended {
                org: org.id().into(),
                session: facts.id,
                username: facts.username.clone(),
                client_id: facts.client_id.clone(),
                protocol: facts.protocol,
                peer: facts.peer,
                connected_at_ms: facts.connected_at_ms,
                at_ms: *at_ms,
                reason: *reason,
            })),
            Self::Reply(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
