//! Any history of a publisher and a subscriber that come and go, of kills at any record, failing
//! disks and time: what was acknowledged arrives, at QoS 2 exactly once, in order.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{HOUR, House, LIMITS, WIDE};
use crate::{
    Answer, Attachment, Done, Letter, Limits, Publish, Push, Pushed, Quota, Request, Task, Writer,
};

#[derive(Clone, Debug)]
enum Op {
    /// Clients that are away connect, and for some rounds everybody does what there is to do.
    Converse(u8),
    /// A client connects, also when it believes it is connected.
    Connect(Who),
    /// A connection ends.
    Disconnect(Who),
    /// The publisher has something new to say, at this QoS.
    Write(u8),
    /// A client sends the next of what it has to send.
    Send,
    /// A client reads the next of what it was sent, and answers.
    Read(Who),
    /// The keeper takes what has come.
    Turn,
    /// Time passes, and the keeper does what it does by itself.
    Pass(u16),
    /// The process is killed while the first records of a batch are on the disk already.
    Kill(u8),
    /// An orderly stop and a start.
    Stop,
    /// The disk takes nothing, or takes again.
    Break(bool),
    /// SQLite's writer, which is slow, does what it was told to.
    WriterWrites,
    /// The keeper hears of it.
    WriterSays,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Publisher,
    Subscriber,
}

fn any_who() -> impl Strategy<Value = Who> {
    prop_oneof![Just(Who::Publisher), Just(Who::Subscriber)]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..6_u8).prop_map(Op::Converse),
        1 => any_who().prop_map(Op::Connect),
        1 => any_who().prop_map(Op::Disconnect),
        5 => (1..3_u8).prop_map(Op::Write),
        4 => Just(Op::Send),
        6 => any_who().prop_map(Op::Read),
        6 => Just(Op::Turn),
        1 => (0..400_u16).prop_map(Op::Pass),
        2 => any::<u8>().prop_map(Op::Kill),
        1 => Just(Op::Stop),
        1 => any::<bool>().prop_map(Op::Break),
        2 => Just(Op::WriterWrites),
        2 => Just(Op::WriterSays),
    ]
}

/// One message of the publisher on its way to the server.
struct Outgoing {
    packet_id: u16,
    number: usize,
    qos: u8,
    is_received: bool,
    is_sent: bool,
}

#[derive(Default)]
struct Line {
    attachment: Option<Attachment>,
    ticket: u32,
    inbox: VecDeque<Answer>,
}

/// What another thread does for the keeper.
#[derive(Default)]
struct Elsewhere {
    writer: Option<Writer>,
    task: Option<Task>,
    done: Option<Done>,
}

struct Model {
    house: House,
    elsewhere: Elsewhere,
    publisher: Line,
    subscriber: Line,
    outgoing: Vec<Outgoing>,
    /// The QoS of each message, by number.
    qos: Vec<u8>,
    /// What the server has acknowledged.
    acknowledged: BTreeSet<usize>,
    /// What was turned away for good.
    turned_away: BTreeSet<usize>,
    /// What the subscriber's application got, in order.
    got: Vec<usize>,
    /// QoS 2 identifiers that the subscriber has and the server has not released.
    held: BTreeSet<u16>,
}

impl Model {
    fn new() -> Self {
        let limits = Limits {
            window: 3,
            ..LIMITS
        };
        let quota = Quota {
            queue_bytes_max: 10_000,
            ..WIDE
        };
        let mut house = House::with(limits, quota);
        house.absent("s", "a/#");
        house.pass(60);
        Self {
            elsewhere: Elsewhere {
                writer: house.desk.take_writer(),
                ..Elsewhere::default()
            },
            house,
            publisher: Line::default(),
            subscriber: Line::default(),
            outgoing: Vec::new(),
            qos: Vec::new(),
            acknowledged: BTreeSet::new(),
            turned_away: BTreeSet::new(),
            got: Vec::new(),
            held: BTreeSet::new(),
        }
    }

    fn line(&mut self, who: Who) -> &mut Line {
        match who {
            Who::Publisher => &mut self.publisher,
            Who::Subscriber => &mut self.subscriber,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Converse(rounds) => {
                for who in [Who::Publisher, Who::Subscriber] {
                    if self.line(who).ticket == 0 {
                        self.connect(who);
                    }
                }
                self.converse(rounds.into());
            }
            Op::Connect(who) => self.connect(who),
            Op::Disconnect(who) => self.disconnect(who),
            Op::Write(qos) => self.write(qos),
            Op::Send => self.send(),
            Op::Read(Who::Publisher) => self.publisher_reads(),
            Op::Read(Who::Subscriber) => self.subscriber_reads(),
            Op::Turn => self.turn(),
            Op::Pass(ms) => {
                self.house.now_ms += u64::from(ms);
                self.turn();
                if ms > 300 {
                    self.house.desk.care(self.house.now_ms);
                    self.take_task();
                }
            }
            Op::Kill(count) => {
                self.house.desk.write_some(count.into());
                self.start();
            }
            Op::Stop => {
                self.writer_comes_back();
                let letters = self.house.desk.finish(self.house.now_ms);
                self.post(letters);
                self.start();
            }
            Op::Break(is_broken) => self.house.desk.break_log(is_broken),
            Op::WriterWrites => self.writer_writes(),
            Op::WriterSays => self.writer_says(),
        }
    }

