//! A client that sends anything, and a caller that answers late, out of order or not at all.
//!
//! Whatever happens: nothing panics; what is written is whole packets; every packet identifier is
//! accounted for, both ways; what is kept stays within the limits; and a closed session is silent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mqtt::{
    Accepted, Action, Limits, Message, Outgoing, PublishOutcome, QoS, Refusal, Session,
    StoredDelivery, SubscribeRequest, UnsubscribeResult, Version,
};

use crate::Noise;

/// Some moment, in Unix milliseconds.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// A CONNECT of each version, and one of MQTT 5 with a receive maximum, a largest packet and aliases.
pub(crate) const CONNECTS: [&[u8]; 4] = [
    b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a",
    b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
    b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a",
    b"\x10\x19\x00\x04MQTT\x05\x02\x00\x3c\x0b\x21\x00\x02\x27\x00\x00\x00\x40\x22\x00\x02\x00\x01a",
];

const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBACK: u8 = 9;
const UNSUBACK: u8 = 11;

const OUTCOMES: [PublishOutcome; 5] = [
    PublishOutcome::Routed,
    PublishOutcome::NoMatchingSubscribers,
    PublishOutcome::NotAuthorized,
    PublishOutcome::QuotaExceeded,
    PublishOutcome::Failed,
];

/// Small ones, so that they are met.
pub(crate) fn limits() -> Limits {
    Limits {
        packet_bytes_max: 1024,
        keep_alive_secs_max: 200,
        topic_levels_max: 8,
        receive_max: 4,
        inflight_max: 3,
        queue_messages_max: 4,
        queue_bytes_max: 400,
        topic_alias_max: 3,
        topic_alias_sent_max: 2,
        session_expiry_secs_max: 100,
        retain_available: true,
        shared_available: true,
        subscription_ids_available: true,
        filters_per_packet_max: 5,
    }
}

/// The first byte says which CONNECT and whether the session is stored, the rest what happens.
pub fn check(bytes: &[u8]) {
    let mut noise = Noise::new(bytes);
    let kind = noise.byte();
    let mut world = World::open(
        CONNECTS[usize::from(kind & 3)],
        kind & 4 != 0,
        kind & 8 != 0,
    );
    while !noise.is_empty() {
        world.step(&mut noise);
    }
    world.settle();
}

/// The session, and what must be true of it.
struct World {
    session: Session,
    limits: Limits,
    out: BytesMut,
    is_stored: bool,
    /// PUBLISH over QoS 0 that the caller was given and has not answered, in order.
    unanswered: VecDeque<NonZeroU16>,
    subscribing: VecDeque<SubscribeRequest>,
    unsubscribing: VecDeque<(NonZeroU16, usize)>,
    releasing: VecDeque<NonZeroU16>,
    /// Answers that are due, by kind and identifier: more than these must never be written.
    due: BTreeMap<(u8, u16), usize>,
    /// What the client was sent and has not done with: the kind of packet that is its turn.
    inflight: BTreeMap<u16, u8>,
    /// What a stored session was handed, sent or not, and its client has not done with: the caller
    /// hands over a window at a time.
    handed: BTreeSet<u16>,
    next_stored_id: u16,
}

impl World {
    fn open(connect: &[u8], is_stored: bool, is_refused: bool) -> Self {
        let mut world = Self {
            session: Session::new(),
            limits: limits(),
            out: BytesMut::new(),
            is_stored,
            unanswered: VecDeque::new(),
            subscribing: VecDeque::new(),
            unsubscribing: VecDeque::new(),
            releasing: VecDeque::new(),
            due: BTreeMap::new(),
            inflight: BTreeMap::new(),
            handed: BTreeSet::new(),
            next_stored_id: 0,
        };
        let action =
            world
                .session
                .handle_frame(connect.into(), NOW_MS, &world.limits, &mut world.out);
        assert!(matches!(action, Action::Open(_)), "{action:?}");
        if is_refused {
            let out = &mut world.out;
            world.session.refuse(Refusal::NotAuthorized, "no", out);
        } else {
            let accepted = Accepted {
                is_stored,
                session_expiry_secs: u32::from(is_stored),
                ..Accepted::default()
            };
            world
                .session
                .accept(&accepted, &world.limits, &mut world.out);
        }
        world.out.clear();
        world
    }

