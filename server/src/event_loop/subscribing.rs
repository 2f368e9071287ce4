//! SUBSCRIBE and UNSUBSCRIBE (§3.8, §3.10), for sessions that end with their connection at once, for
//! stored ones when it is durable.

use std::sync::Arc;

use messages::{Attachment, NotSubscribed, Request, RetainHandling, Subscription, Wanted};
use mqtt::{
    SubscribeFailure, SubscribeRequest, SubscriptionOptions, UnsubscribeRequest, UnsubscribeResult,
};
use topics::TopicFilter;

use super::inbound::Flow;
use super::worker::Worker;

impl Worker {
    pub(super) fn subscribe(&mut self, key: usize, mut request: SubscribeRequest) -> Flow {
        for entry in &mut request.entries {
            let filter = TopicFilter::parse(&entry.filter);
            let is_allowed = filter.is_ok_and(|filter| self.may_subscribe(key, filter));
            if entry.verdict.is_ok() && !is_allowed {
                entry.verdict = Err(SubscribeFailure::NotAuthorized);
            }
        }
        match self.attachment(key) {
            Some(attachment) => self.subscribe_stored(key, attachment, request),
            None => self.subscribe_now(key, &mut request),
        }
    }

    fn subscribe_now(&mut self, key: usize, request: &mut SubscribeRequest) -> Flow {
        let Some((org, session)) = self.online(key) else {
            return Flow::Ended;
        };
        let most = self.subscriptions_max(key);
        let identifier = request.subscription_id;
        let mut answered_with_retained = Vec::new();
        for entry in &mut request.entries {
            let Ok(options) = entry.verdict else {
                continue;
            };
            let Ok(filter) = TopicFilter::parse(&entry.filter) else {
                entry.verdict = Err(SubscribeFailure::TopicFilterInvalid);
                continue;
            };
            match org.subscribe(session, filter, options.to_bits(), identifier, most) {
                Err(_) => entry.verdict = Err(SubscribeFailure::QuotaExceeded),
                Ok(is_new) if wants_retained(filter, options, is_new) => {
                    answered_with_retained.push((filter, options.qos));
                }
                Ok(_) => {}
            }
        }
        self.ask_for_retained(key, &answered_with_retained, false, identifier);
        self.with_output(key, |session, out| session.subscribed(request, out));
        self.send_more_retained(key);
        Flow::Open
    }