    fn start(&mut self) {
        for who in [Who::Publisher, Who::Subscriber] {
            *self.line(who) = Line::default();
        }
        let letters = self.house.crash();
        self.elsewhere = Elsewhere {
            writer: self.house.desk.take_writer(),
            ..Elsewhere::default()
        };
        self.post(letters);
    }

    fn writer_writes(&mut self) {
        let elsewhere = &mut self.elsewhere;
        if elsewhere.done.is_none()
            && let (Some(writer), Some(task)) = (&mut elsewhere.writer, elsewhere.task.take())
        {
            elsewhere.done = Some(writer.run(task));
        }
    }

    fn writer_says(&mut self) {
        if let Some(done) = self.elsewhere.done.take() {
            self.house.desk.done(done, self.house.now_ms);
            self.take_task();
        }
    }

    fn take_task(&mut self) {
        if let Some(task) = self.house.desk.take_task() {
            assert!(self.elsewhere.task.is_none() && self.elsewhere.done.is_none());
            self.elsewhere.task = Some(task);
        }
    }

    fn writer_comes_back(&mut self) {
        // What the desk still holds is done when the writer is back.
        self.writer_writes();
        if let Some(done) = self.elsewhere.done.take() {
            self.house.desk.done(done, self.house.now_ms);
        }
        if let Some(writer) = self.elsewhere.writer.take() {
            self.house.desk.bring_writer(writer, self.house.now_ms);
        }
    }

    fn connect(&mut self, who: Who) {
        let name = match who {
            Who::Publisher => "p",
            Who::Subscriber => "s",
        };
        let wish = self.house.wish(name, HOUR);
        *self.line(who) = Line {
            ticket: wish.carrier.ticket,
            ..Line::default()
        };
        self.ask(Request::Attach(Box::new(wish)));
    }

    fn disconnect(&mut self, who: Who) {
        let line = std::mem::take(self.line(who));
        if let Some(attachment) = line.attachment {
            self.ask(Request::Detach(crate::Detach {
                attachment,
                expiry_secs: None,
                with_will: true,
            }));
        }
    }

    fn ask(&mut self, request: Request) {
        crate::Desk::arrives(&self.house.desk.directory(), &request);
        self.house.desk.handle(request, self.house.now_ms);
    }

    fn turn(&mut self) {
        let letters = self.house.desk.turn(self.house.now_ms);
        self.take_task();
        self.post(letters);
    }

    fn post(&mut self, letters: Vec<Letter>) {
        for (to, answer) in letters {
            for who in [Who::Publisher, Who::Subscriber] {
                let line = self.line(who);
                if to.is_some_and(|to| to.ticket == line.ticket) {
                    line.inbox.push_back(answer.clone());
                }
            }
        }
    }

    fn write(&mut self, qos: u8) {
        let free = (1..).find(|id| self.outgoing.iter().all(|other| other.packet_id != *id));
        self.outgoing.push(Outgoing {
            packet_id: free.unwrap(),
            number: self.qos.len(),
            qos,
            is_received: false,
            is_sent: false,
        });
        self.qos.push(qos);
    }

    // === the publisher ===

    fn send(&mut self) {
        let Some(attachment) = self.publisher.attachment else {
            return;
        };
        let Some(next) = self.outgoing.iter_mut().find(|message| !message.is_sent) else {
            return;
        };
        next.is_sent = true;
        let (packet_id, number, qos) = (next.packet_id, next.number, next.qos);
        if next.is_received {
            self.ask(Request::Release(attachment, packet_id));
            return;
        }
        let publish = self.house.publish_request("a/b", &number.to_string(), qos);
        let reply_to = publish.reply_to.map(|reply_to| crate::ReplyTo {
            packet_id,
            carrier: crate::Carrier {
                ticket: self.publisher.ticket,
                ..reply_to.carrier
            },
            qos,
            is_routed: false,
        });
        self.ask(Request::Publish(Box::new(Publish {
            received: (qos == 2).then_some((attachment, packet_id)),
            reply_to,
            ..publish
        })));
    }