    fn step(&mut self, noise: &mut Noise<'_>) {
        let was_open = self.session.is_connected();
        match noise.below(16) {
            0..=2 => self.publish_in(noise),
            3 => self.acknowledge(noise),
            4 => {
                let kind = 4 + noise.byte() % 4;
                self.send_ack(kind, u16::from(noise.byte() % 8), noise);
            }
            5 => self.send_subscription(noise),
            6 => self.send_anything(noise),
            7 | 8 => self.answer(noise),
            9 | 10 => self.deliver(noise),
            11 => self.deliver_stored(noise),
            12 => self.answer_subscription(),
            13 => self.released(),
            14 => {
                let room = noise.below(256);
                let out = &mut self.out;
                self.session.resume(room, NOW_MS, &self.limits, out);
            }
            _ => self.send(b"\xc0\x00"),
        }
        let discarded = self.session.take_discarded();
        for id in discarded.into_iter().filter_map(|gone| gone.packet_id) {
            self.handed.remove(&id.get());
        }
        self.look(was_open);
    }

    // === the client ===

    fn publish_in(&mut self, noise: &mut Noise<'_>) {
        let flags = noise.byte() & 0x0f;
        let mut body = match noise.below(4) {
            0 => b"\x00\x01a".to_vec(),
            1 => b"\x00\x00".to_vec(),
            2 => b"\x00\x03a/b".to_vec(),
            _ => b"\x00\x01+".to_vec(),
        };
        if flags & 0x06 != 0 {
            body.extend([0, noise.byte() % 8]);
        }
        if self.session.version() == Some(Version::V5) {
            match noise.below(3) {
                0 => body.push(0),
                1 => body.extend([3, 0x23, 0, noise.byte() % 5]),
                _ => body.extend([5, 2, 0, 0, 0, noise.byte()]),
            }
        }
        let length = noise.below(64);
        body.extend_from_slice(noise.bytes(length));
        self.send_packet(PUBLISH << 4 | flags, &body);
    }

    /// The client does what is its turn for one of the messages that it was sent.
    fn acknowledge(&mut self, noise: &mut Noise<'_>) {
        let Some(nth) = noise.below(256).checked_rem(self.inflight.len()) else {
            return;
        };
        let found = self.inflight.iter().nth(nth);
        if let Some((id, kind)) = found.map(|(id, kind)| (*id, *kind)) {
            self.send_ack(kind, id, noise);
        }
    }

    fn send_ack(&mut self, kind: u8, id: u16, noise: &mut Noise<'_>) {
        let mut body = id.to_be_bytes().to_vec();
        let is_error = self.session.version() == Some(Version::V5) && noise.byte() > 0xf0;
        body.extend(is_error.then_some(if kind == PUBACK || kind == PUBREC {
            0x80
        } else {
            0x92
        }));
        let flags = if kind == PUBREL { 2 } else { 0 };
        self.send_packet(kind << 4 | flags, &body);
    }

    fn send_subscription(&mut self, noise: &mut Noise<'_>) {
        let is_subscribe = noise.byte() & 1 == 0;
        let mut body = vec![0, noise.byte() % 4];
        if self.session.version() == Some(Version::V5) {
            body.push(0);
        }
        for _ in 0..noise.below(8) {
            let filter: &[u8] =
                [&b"a"[..], b"#", b"a/+", b"$share/g/a", b"a#", b""][noise.below(6)];
            body.extend([0, filter.len() as u8]);
            body.extend_from_slice(filter);
            body.extend(is_subscribe.then(|| noise.byte() % 4));
        }
        self.send_packet(if is_subscribe { 0x82 } else { 0xa2 }, &body);
    }

    fn send_anything(&mut self, noise: &mut Noise<'_>) {
        let first = noise.byte();
        let length = noise.below(100);
        self.send_packet(first, noise.bytes(length));
    }

    fn send_packet(&mut self, first: u8, body: &[u8]) {
        assert!(body.len() < 128, "one byte of length");
        let mut frame = vec![first, body.len() as u8];
        frame.extend_from_slice(body);
        self.send(&frame);
    }

    /// Whether the caller reads no more before it has answered (MQTT 5 clients are told when they
    /// send too many, so they may send one more).
    fn is_held(&self) -> bool {
        let is_v5 = self.session.version() == Some(Version::V5);
        self.session.unanswered() >= usize::from(self.limits.receive_max) + usize::from(is_v5)
    }

