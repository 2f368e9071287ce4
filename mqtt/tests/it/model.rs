//! Random conversations beside a model of them: each packet identifier is accounted for, nothing
//! is answered twice or out of turn, and in the end nothing is kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mqtt::{Accepted, Action, Delivery, PublishOutcome, QoS, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use rmqtt_codec::types::Publish;

use crate::connect::open;
use crate::script::*;

fn client_of(version: Version, is_stored: bool) -> Client {
    let mut client = Client::new(version);
    open(client.connect(connect_of(version)));
    client.accept_as(&Accepted {
        is_stored,
        ..Default::default()
    });
    client.out.clear();
    client.limits.receive_max = 1000;
    client
}

fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)]
}

/// That the session keeps nothing but itself.
fn assert_at_rest(client: &Client) {
    let shown = format!("{:?}", client.session);
    assert!(shown.contains("busy: None"), "{shown}");
    assert!(shown.contains("unanswered_id: None"), "{shown}");
}

// === from the client ===

#[derive(Clone, Copy, Debug)]
enum Heard {
    Publish(u16, QoS),
    Release(u16),
    /// The caller answers one of those that wait.
    Answer(usize),
    /// The caller has forgotten one identifier.
    Released(usize),
}

fn any_heard() -> impl Strategy<Value = Heard> {
    prop_oneof![
        3 => (1..6_u16, 0..3_u8)
            .prop_map(|(packet_id, qos)| Heard::Publish(packet_id, qos.try_into().unwrap())),
        2 => (1..6_u16).prop_map(Heard::Release),
        3 => (0..9_usize).prop_map(Heard::Answer),
        1 => (0..9_usize).prop_map(Heard::Released),
    ]
}

/// What the session must know of the client's messages.
#[derive(Default)]
struct Receiver {
    is_stored: bool,
    is_v5: bool,
    /// Identifier, QoS, and whether the answer has come.
    unanswered: VecDeque<(u16, QoS, bool)>,
    received: BTreeSet<u16>,
    releasing: Vec<u16>,
    expected: Vec<(u8, u16, u8)>,
}

impl Receiver {
    fn hear(&mut self, client: &mut Client, heard: Heard) {
        match heard {
            Heard::Publish(packet_id, qos) => self.publish(client, packet_id, qos),
            Heard::Release(packet_id) => self.release(client, packet_id),
            Heard::Answer(index) => self.answer(client, index),
            Heard::Released(index) if !self.releasing.is_empty() => {
                let packet_id = self.releasing.remove(index % self.releasing.len());
                client.session.released(id(packet_id), &mut client.out);
                self.received.remove(&packet_id);
                self.expected.push((PUBCOMP, packet_id, 0));
            }
            Heard::Released(_) => {}
        }
        assert_eq!(client.acks(), std::mem::take(&mut self.expected));
        assert_eq!(client.session.unanswered(), self.unanswered.len());
    }

    fn publish(&mut self, client: &mut Client, packet_id: u16, qos: QoS) {
        let action = client.publish(Publish {
            packet_id: (qos != QoS::AtMostOnce).then(|| id(packet_id)),
            ..message("a", qos)
        });
        let is_twice = qos == QoS::ExactlyOnce
            && (self.received.contains(&packet_id)
                || self
                    .unanswered
                    .iter()
                    .any(|one| (one.0, one.1) == (packet_id, qos)));
        assert_eq!(matches!(action, Action::Publish(_)), !is_twice);
        if !is_twice && qos != QoS::AtMostOnce {
            self.unanswered.push_back((packet_id, qos, false));
        } else if is_twice && self.received.contains(&packet_id) {
            let waits = self.unanswered.iter();
            if !waits.clone().any(|one| (one.0, one.1) == (packet_id, qos)) {
                self.unanswered.push_back((packet_id, qos, true));
            }
            self.send_answers();
        }
    }

    fn release(&mut self, client: &mut Client, packet_id: u16) {
        let action = client.send_ack(PUBREL, packet_id);
        let is_known = self.received.contains(&packet_id);
        let is_new = !self.releasing.contains(&packet_id);
        if is_known && self.is_stored && is_new {
            assert!(matches!(action, Action::Release(found) if found == id(packet_id)));
            self.releasing.push(packet_id);
            return;
        }
        assert!(matches!(action, Action::Continue), "{action:?}");
        if is_known && self.is_stored {
            return;
        }
        self.received.remove(&packet_id);
        let code = if is_known || !self.is_v5 { 0 } else { 0x92 };
        self.expected.push((PUBCOMP, packet_id, code));
    }

    fn answer(&mut self, client: &mut Client, index: usize) {
        let open: Vec<u16> = self
            .unanswered
            .iter()
            .filter(|one| !one.2)
            .map(|one| one.0)
            .collect();
        let Some(packet_id) = open.get(index % open.len().max(1)) else {
            return;
        };
        let Client { session, out, .. } = client;
        session.published(Some(id(*packet_id)), PublishOutcome::Routed, out);
        let mut unanswered = self.unanswered.iter_mut();
        let first = unanswered.find(|one| one.0 == *packet_id && !one.2);
        first.unwrap().2 = true;
        self.send_answers();
    }

    fn send_answers(&mut self) {
        while let Some((packet_id, qos, true)) = self.unanswered.front().copied() {
            self.unanswered.pop_front();
            let is_twice = qos == QoS::ExactlyOnce;
            self.expected
                .push((if is_twice { PUBREC } else { PUBACK }, packet_id, 0));
            if is_twice {
                self.received.insert(packet_id);
            }
        }
    }
}

// === to the client ===

