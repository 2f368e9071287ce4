//! Packet identifiers, and the counts at the front.

use proptest::prelude::*;

use super::*;

fn push(queue: &mut Queue, message: u64) -> u16 {
    let packet_id = queue.next_packet_id();
    queue.push(Entry {
        message,
        packet_id,
        qos: 2,
        retain: false,
        stage: Stage::Publish,
        bytes: 3,
        is_on_disk: false,
        subscription_ids: [].into(),
    });
    packet_id
}

// MQTT-2.2.1-4
#[test]
fn identifiers_go_round_and_leave_out_those_in_use() {
    let mut queue = Queue::default();
    assert_eq!(push(&mut queue, 0), 1);
    for n in 0..70_000 {
        let packet_id = push(&mut queue, n + 1);
        assert_eq!(u64::from(packet_id), n % 65_534 + 2, "1 is in use");
        queue.remove(packet_id);
    }
    queue.remove(1);
    while queue.last_packet_id != u16::MAX {
        let packet_id = push(&mut queue, 0);
        queue.remove(packet_id);
    }
    assert_eq!(push(&mut queue, 0), 1, "1 is free again");
}

// MQTT-2.2.1-4, MQTT-4.3.2-1, MQTT-4.3.3-1
#[test]
fn an_identifier_in_use_is_left_out_in_every_round_and_after_a_restart() {
    let mut queue = Queue::default();
    for n in 0..5 {
        push(&mut queue, n);
    }
    for packet_id in [1, 2, 4, 5] {
        queue.remove(packet_id);
    }
    for n in 0..70_000 {
        let packet_id = push(&mut queue, n);
        assert_ne!(packet_id, 3, "message {n}");
        queue.remove(packet_id);
    }
    let entries = queue.entries().cloned().collect();
    let restored = Queue::restored(entries, 0, 2);
    assert_eq!(restored.next_packet_id(), 4);
}

#[derive(Clone, Debug)]
enum Op {
    Push,
    Send,
    Remove(usize),
    Release(usize),
    Reconnect,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Push),
        3 => Just(Op::Send),
        2 => any::<usize>().prop_map(Op::Remove),
        1 => any::<usize>().prop_map(Op::Release),
        1 => Just(Op::Reconnect),
    ]
}

/// What one entry has come to, by a plainer reading.
struct Known {
    packet_id: u16,
    was_sent: bool,
    is_sent_now: bool,
}

proptest! {
    #[test]
    fn what_was_sent_is_known_of_every_entry(ops in proptest::collection::vec(any_op(), 1..200)) {
        let (mut queue, mut known, mut made) = (Queue::default(), Vec::<Known>::new(), 0);
        for op in ops {
            match op {
                Op::Push => {
                    let packet_id = push(&mut queue, made);
                    made += 1;
                    prop_assert!(known.iter().all(|known| known.packet_id != packet_id));
                    known.push(Known { packet_id, was_sent: false, is_sent_now: false });
                }
                Op::Send => {
                    let due = queue.due(4).map(|(entry, dup)| (entry.packet_id, dup));
                    let sent = known.iter().filter(|known| known.is_sent_now).count();
                    let next = known.iter_mut().find(|known| !known.is_sent_now);
                    match next.filter(|_| sent < 4) {
                        None => prop_assert_eq!(due, None),
                        Some(next) => {
                            prop_assert_eq!(due, Some((next.packet_id, next.was_sent)));
                            queue.pushed();
                            (next.was_sent, next.is_sent_now) = (true, true);
                        }
                    }
                }
                Op::Remove(pick) if !known.is_empty() => {
                    let gone = known.remove(pick % known.len());
                    prop_assert!(queue.remove(gone.packet_id).is_some());
                    prop_assert!(queue.remove(gone.packet_id).is_none());
                }
                Op::Release(pick) if !known.is_empty() => {
                    let packet_id = known[pick % known.len()].packet_id;
                    queue.release(packet_id);
                    prop_assert_eq!(queue.release(packet_id), None, "once");
                }
                Op::Remove(_) | Op::Release(_) => {}
                Op::Reconnect => {
                    queue.rewind();
                    known.iter_mut().for_each(|known| known.is_sent_now = false);
                }
            }
            let bytes = queue.entries().filter(|entry| entry.stage == Stage::Publish).count() * 3;
            prop_assert_eq!(queue.bytes(), bytes as u64);
            prop_assert_eq!(queue.len(), known.len());
        }
    }
}