    fn subscribe_stored(
        &mut self,
        key: usize,
        attachment: Attachment,
        mut request: SubscribeRequest,
    ) -> Flow {
        let id = request.subscription_id.map(std::num::NonZeroU32::get);
        let wanted = request.entries.iter().filter_map(|entry| {
            let options = entry.verdict.ok()?;
            Some(Wanted {
                filter: entry.filter[..].into(),
                subscription: Subscription {
                    options: options.to_bits(),
                    id,
                },
                qos: options.qos.value(),
                retained: handling(options.retain_handling),
            })
        });
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            self.with_output(key, |session, out| session.subscribed(&request, out));
            return Flow::Open;
        }
        let most = self.subscriptions_max(key);
        let asked = self
            .house
            .shared
            .keeper
            .ask(Request::Subscribe(messages::Subscribe {
                attachment,
                packet_id: request.packet_id.get(),
                wanted,
                subscriptions_max: usize::from(most),
            }));
        if asked.is_ok() {
            if let Some(stored) = self.stored.get_mut(&(key as u32)) {
                stored.subscribing.push_back(request);
            }
            return self.flow_of(key);
        }
        for entry in &mut request.entries {
            entry.verdict = entry.verdict.and(Err(SubscribeFailure::QuotaExceeded));
        }
        self.with_output(key, |session, out| session.subscribed(&request, out));
        Flow::Open
    }

    /// The subscriptions of a stored session are durable.
    pub(super) fn subscribed(
        &mut self,
        key: usize,
        packet_id: u16,
        results: &[Result<bool, NotSubscribed>],
    ) {
        let Some((org, session)) = self.online(key) else {
            return;
        };
        let was_ahead = self.is_ahead(key);
        let Some(stored) = self.stored.get_mut(&(key as u32)) else {
            return;
        };
        let is_it = |request: &SubscribeRequest| request.packet_id.get() == packet_id;
        let place = stored.subscribing.iter().position(is_it);
        let Some(mut request) = place.and_then(|place| stored.subscribing.remove(place)) else {
            return;
        };
        let most = self.subscriptions_max(key);
        let identifier = request.subscription_id;
        let granted = request.entries.iter_mut();
        let granted = granted.filter(|entry| entry.verdict.is_ok());
        let mut answered_with_retained = Vec::new();
        for (entry, result) in granted.zip(results) {
            entry.verdict = entry.verdict.and_then(|options| match result {
                Err(NotSubscribed::TooMany) => Err(SubscribeFailure::QuotaExceeded),
                Err(NotSubscribed::Unavailable) => Err(SubscribeFailure::Unspecified),
                Ok(is_new) => {
                    if let Ok(filter) = TopicFilter::parse(&entry.filter) {
                        // Only for those who ask: it cannot be more than the keeper let in.
                        let _ = org.subscribe(session, filter, options.to_bits(), identifier, most);
                        if wants_retained(filter, options, *is_new) {
                            answered_with_retained.push((filter, options.qos));
                        }
                    }
                    Ok(options)
                }
            });
        }
        self.ask_for_retained(key, &answered_with_retained, true, identifier);
        self.with_output(key, |session, out| session.subscribed(&request, out));
        self.send_more_retained(key);
        if was_ahead {
            self.resume(key);
        }
    }

    pub(super) fn unsubscribe(&mut self, key: usize, request: UnsubscribeRequest) -> Flow {
        let Some((org, session)) = self.online(key) else {
            return Flow::Ended;
        };
        let most = self.filters_max(key);
        if request.filters.len() > most && self.version(key) != Some(mqtt::Version::V5) {
            // Its UNSUBACK could not say that some were left out.
            let why = mqtt::DisconnectReason::QuotaExceeded;
            self.disconnect(key, why, presence::EndReason::ProtocolError);
            return Flow::Ended;
        }
        if let Some(attachment) = self.attachment(key) {
            return self.unsubscribe_stored(key, attachment, request);
        }
        let served = request.filters.iter().take(most);
        let results = served.map(|filter| match TopicFilter::parse(filter) {
            Err(_) => UnsubscribeResult::TopicFilterInvalid,
            Ok(filter) => unsubscribe_result(org.unsubscribe(session, filter)),
        });
        let results = results.collect();
        self.answer_unsubscribe(key, &request, results);
        Flow::Open
    }

    /// Filters of one UNSUBSCRIBE that are served: as many as the session may have subscriptions, so
    /// that one packet can end them all, and a larger one keeps its event loop no longer.
    fn filters_max(&self, key: usize) -> usize {
        let per_packet = self.house.shared.limits.filters_per_packet_max;
        usize::from(self.subscriptions_max(key).max(per_packet))
    }

    fn version(&self, key: usize) -> Option<mqtt::Version> {
        self.connections.get(key)?.session.version()
    }

    /// UNSUBACK: `results` are those of the first filters, the others were too many.
    fn answer_unsubscribe(
        &mut self,
        key: usize,
        request: &UnsubscribeRequest,
        mut results: Vec<UnsubscribeResult>,
    ) {
        results.resize(request.filters.len(), UnsubscribeResult::NotAccepted);
        self.with_output(key, |session, out| {
            session.unsubscribed(request.packet_id, &results, out);
        });
    }

    fn unsubscribe_stored(
        &mut self,
        key: usize,
        attachment: Attachment,
        request: UnsubscribeRequest,
    ) -> Flow {
        let served = request.filters.iter().take(self.filters_max(key));
        let keeper = &self.house.shared.keeper;
        let asked = keeper.ask(Request::Unsubscribe(messages::Unsubscribe {
            attachment,
            packet_id: request.packet_id.get(),
            filters: served.map(|text| text[..].into()).collect(),
        }));
        if asked.is_err() {
            // UNSUBACK has no code for a server that cannot keep up.
            self.disconnect(
                key,
                mqtt::DisconnectReason::ServerBusy,
                presence::EndReason::ProtocolError,
            );
            return Flow::Ended;
        }
        if let Some(stored) = self.stored.get_mut(&(key as u32)) {
            stored.unsubscribing.push_back(request);
        }
        self.flow_of(key)
    }

    fn flow_of(&self, key: usize) -> Flow {
        match self.is_ahead(key) {
            true => Flow::Held,
            false => Flow::Open,
        }
    }

    /// The subscriptions of a stored session are gone for good.
    pub(super) fn unsubscribed(&mut self, key: usize, packet_id: u16, results: &[bool]) {
        let Some((org, session)) = self.online(key) else {
            return;
        };
        let was_ahead = self.is_ahead(key);
        let Some(stored) = self.stored.get_mut(&(key as u32)) else {
            return;
        };
        let is_it = |request: &UnsubscribeRequest| request.packet_id.get() == packet_id;
        let place = stored.unsubscribing.iter().position(is_it);
        let Some(request) = place.and_then(|place| stored.unsubscribing.remove(place)) else {
            return;
        };
        let filters = request.filters.iter().map(|text| TopicFilter::parse(text));
        let results = filters
            .zip(results)
            .map(|(filter, was_there)| match filter {
                Err(_) => UnsubscribeResult::TopicFilterInvalid,
                Ok(filter) => {
                    org.unsubscribe(session, filter);
                    unsubscribe_result(*was_there)
                }
            })
            .collect();
        self.answer_unsubscribe(key, &request, results);
        if was_ahead {
            self.resume(key);
        }
    }

    pub(super) fn subscriptions_max(&self, key: usize) -> u16 {
        let settings = &self.house.shared.settings;
        let own = self.own_limits(key);
        own.map_or(settings.subscriptions_per_session_max, |own| {
            own.subscriptions_max
        })
    }

    /// What outlives connections in an organisation.
    pub(super) fn kept_of(&self, org: &Arc<presence::Org>) -> &Arc<messages::Kept> {
        &self.kept[&(Arc::as_ptr(org) as usize)]
    }
}

/// §3.8.3.1 and MQTT-3.3.1-9 to -11; a shared subscription gets none (§4.8.2).
fn wants_retained(filter: TopicFilter<'_>, options: SubscriptionOptions, is_new: bool) -> bool {
    filter.share_group().is_none()
        && match handling(options.retain_handling) {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        }
}

fn handling(bits: u8) -> RetainHandling {
    match bits {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        _ => RetainHandling::Never,
    }
}

fn unsubscribe_result(was_there: bool) -> UnsubscribeResult {
    match was_there {
        true => UnsubscribeResult::Success,
        false => UnsubscribeResult::NoSubscriptionExisted,
    }
}