    fn publisher_reads(&mut self) {
        let Some(answer) = self.publisher.inbox.pop_front() else {
            return;
        };
        match answer {
            Answer::Attached(attached) => {
                self.publisher.attachment = attached.attachment;
                // MQTT-4.4.0-1: what was not acknowledged is sent again, in order.
                for message in &mut self.outgoing {
                    message.is_sent = false;
                }
            }
            Answer::Refused(_) => self.publisher = Line::default(),
            Answer::Published {
                packet_id, outcome, ..
            } => self.published(packet_id, outcome.is_unavailable),
            Answer::Released(packet_id) => {
                self.outgoing
                    .retain(|message| message.packet_id != packet_id);
            }
            other => panic!("{other:?}"),
        }
    }

    fn published(&mut self, packet_id: u16, is_unavailable: bool) {
        let index = self
            .outgoing
            .iter()
            .position(|message| message.packet_id == packet_id);
        let message = &mut self.outgoing[index.expect("it is outstanding")];
        if is_unavailable {
            self.turned_away.insert(message.number);
            self.outgoing.remove(index.unwrap());
            return;
        }
        self.acknowledged.insert(message.number);
        match message.qos {
            1 => drop(self.outgoing.remove(index.unwrap())),
            _ => (message.is_received, message.is_sent) = (true, false),
        }
    }

    // === the subscriber ===

    fn subscriber_reads(&mut self) {
        let Some(answer) = self.subscriber.inbox.pop_front() else {
            return;
        };
        match answer {
            Answer::Attached(attached) => {
                assert!(attached.session_present);
                assert_eq!(attached.subscriptions.len(), 1);
                self.subscriber.attachment = attached.attachment;
                self.take(attached.window);
            }
            Answer::Refused(_) => self.subscriber = Line::default(),
            Answer::Push(window) => self.take(window),
            Answer::Release(packet_id) => self.released(packet_id),
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self, window: Vec<Push>) {
        assert!(window.len() <= 3, "a window is what it is");
        let attachment = self.subscriber.attachment.expect("it is attached");
        for Push { packet_id, what } in window {
            match what {
                Pushed::Release => self.released(packet_id),
                Pushed::Publish { body, qos, dup, .. } => {
                    let number = str::from_utf8(&body).unwrap().parse().unwrap();
                    let is_known = qos == 2 && self.held.contains(&packet_id);
                    assert!(dup || !is_known, "it would be taken for a new message");
                    if !is_known {
                        self.got.push(number);
                    }
                    if qos == 2 {
                        self.held.insert(packet_id);
                        self.ask(Request::Received(attachment, packet_id));
                    } else {
                        self.ask(Request::Acknowledged(attachment, packet_id));
                    }
                }
            }
        }
    }

    fn released(&mut self, packet_id: u16) {
        self.held.remove(&packet_id);
        if let Some(attachment) = self.subscriber.attachment {
            self.ask(Request::Acknowledged(attachment, packet_id));
        }
    }

    // === all of them ===

    fn converse(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.turn();
            self.publisher_reads();
            self.subscriber_reads();
            self.send();
        }
    }

    fn settle(&mut self) {
        self.writer_comes_back();
        self.house.desk.break_log(false);
        self.house.now_ms += 2_000;
        self.turn();
        self.connect(Who::Publisher);
        self.connect(Who::Subscriber);
        self.converse(20 * (self.qos.len() + 3));
        self.house.now_ms += 1_000;
        self.turn();
        assert_eq!(self.outgoing.len(), 0, "all is acknowledged in the end");
        assert_eq!(self.house.desk.waiting(), (0, 0), "nothing waits");
        self.house.now_ms += 1_000;
        self.turn();
        for table in ["messages", "queue"] {
            let connection = self.house.desk.writer().connection();
            let count = format!("SELECT count(*) FROM {table}");
            let rows: i64 = connection.query_row(&count, (), |row| row.get(0)).unwrap();
            assert_eq!(rows, 0, "{table} keeps what nobody needs");
        }
    }

    fn check(&self) {
        for (number, qos) in self.qos.iter().enumerate() {
            let times = self.got.iter().filter(|got| **got == number).count();
            let is_acknowledged = self.acknowledged.contains(&number);
            assert!(times > 0 || !is_acknowledged, "message {number} is lost");
            assert!(
                times < 2 || *qos == 1,
                "message {number} came {times} times"
            );
            assert!(
                is_acknowledged || self.turned_away.contains(&number),
                "message {number} was neither acknowledged nor turned away"
            );
        }
        // MQTT-4.6.0-2, MQTT-4.6.0-3: in order, as they first came.
        for qos in [1, 2] {
            let mut first = Vec::new();
            for number in self.got.iter().filter(|number| self.qos[**number] == qos) {
                if !first.contains(number) {
                    first.push(*number);
                }
            }
            assert!(first.is_sorted(), "{first:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_was_acknowledged_arrives_and_at_qos_2_once(
        ops in proptest::collection::vec(any_op(), 1..150)
    ) {
        let mut model = Model::new();
        for op in ops {
            model.apply(op);
        }
        model.settle();
        model.check();
    }
}