#[derive(Clone, Copy, Debug)]
enum Said {
    Deliver(QoS),
    /// First byte of an acknowledgement, and of which message in flight; or of none.
    Ack(u8, usize),
    Unknown(u8),
}

fn any_said() -> impl Strategy<Value = Said> {
    let ack = prop_oneof![Just(PUBACK), Just(PUBREC), Just(PUBCOMP)];
    prop_oneof![
        3 => (0..3_u8).prop_map(|qos| Said::Deliver(qos.try_into().unwrap())),
        5 => (ack.clone(), 0..9_usize).prop_map(|(first, index)| Said::Ack(first, index)),
        1 => ack.prop_map(Said::Unknown),
    ]
}

/// What the session must know of the messages to the client: the acknowledgement that each
/// identifier waits for.
#[derive(Default)]
struct Sender {
    inflight: BTreeMap<u16, u8>,
    queue: VecDeque<QoS>,
}

impl Sender {
    fn say(&mut self, client: &mut Client, said: Said) {
        let mut releases = Vec::new();
        match said {
            Said::Deliver(qos) => self.deliver(client, qos),
            Said::Ack(first, index) if !self.inflight.is_empty() => {
                let index = index % self.inflight.len();
                let packet_id = *self.inflight.keys().nth(index).unwrap();
                let _ = client.send_ack(first, packet_id);
                let awaited = self.inflight[&packet_id];
                match (awaited, first) {
                    (PUBREC, PUBREC) => {
                        self.inflight.insert(packet_id, PUBCOMP);
                        releases.push(packet_id);
                    }
                    (PUBCOMP, PUBREC) => releases.push(packet_id),
                    (PUBACK, PUBREC) => releases.push(packet_id), // told that it is unknown
                    _ if awaited == first => {
                        self.inflight.remove(&packet_id);
                    }
                    _ => {}
                }
            }
            Said::Ack(..) => {}
            Said::Unknown(first) => {
                let _ = client.send_ack(first, 60_000);
                releases.extend((first == PUBREC).then_some(60_000));
            }
        }
        self.read(client, &releases);
    }

    fn deliver(&mut self, client: &mut Client, qos: QoS) {
        let has_place = self.queue.is_empty() && self.inflight.len() < 3;
        let expected = match qos {
            QoS::AtMostOnce => Delivery::Sent,
            _ if has_place => Delivery::Sent,
            _ if self.queue.len() < 4 => Delivery::Queued,
            _ => Delivery::QueueFull,
        };
        let delivery = client.deliver(&own_message("a", "x", qos), qos.into());
        assert_eq!(delivery, expected);
        if qos == QoS::AtMostOnce {
            assert_eq!(client.out.split()[0], 0x30);
        } else if expected != Delivery::QueueFull {
            self.queue.push_back(qos);
        }
    }

    /// Takes apart what was written: the releases due, then messages as places were free.
    fn read(&mut self, client: &mut Client, releases: &[u16]) {
        for packet_id in releases {
            let frame = take_packet(client);
            assert_eq!((frame[0], id_at(&frame, 2)), (PUBREL, *packet_id));
        }
        while self.inflight.len() < 3
            && let Some(qos) = self.queue.pop_front()
        {
            let frame = take_packet(client);
            assert_eq!(frame[0], 0x30 | qos.value() << 1);
            let awaited = if qos == QoS::AtLeastOnce {
                PUBACK
            } else {
                PUBREC
            };
            let before = self.inflight.insert(id_at(&frame, 5), awaited);
            assert_eq!(before, None, "an identifier in flight was used again");
        }
        assert!(client.out.is_empty(), "more than was due: {:?}", client.out);
    }
}

fn take_packet(client: &mut Client) -> Vec<u8> {
    let length = mqtt::whole_frame(&client.out, u32::MAX).unwrap().unwrap();
    client.out.split_to(length).to_vec()
}

fn id_at(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

proptest! {
    // MQTT-2.2.1-5, MQTT-4.3.3-9, MQTT-4.3.3-10, MQTT-4.3.3-11, MQTT-4.6.0-2, MQTT-4.6.0-3
    #[test]
    fn every_message_of_the_client_is_answered_once_and_in_order(
        version in any_version(),
        is_stored in any::<bool>(),
        steps in vec(any_heard(), 0..120),
    ) {
        let mut client = client_of(version, is_stored);
        let is_v5 = version == Version::V5;
        let mut receiver = Receiver { is_stored, is_v5, ..Default::default() };
        for heard in steps {
            receiver.hear(&mut client, heard);
        }
        while !receiver.unanswered.is_empty() {
            receiver.hear(&mut client, Heard::Answer(0));
        }
        for packet_id in 1..6 {
            receiver.hear(&mut client, Heard::Release(packet_id));
        }
        while !receiver.releasing.is_empty() {
            receiver.hear(&mut client, Heard::Released(0));
        }
        prop_assert!(receiver.received.is_empty());
        assert_at_rest(&client);
    }

    // MQTT-2.2.1-4, MQTT-3.3.4-9, MQTT-4.3.3-4, MQTT-4.3.3-6, MQTT-4.9.0-2
    #[test]
    fn every_message_to_the_client_is_sent_once_and_within_the_window(
        version in any_version(),
        steps in vec(any_said(), 0..120),
    ) {
        let mut client = client_of(version, false);
        let mut sender = Sender::default();
        for said in steps {
            sender.say(&mut client, said);
        }
        while let Some(awaited) = sender.inflight.values().next().copied() {
            sender.say(&mut client, Said::Ack(awaited, 0));
        }
        prop_assert!(sender.queue.is_empty());
        assert_at_rest(&client);
    }
}