    fn send(&mut self, frame: &[u8]) {
        if self.is_held() {
            return;
        }
        let out = &mut self.out;
        let action = self
            .session
            .handle_frame(frame.into(), NOW_MS, &self.limits, out);
        let id_at = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        match frame[0] >> 4 {
            // A repetition is answered too, and so is what is not known.
            PUBLISH if frame[0] & 0x06 != 0 && frame.len() > 4 => {
                let at = 4 + usize::from(id_at(2));
                let answer = if frame[0] & 0x04 != 0 { PUBREC } else { PUBACK };
                if frame.len() >= at + 2 {
                    self.owe(answer, id_at(at));
                }
            }
            kind @ (PUBREC | PUBREL) if frame.len() >= 4 => self.owe(kind + 1, id_at(2)),
            _ => {}
        }
        self.follow(frame, action);
    }

    fn owe(&mut self, kind: u8, id: u16) {
        *self.due.entry((kind, id)).or_default() += 1;
    }

    /// What the client has said about a message that it was sent.
    fn follow(&mut self, frame: &[u8], action: Action) {
        match action {
            Action::Continue => {}
            Action::Open(_) => panic!("a second CONNECT was asked about"),
            Action::Publish(inbound) => self.unanswered.extend(inbound.packet_id),
            Action::Subscribe(request) => {
                assert!(!request.entries.is_empty());
                self.owe(SUBACK, request.packet_id.get());
                self.subscribing.push_back(request);
            }
            Action::Unsubscribe(request) => {
                assert!(!request.filters.is_empty());
                self.owe(UNSUBACK, request.packet_id.get());
                let entry = (request.packet_id, request.filters.len());
                self.unsubscribing.push_back(entry);
            }
            Action::Acknowledged(id) => {
                assert!(self.is_stored);
                self.handed.remove(&id.get());
                assert!(
                    self.inflight.remove(&id.get()).is_some(),
                    "{id} was not sent"
                );
            }
            Action::Received(id) => {
                assert!(self.is_stored);
                assert_eq!(self.inflight.insert(id.get(), PUBREC), Some(PUBREC));
                let out = &mut self.out;
                self.session.release(id, out);
            }
            Action::Release(id) => {
                assert!(self.is_stored);
                self.releasing.push_back(id);
            }
            Action::Close(_) => assert!(!self.session.is_connected()),
        }
        if !self.is_stored && self.session.is_connected() && frame.len() >= 4 {
            let id = u16::from_be_bytes([frame[2], frame[3]]);
            let is_error = frame.get(4).is_some_and(|code| *code >= 0x80);
            let turn = self.inflight.get(&id).copied();
            let kind = frame[0] >> 4;
            if turn == Some(kind)
                && (kind != PUBREC || is_error)
                && (PUBACK..=PUBCOMP).contains(&kind)
            {
                self.inflight.remove(&id);
            }
        }
    }

    // === the caller ===

    fn answer(&mut self, noise: &mut Noise<'_>) {
        let Some(nth) = noise.below(256).checked_rem(self.unanswered.len()) else {
            return;
        };
        let outcome = OUTCOMES[noise.below(3)];
        let id = self.unanswered.remove(nth);
        let _ = self.session.published(id, outcome, &mut self.out);
    }

    fn answer_subscription(&mut self) {
        if let Some(request) = self.subscribing.pop_front() {
            self.session.subscribed(&request, &mut self.out);
        }
        if let Some((id, count)) = self.unsubscribing.pop_front() {
            let results = vec![UnsubscribeResult::Success; count];
            self.session.unsubscribed(id, &results, &mut self.out);
        }
    }

    fn released(&mut self) {
        if let Some(id) = self.releasing.pop_front() {
            self.session.released(id, &mut self.out);
        }
    }

    fn deliver(&mut self, noise: &mut Noise<'_>) {
        let qos = if self.is_stored {
            QoS::AtMostOnce
        } else {
            qos(noise)
        };
        let (message, has_room) = (message(noise, qos), noise.byte() & 1 == 0);
        let out = &mut self.out;
        let _ = self
            .session
            .deliver(&message, qos.into(), has_room, NOW_MS, &self.limits, out);
    }

