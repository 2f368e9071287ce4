//! From CONNECT to the request for a session: who is it, and may it come in?
//!
//! Most logins are decided at once. One whose password is stored as a hash goes to a verifier; the
//! connection is held meanwhile, as it is for the journal.

use std::net::IpAddr;
use std::sync::Arc;

use mqtt::{ConnectRequest, Refusal};
use topics::{TopicFilter, TopicName};

use super::actions::assigned_client_id;
use super::connection::Phase;
use super::inbound::Flow;
use super::passes::{self, Pass, Rights, SessionLimits};
use super::worker::Worker;
use crate::accounts::{Admission, Check, Decision, LoginRefused, MultiDevice, Over, Seat};
use crate::clock::unix_ms;
use crate::lifecycle::OpenRequest;
use crate::verifiers::{Inquiry, Judgement};

impl Worker {
    /// Decides on the login, or has it decided.
    pub(super) fn open(&mut self, key: usize, request: Box<ConnectRequest>) -> Flow {
        let house = Arc::clone(&self.house);
        if self.is_overfull() {
            house.shared.metrics.refuse("too_many_connections");
            self.refuse(key, Refusal::ServerBusy, "the server is full");
            return Flow::Ended;
        }
        let assigned = request.client_id.is_empty().then(assigned_client_id);
        let assigned = assigned.map(String::into_boxed_str);
        let client_id = assigned.as_deref().unwrap_or(&request.client_id);
        let certified = self.certified_user(key);
        // A certificate is not guessed.
        if certified.is_none() && self.is_slowed(key, &request) {
            return self.refuse_login(key, LoginRefused::TooManyGuesses);
        }
        let accounts = &house.shared.accounts;
        let username = request.username.as_deref();
        let decision = match certified {
            Some(Ok(certified)) => accounts.log_in_certified(&certified, username),
            Some(Err(why)) => Decision::Refused(LoginRefused::Certificate(why)),
            None => {
                let password = request.password.as_deref();
                accounts.log_in(username, password, client_id, unix_ms() / 1000)
            }
        };
        match decision {
            Decision::Admitted(admission) => {
                self.ask_for_session(key, &request, assigned, &admission)
            }
            Decision::Refused(refused) => {
                self.count_guess(key, &request, refused);
                self.refuse_login(key, refused)
            }
            Decision::Check(check) => self.ask_verifier(key, request, assigned, check),
        }
    }

    fn ask_verifier(
        &mut self,
        key: usize,
        request: Box<ConnectRequest>,
        assigned: Option<Box<str>>,
        check: Check,
    ) -> Flow {
        let (worker, address) = (self.index, self.address(key));
        let Some(connection) = self.connections.get_mut(key) else {
            return Flow::Ended;
        };
        let inquiry = Inquiry {
            worker,
            connection: key as u32,
            ticket: connection.ticket,
            address,
            request,
            assigned,
            check,
        };
        if !self.house.shared.verifiers.ask(inquiry) {
            self.house.shared.metrics.refuse("verifiers_busy");
            self.refuse(key, Refusal::ServerBusy, "too many clients are logging in");
            return Flow::Ended;
        }
        connection.phase = Phase::Opening;
        Flow::Held
    }

    /// A verifier has found out.
    pub(super) fn hear_judgement(&mut self, connection: u32, ticket: u32, judgement: Judgement) {
        let key = connection as usize;
        // The connection may be gone, and its place another's.
        let Some(found) = self.awaiting(key, ticket) else {
            return;
        };
        found.phase = Phase::Open;
        let Judgement {
            request,
            assigned,
            outcome,
        } = judgement;
        // What comes of it reaches the connection by letter or by its last words.
        let _ = match outcome {
            Ok(admission) => self.ask_for_session(key, &request, assigned, &admission),
            Err(refused) => self.refuse_login(key, refused),
        };
    }

    /// Whether the time of a connection is over already.
    pub(super) fn is_over(&self, key: usize) -> bool {
        let pass = self.passes.of(key);
        let end = pass.and_then(|pass| pass.ends_at);
        end.is_some_and(|end| end.0 <= self.now.0)
    }

    /// Whether a session may publish to a topic.
    pub(super) fn may_publish(&self, key: usize, topic: &str) -> bool {
        let Some(pass) = self.passes.of(key) else {
            return true;
        };
        // What is no topic name reaches nobody.
        TopicName::parse(topic).is_ok_and(|name| pass.rights.may_publish(name))
    }

    /// Whether a session may subscribe to a filter.
    pub(super) fn may_subscribe(&self, key: usize, filter: TopicFilter<'_>) -> bool {
        let pass = self.passes.of(key);
        pass.is_none_or(|pass| pass.rights.may_subscribe(filter))
    }

    fn address(&self, key: usize) -> Option<IpAddr> {
        self.peer_of(key).map(|peer| peer.ip())
    }

    /// Whether too many guesses were wrong for this one to be looked at.
    fn is_slowed(&self, key: usize, request: &ConnectRequest) -> bool {
        let login = request.username.as_deref().unwrap_or_default();
        let accounts = &self.house.shared.accounts;
        // The address costs a system call.
        !accounts.guesses.is_quiet()
            && accounts.is_slowed(self.address(key), login, unix_ms() / 1000)
    }

