//! What it costs to keep messages, with SQLite on a thread of its own as in the server: QoS 1 to stored
//! sessions that are away, durable before each answer, from 1, 64 and 1,000 publishers that each wait
//! for their answer.
//!
//! `cargo run --release -p messages --example keep [seconds for each [directory]]`

#[path = "../src/testing/connection.rs"]
mod connection;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use messages::{
    Answer, Attach, Carrier, Desk, Detach, Done, Letter, Limits, Message, NEVER, Publish, Quota,
    ReplyTo, Request, Retain, RetainHandling, Settings, Subscribe, Subscription, Task, To, Wanted,
};
use presence::Org;

use connection::connection;

/// Sessions that the messages go to in turn, one each.
const SESSIONS: usize = 1_000;

const BODY_BYTES: usize = 200;

fn main() {
    let mut args = std::env::args().skip(1);
    let secs = args.next().map_or(5, |secs| secs.parse().expect("seconds"));
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("whosthere-keep-{}", std::process::id()));
    println!("publishers  messages/s  CPU us/message  answer ms: p50    p99    worst");
    for publishers in [1, 64, 1_000] {
        std::fs::create_dir_all(&dir).expect("a directory");
        let measured = Run::new(&dir).publish(publishers, Duration::from_secs(secs));
        println!("{publishers:10}  {measured}");
        std::fs::remove_dir_all(&dir).expect("is removed");
    }
}

struct Run {
    desk: Desk,
    tasks: Sender<Task>,
    done: Receiver<Done>,
    began: Instant,
    carrier: Carrier,
    sessions: Vec<messages::StoredRef>,
}

impl Run {
    fn new(dir: &Path) -> Self {
        let quota = Quota {
            queue_messages_max: 60_000,
            queue_bytes_max: 1 << 30,
            retained_max: 0,
            retained_bytes_max: 0,
        };
        let settings = Settings {
            limits: Limits {
                sessions_max: SESSIONS,
                window: 64,
                memory_bytes_max: 64 << 20,
                subscriptions_waiting_max: 1,
            },
            segment_bytes: 64 << 20,
        };
        let mut desk = Desk::open(dir, settings, &[("acme", quota)], 1).expect("opens");
        let mut writer = desk.take_writer().expect("is here");
        let (tasks, to_do) = channel();
        let (say, done) = channel();
        std::thread::spawn(move || {
            for task in to_do {
                if say.send(writer.run(task)).is_err() {
                    break;
                }
            }
        });
        let mut run = Self {
            desk,
            tasks,
            done,
            began: Instant::now(),
            carrier: connection(&Org::new("acme"), 1),
            sessions: Vec::new(),
        };
        for number in 0..SESSIONS {
            run.make_session(number);
        }
        run
    }

    fn now_ms(&self) -> u64 {
        1 + self.began.elapsed().as_millis() as u64
    }

    fn ask(&mut self, request: Request) {
        Desk::arrives(&self.desk.directory(), &request);
        let now_ms = self.now_ms();
        self.desk.handle(request, now_ms);
    }

    fn turn(&mut self) -> Vec<Letter> {
        let now_ms = self.now_ms();
        loop {
            let done = match self.desk.is_far_behind() {
                true => self.done.recv().ok(),
                false => self.done.try_recv().ok(),
            };
            let Some(done) = done else { break };
            self.desk.done(done, now_ms);
            self.tell_writer();
        }
        let letters = self.desk.turn(now_ms);
        self.tell_writer();
        letters
    }

    fn tell_writer(&mut self) {
        if let Some(task) = self.desk.take_task() {
            self.tasks.send(task).expect("the writer lives");
        }
    }

    /// A stored session whose client is away.
    fn make_session(&mut self, number: usize) {
        self.ask(Request::Attach(Box::new(Attach {
            org: "acme".into(),
            client_id: format!("c{number}").into(),
            username: "alice".into(),
            clean_start: false,
            expiry_secs: NEVER,
            carrier: self.carrier,
            will: None,
            permit: None,
        })));
        let answers = self.turn().into_iter().map(|(_, answer)| answer);
        let attachment = answers.into_iter().find_map(|answer| match answer {
            Answer::Attached(attached) => attached.attachment,
            _ => None,
        });
        let attachment = attachment.expect("is stored");
        self.ask(Request::Subscribe(Subscribe {
            attachment,
            packet_id: 1,
            wanted: vec![Wanted {
                filter: format!("to/{number}").into(),
                subscription: Subscription {
                    options: 1,
                    id: None,
                },
                qos: 1,
                retained: RetainHandling::Never,
            }],
            subscriptions_max: 1,
        }));
        self.ask(Request::Detach(Detach {
            attachment,
            expiry_secs: None,
            with_will: false,
        }));
        self.sessions.push(attachment.session);
    }

    /// Each publisher sends its next message when it has the answer to the last: all come together.
    fn publish(mut self, publishers: usize, time: Duration) -> String {
        self.turn();
        let (began, cpu) = (Instant::now(), cpu_time());
        let mut turns = Vec::new();
        let mut sent = 0;
        while began.elapsed() < time {
            let turn_began = Instant::now();
            for _ in 0..publishers {
                let session = self.sessions[sent % SESSIONS];
                let request = self.message(session, sent % SESSIONS);
                self.ask(request);
                sent += 1;
            }
            let mut answered = 0;
            while answered < publishers {
                for (_, answer) in self.turn() {
                    if let Answer::Published { outcome, .. } = answer {
                        assert_eq!(outcome.queued, 1, "{outcome:?}");
                        answered += 1;
                    }
                }
            }
            turns.push(turn_began.elapsed());
        }
        let (elapsed, cpu) = (began.elapsed(), cpu_time() - cpu);
        turns.sort();
        let ms = |part: usize| turns[(turns.len() - 1) * part / 1_000].as_secs_f64() * 1e3;
        format!(
            "{:10.0}  {:14.1}  {:14.2} {:6.2} {:8.2}",
            sent as f64 / elapsed.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / sent as f64,
            ms(500),
            ms(990),
            ms(1_000),
        )
    }

    fn message(&self, session: messages::StoredRef, number: usize) -> Request {
        Request::Publish(Box::new(Publish {
            org: "acme".into(),
            message: Message {
                topic: format!("to/{number}").into(),
                body: Bytes::from(vec![7; BODY_BYTES]),
                qos: 1,
                at_ms: self.now_ms(),
                expires_at_ms: None,
            },
            received: None,
            will: None,
            retain: Retain::No,
            targets: vec![To {
                session,
                qos: 1,
                retain: false,
                subscription_ids: [].into(),
            }],
            reply_to: Some(ReplyTo {
                carrier: self.carrier,
                packet_id: 1,
                qos: 1,
                is_routed: false,
            }),
            held_back: None,
        }))
    }
}

/// What this process has used of all cores, to the hundredth of a second.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name of the program may hold anything, but it ends with the last parenthesis.
    let fields = stat.rsplit(')').next().expect("fields");
    let fields = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields
        .map(|ticks| ticks.parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(ticks * 10)
}
