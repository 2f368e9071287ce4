//! What access rules cost a publisher: how long it takes to ask whether a message may be published,
//! when only the last of 0, 10 and 100 rules allows it, beside what a session does to take it at all.
//!
//! `cargo run --release -p server --example rules [seconds for each]`

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mqtt::{Accepted, Action, Limits, Session};
use server::accounts::Accounts;
use server::config::Config;
use topics::TopicName;

const TOPIC: &str = "fleet/alice/scooter-1/position";

fn main() {
    let secs = std::env::args().nth(1);
    let secs = secs.map_or(1.0, |secs| secs.parse().expect("seconds"));
    let each = Duration::from_secs_f64(secs);
    let mut publisher = Publisher::new();
    let taking = time_of(each, || publisher.publish());
    println!("taking a QoS 0 message of 100 bytes: {taking:.0} ns");
    println!("rules   plain: ns  part of taking   with names: ns  part of taking");
    for rules in [0, 10, 100] {
        let [plain, personal] = ["fleet/+/scooter-1/#", "fleet/{username}/{client_id}/#"]
            .map(|last| time_of_check(each, rules, last));
        println!(
            "{rules:5} {plain:12.1} {:15.3} {personal:16.1} {:15.3}",
            plain / taking,
            personal / taking
        );
    }
}

/// One check in nanoseconds, where the last rule has this filter and those before it have others like
/// it.
fn time_of_check(each: Duration, rules: usize, last: &str) -> f64 {
    let filters = (1..rules).map(|number| last.replacen("fleet", &format!("fleet-{number}"), 1));
    let filters = filters.chain((rules > 0).then(|| last.to_owned()));
    let rules: String = filters
        .map(|filter| format!("[[org.rule]]\neffect = \"allow\"\ntopics = [\"{filter}\"]\n"))
        .collect();
    let text = format!("[[org]]\nid = \"org\"\nopen_auth = true\n{rules}");
    let config = Config::from_text(&text, "the example", &HashMap::new()).expect("is valid");
    let accounts = Accounts::from_config(&config).expect("random numbers");
    let org = accounts.org_of_id("org").expect("is configured");
    let rules = accounts.session_rules(org, "alice", "scooter-1");
    time_of(each, || {
        let name = TopicName::parse(black_box(TOPIC)).expect("is a topic");
        let may = rules.as_ref().is_none_or(|rules| rules.may_publish(name));
        assert!(black_box(may));
    })
}

/// How many nanoseconds one call takes in the quickest thousand, which others on the machine have
/// disturbed least.
fn time_of(each: Duration, mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 1000;
    let mut quickest = Duration::MAX;
    let end = Instant::now() + each;
    while Instant::now() < end {
        let began = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        quickest = quickest.min(began.elapsed());
    }
    quickest.as_nanos() as f64 / f64::from(CALLS)
}

/// A client's session as an event loop drives it.
struct Publisher {
    session: Session,
    limits: Limits,
    out: BytesMut,
    frame: Vec<u8>,
}

impl Publisher {
    fn new() -> Self {
        let mut publisher = Self {
            session: Session::new(),
            limits: limits(),
            out: BytesMut::new(),
            frame: b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c".to_vec(),
        };
        assert!(matches!(publisher.take_frame(), Action::Open(_)));
        let Publisher {
            session,
            limits,
            out,
            ..
        } = &mut publisher;
        session.accept(&Accepted::default(), limits, out);
        let length = 2 + TOPIC.len() + 100;
        publisher.frame = vec![0x30, 0x80 | (length % 128) as u8, (length / 128) as u8];
        publisher.frame.extend((TOPIC.len() as u16).to_be_bytes());
        publisher.frame.extend(TOPIC.as_bytes());
        publisher.frame.extend([0; 100]);
        publisher
    }

    fn publish(&mut self) {
        assert!(matches!(black_box(self.take_frame()), Action::Publish(_)));
    }

    fn take_frame(&mut self) -> Action {
        let frame = BytesMut::from(&*self.frame);
        self.session
            .handle_frame(frame, 0, &self.limits, &mut self.out)
    }
}

fn limits() -> Limits {
    Limits {
        packet_bytes_max: 1 << 20,
        keep_alive_secs_max: 200,
        topic_levels_max: 128,
        receive_max: 64,
        inflight_max: 64,
        queue_messages_max: 1000,
        queue_bytes_max: 1 << 20,
        topic_alias_max: 0,
        topic_alias_sent_max: 0,
        session_expiry_secs_max: 0,
        retain_available: true,
        shared_available: true,
        subscription_ids_available: true,
        filters_per_packet_max: 100,
    }
}