    /// Counts a login that was wrong at once; a verifier counts its own.
    fn count_guess(&self, key: usize, request: &ConnectRequest, refused: LoginRefused) {
        if refused.is_guess() {
            let login = request.username.as_deref().unwrap_or_default();
            let accounts = &self.house.shared.accounts;
            accounts.count_guess(self.address(key), login, unix_ms() / 1000);
        }
    }

    fn refuse_login(&mut self, key: usize, refused: LoginRefused) -> Flow {
        let (reason, refusal) = match refused {
            LoginRefused::NoKeys => ("no_token_keys", Refusal::ServerUnavailable),
            LoginRefused::TooManyGuesses => ("guessing", Refusal::ConnectionRateExceeded),
            _ => ("login", Refusal::BadUserNameOrPassword),
        };
        self.house.shared.metrics.refuse(reason);
        self.refuse(key, refusal, &refused.to_string());
        Flow::Ended
    }

    /// The terms of a session that is about to begin.
    fn pass_of(&self, admission: &Admission, client_id: &str) -> Pass {
        let Admission {
            org,
            username,
            token,
        } = admission;
        let accounts = &self.house.shared.accounts;
        let mut pass = Pass {
            rights: Rights {
                rules: accounts.session_rules(*org, username, client_id),
                topics: None,
            },
            limits: self.session_limits[org.get()].clone(),
            ..Pass::default()
        };
        if let Some(token) = token {
            let now_secs = unix_ms() / 1000;
            let end = |secs| passes::tick_of(secs, now_secs, self.now);
            pass.ends_at = token.ends_at_secs.and_then(end);
            pass.rights.topics.clone_from(&token.topics);
        }
        pass
    }

    /// A place among the organisation's connections; none where these are not measured.
    fn take_seat(&self, admission: &Admission, client_id: &str) -> Result<Option<Seat>, Over> {
        let shared = &self.house.shared;
        let Some(meter) = shared.accounts.meter(admission.org) else {
            return Ok(None);
        };
        let org = &shared.orgs[admission.org.get()];
        let has_one = shared.accounts.multi_device(admission.org) == MultiDevice::One;
        let replaces = || {
            let held = org.session_of_client(client_id);
            held.is_some_and(|held| held.username == admission.username)
                || has_one && !org.sessions_of_user(&admission.username, 1).is_empty()
        };
        meter.connect(self.now_ms, replaces).map(Some)
    }

    fn refuse_over(&mut self, key: usize, over: Over) -> Flow {
        let (reason, refusal, why) = match over {
            Over::Connections => (
                "org_connections",
                Refusal::QuotaExceeded,
                "the organisation has too many connections",
            ),
            Over::Connects => (
                "org_connects",
                Refusal::ConnectionRateExceeded,
                "too many clients of the organisation are connecting",
            ),
        };
        self.house.shared.metrics.refuse(reason);
        self.refuse(key, refusal, why);
        Flow::Ended
    }

    /// The limits of a session that are its organisation's own.
    pub(super) fn own_limits(&self, key: usize) -> Option<Arc<SessionLimits>> {
        self.passes.of(key)?.limits.clone()
    }

    /// Whether the organisation may publish one more message now.
    pub(super) fn is_within_rate(&self, key: usize) -> bool {
        let seat = self.passes.of(key).and_then(|pass| pass.seat.as_ref());
        seat.is_none_or(|seat| seat.meter().publish(self.now_ms))
    }

    /// Asks for a session. The answer comes by letter.
    fn ask_for_session(
        &mut self,
        key: usize,
        request: &ConnectRequest,
        assigned: Option<Box<str>>,
        admission: &Admission,
    ) -> Flow {
        let house = Arc::clone(&self.house);
        let client_id = assigned.as_deref().unwrap_or(&request.client_id);
        let mut pass = self.pass_of(admission, client_id);
        match self.take_seat(admission, client_id) {
            Ok(seat) => pass.seat = seat,
            Err(over) => return self.refuse_over(key, over),
        }
        if let Some(will) = &request.will
            && !TopicName::parse(will.message.topic())
                .is_ok_and(|topic| pass.rights.may_publish(topic))
        {
            // A will that could not be sent is better refused now than missed later.
            self.house.shared.metrics.refuse("will_not_authorized");
            let why = "not authorized to publish the will";
            self.refuse(key, Refusal::NotAuthorized, why);
            return Flow::Ended;
        }
        self.passes.issue(key, pass);
        let arrival = self.announce(request, admission, client_id);
        let Some(client) = self.client(key, request) else {
            return Flow::Ended;
        };
        let Some((connection, mut pending)) = self.pending_of(key) else {
            return Flow::Ended;
        };
        connection.phase = Phase::Opening;
        let asked = house.shared.lifecycle.open(OpenRequest {
            org: Arc::clone(&house.shared.orgs[admission.org.get()]),
            multi_device: house.shared.accounts.multi_device(admission.org),
            username: admission.username.clone(),
            client_id: client_id.into(),
            client,
            ticket: connection.ticket,
        });
        if asked.is_ok() {
            self.note_wish(key, request, admission, client_id, arrival);
        }
        pending.assigned = assigned;
        self.put_back(key, pending);
        self.keep_will(key, request.will.as_deref());
        if asked.is_err() {
            house.shared.metrics.refuse("busy");
            self.refuse(key, Refusal::ServerBusy, "too many clients are connecting");
            return Flow::Ended;
        }
        Flow::Held
    }
}