    fn deliver_stored(&mut self, noise: &mut Noise<'_>) {
        if !self.is_stored || self.handed.len() >= usize::from(self.limits.inflight_max) {
            return;
        }
        self.next_stored_id = self.next_stored_id % 50 + 1;
        let id = NonZeroU16::new(self.next_stored_id).expect("from 1 to 50");
        if !self.handed.insert(id.get()) {
            return;
        }
        let qos = if noise.byte() & 1 == 0 {
            QoS::AtLeastOnce
        } else {
            QoS::ExactlyOnce
        };
        let message = message(noise, qos);
        let options = Outgoing::from(qos);
        let what = StoredDelivery::Publish {
            message: &message,
            options,
            dup: noise.byte() & 1 == 0,
        };
        let has_room = noise.byte() & 1 == 0;
        let out = &mut self.out;
        let delivery = self
            .session
            .deliver_stored(id, what, has_room, NOW_MS, &self.limits, out);
        if !matches!(delivery, mqtt::Delivery::Sent | mqtt::Delivery::Queued) {
            assert!(self.out.is_empty() || !self.session.is_connected());
            self.handed.remove(&id.get());
        }
    }

    // === what must hold ===

    /// Takes apart what was written.
    fn look(&mut self, was_open: bool) {
        assert!(was_open || self.out.is_empty(), "a closed session spoke");
        let max = if self.session.version() == Some(Version::V5) {
            1024
        } else {
            u32::MAX
        };
        while let Some(length) =
            mqtt::whole_frame(&self.out, max).expect("what is written is right")
        {
            let frame = self.out.split_to(length);
            self.account(&frame);
        }
        assert!(self.out.is_empty(), "half a packet was written");
        let waiting_max = match self.is_stored {
            true => usize::from(self.limits.inflight_max) * 256,
            false => self.limits.queue_bytes_max as usize + 256,
        };
        assert!(self.session.outbound_bytes() <= waiting_max);
        assert!(self.session.unanswered() <= usize::from(self.limits.receive_max) + 1);
    }

    fn account(&mut self, frame: &[u8]) {
        let id_at = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        match frame[0] >> 4 {
            PUBLISH if frame[0] & 0x06 != 0 => {
                let id = id_at(4 + usize::from(id_at(2)));
                let turn = if frame[0] & 0x04 != 0 { PUBREC } else { PUBACK };
                let before = self.inflight.insert(id, turn);
                assert_eq!(before, None, "{id} was used twice");
                assert!(id != 0 && self.inflight.len() <= usize::from(self.limits.inflight_max));
            }
            PUBREL => {
                let id = id_at(2);
                self.settle_due(PUBREL, id);
                if self.inflight.get(&id) == Some(&PUBREC) {
                    self.inflight.insert(id, PUBCOMP);
                }
            }
            kind @ (PUBACK | PUBREC | PUBCOMP | SUBACK | UNSUBACK) => {
                self.settle_due(kind, id_at(2))
            }
            _ => {}
        }
    }

    fn settle_due(&mut self, kind: u8, id: u16) {
        let due = self.due.get_mut(&(kind, id)).filter(|due| **due > 0);
        *due.unwrap_or_else(|| panic!("packet {kind} for {id} answers nothing")) -= 1;
    }

    /// In the end the caller answers all, and nothing is left open.
    fn settle(&mut self) {
        let was_open = self.session.is_connected();
        while let Some(id) = self.unanswered.pop_front() {
            let _ = self
                .session
                .published(Some(id), PublishOutcome::Routed, &mut self.out);
        }
        while !(self.subscribing.is_empty() && self.unsubscribing.is_empty()) {
            self.answer_subscription();
        }
        while !self.releasing.is_empty() {
            self.released();
        }
        self.look(was_open);
        assert_eq!(self.session.unanswered(), 0);
        if self.session.is_connected() {
            let open = |kind: u8| self.due.iter().any(|((k, _), due)| *k == kind && *due > 0);
            assert!(
                !open(SUBACK) && !open(UNSUBACK) && !open(PUBACK),
                "{:?}",
                self.due
            );
        }
    }
}

fn qos(noise: &mut Noise<'_>) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][noise.below(3)]
}

fn message(noise: &mut Noise<'_>, qos: QoS) -> Arc<Message> {
    let topic = ["a", "a/b", "a/b/c"][noise.below(3)];
    let length = noise.below(100);
    Arc::new(Message::new(
        topic.into(),
        Bytes::from(vec![b'x'; length]),
        qos,
    ))
}
