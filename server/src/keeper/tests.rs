//! The thread itself: asked from several others, answering by mail, killed and started again.

#[path = "../../../messages/src/testing/connection.rs"]
mod connection;
#[path = "../../../messages/src/testing/dir.rs"]
mod dir;

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use messages::{
    Answer, Attach, Attached, Attachment, Carrier, Desk, Detach, Letter, Limits, Message, NEVER,
    Publish, Pushed, Quota, ReplyTo, Request, Retain, RetainHandling, Settings, Subscribe,
    Subscription, To, Wanted, Will,
};
use presence::Org;
use prometheus_client::registry::Registry;
use topics::TopicName;

use connection::connection;
use dir::Dir;

use super::{Busy, Keeper, KeeperMetrics, KeeperThread, Mail, Prepared, QueueLimits, prepare};
use crate::accounts::Accounts;
use crate::clock::unix_ms;
use crate::config::Config;

/// Longer than any sync takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Post(Sender<Letter>);

impl Mail for Post {
    fn post(&mut self, letters: Vec<Letter>) {
        for letter in letters {
            // A test that has seen enough hangs up.
            let _ = self.0.send(letter);
        }
    }
}

fn ready(dir: &Path, requests_max: usize) -> Prepared {
    let settings = Settings {
        limits: Limits {
            sessions_max: 1_000,
            window: 8,
            memory_bytes_max: 1 << 24,
            subscriptions_waiting_max: 8,
        },
        segment_bytes: 1 << 20,
    };
    let quota = Quota {
        queue_messages_max: 10_000,
        queue_bytes_max: 1 << 20,
        retained_max: 100,
        retained_bytes_max: 1 << 20,
    };
    let desk = Desk::open(dir, settings, &[("acme", quota)], unix_ms()).unwrap();
    let limits = QueueLimits {
        requests_max,
        bytes_max: 1 << 20,
    };
    prepare(desk, limits, KeeperMetrics::default())
}

struct Running {
    keeper: Keeper,
    letters: Receiver<Letter>,
    thread: KeeperThread,
}

fn start(dir: &Path) -> Running {
    let prepared = ready(dir, 1 << 16);
    let (post, letters) = channel();
    Running {
        keeper: prepared.keeper(),
        letters,
        thread: prepared.start(Box::new(Post(post))).unwrap(),
    }
}

fn carrier(ticket: u32) -> Carrier {
    connection(&Org::new("acme"), ticket)
}

fn attach(client_id: &str, will: Option<Box<Will>>) -> Request {
    Request::Attach(Box::new(Attach {
        org: "acme".into(),
        client_id: client_id.into(),
        username: "alice".into(),
        clean_start: false,
        expiry_secs: NEVER,
        carrier: carrier(1),
        will,
        permit: None,
    }))
}

fn message(body: &str) -> Message {
    Message {
        topic: "a/b".into(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        qos: 1,
        at_ms: unix_ms(),
        expires_at_ms: None,
    }
}

impl Running {
    fn attach(&self, client_id: &str, will: Option<Box<Will>>) -> Attached {
        self.keeper.ask(attach(client_id, will)).unwrap();
        loop {
            if let Answer::Attached(attached) = self.next() {
                return *attached;
            }
        }
    }

    /// The next answer to anybody.
    fn next(&self) -> Answer {
        self.letters.recv_timeout(PATIENCE).expect("an answer").1
    }

    /// A client that is subscribed to a/# and away.
    fn absent(&self, client_id: &str) {
        let attachment = self.attach(client_id, None).attachment.unwrap();
        let wanted = Wanted {
            filter: "a/#".into(),
            subscription: Subscription {
                options: 1,
                id: None,
            },
            qos: 1,
            retained: RetainHandling::Never,
        };
        let subscribe = Subscribe {
            attachment,
            packet_id: 1,
            wanted: vec![wanted],
            subscriptions_max: 10,
        };
        self.keeper.ask(Request::Subscribe(subscribe)).unwrap();
        assert_eq!(self.next(), Answer::Subscribed(1, vec![Ok(true)]));
        self.detach(attachment, false);
    }

    fn detach(&self, attachment: Attachment, with_will: bool) {
        let detach = Detach {
            attachment,
            expiry_secs: None,
            with_will,
        };
        self.keeper.ask(Request::Detach(detach)).unwrap();
    }
}

fn publish(keeper: &Keeper, body: &str, packet_id: u16) -> Result<(), Busy> {
    let mut found = Vec::new();
    let topic = TopicName::parse("a/b").unwrap();
    keeper.directory().org("acme").recipients(topic, &mut found);
    keeper.ask(Request::Publish(Box::new(Publish {
        org: "acme".into(),
        message: message(body),
        received: None,
        will: None,
        retain: Retain::No,
        targets: found
            .iter()
            .map(|found| To {
                session: found.session,
                qos: 1,
                retain: false,
                subscription_ids: [].into(),
            })
            .collect(),
        reply_to: Some(ReplyTo {
            carrier: carrier(2),
            packet_id,
            qos: 1,
            is_routed: false,
        }),
        held_back: None,
    })))
}

fn bodies(attached: &Attached) -> Vec<String> {
    let bodies = attached.window.iter().map(|push| match &push.what {
        Pushed::Publish { body, .. } => str::from_utf8(body).unwrap().to_owned(),
        Pushed::Release => panic!("nothing was received"),
    });
    bodies.collect()
}

#[test]
fn what_was_answered_survives_a_kill() {
    let dir = Dir::new();
    let running = start(dir.path());
    running.absent("c");
    for n in 0..5 {
        publish(&running.keeper, &format!("m{n}"), n).unwrap();
        assert!(matches!(running.next(), Answer::Published { packet_id, .. } if packet_id == n));
    }
    // The answers are out: whatever is on the disk now must do.
    // SQLite is as it was at the last orderly stop.
    let left = dir.copy(|path| path.extension().is_some_and(|end| end == "log"));
    let next = start(left.path());
    assert!(next.keeper.directory().org("acme").knows("c"));
    let attached = next.attach("c", None);
    assert_eq!(bodies(&attached), ["m0", "m1", "m2", "m3", "m4"]);
    next.thread.finish();
    running.thread.finish();
}

#[test]
fn what_the_configuration_says_is_opened_for_its_owner_only_and_counted() {
    use std::os::unix::fs::PermissionsExt;

    let dir = Dir::new();
    let mut registry = Registry::default();
    let prepared = open_as(&dir, "", &mut registry);
    let (post, letters) = channel();
    let running = Running {
        keeper: prepared.keeper(),
        letters,
        thread: prepared.start(Box::new(Post(post))).unwrap(),
    };
    running.absent("c");
    running.thread.finish();
    let mode = |name: &str| {
        let file = std::fs::metadata(dir.path().join(name)).unwrap();
        file.permissions().mode() & 0o777
    };
    assert_eq!(mode("messages"), 0o700);
    assert_eq!(mode("messages/messages.sqlite"), 0o600);
    assert_eq!(mode("messages/0000000000.log"), 0o600);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "messages_sessions_stored 1",
        "messages_sessions_away 1",
        "messages_subscriptions_stored 1",
        "messages_queued_total 0",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

/// Opens what acme, with this table of its quota, has in `dir`.
fn open_as(dir: &Dir, quota: &str, registry: &mut Registry) -> Prepared {
    let text = format!(
        r#"
[[org]]
id = "acme"
secret_keys = ["sk_test_0123456789abcdef0123456789abcdef"]
open_auth = true
{quota}
"#
    );
    let config = Config::from_text(&text, "t.toml", &HashMap::new()).unwrap();
    let accounts = Accounts::from_config(&config).unwrap();
    super::open(dir.path(), &config, &accounts, registry).unwrap()
}

#[test]
fn an_organisation_may_keep_what_its_quota_says() {
    let dir = Dir::new();
    let quota = "[org.quota]\nqueue_messages_max = 2";
    let prepared = open_as(&dir, quota, &mut Registry::default());
    let (post, letters) = channel();
    let running = Running {
        keeper: prepared.keeper(),
        letters,
        thread: prepared.start(Box::new(Post(post))).unwrap(),
    };
    running.absent("c");
    let full: Vec<_> = (1..=3)
        .map(|n| {
            publish(&running.keeper, "m", n).unwrap();
            match running.next() {
                Answer::Published { outcome, .. } => outcome.full,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(full, [0, 0, 1]);
    running.thread.finish();
}

#[test]
fn an_orderly_stop_does_what_waits_and_leaves_all_to_the_next_start() {
    let dir = Dir::new();
    let running = start(dir.path());
    running.absent("c");
    publish(&running.keeper, "m", 1).unwrap();
    running.thread.finish();
    assert!(matches!(
        running.letters.recv().unwrap().1,
        Answer::Published { .. }
    ));
    assert_eq!(publish(&running.keeper, "too late", 2), Err(Busy));
    let next = start(dir.path());
    assert_eq!(bodies(&next.attach("c", None)), ["m"]);
    next.thread.finish();
}

#[test]
fn messages_of_one_loop_keep_their_order_though_several_ask() {
    const LOOPS: u16 = 4;
    const EACH: u16 = 200;
    let dir = Dir::new();
    let running = start(dir.path());
    running.absent("c");
    std::thread::scope(|scope| {
        for number in 0..LOOPS {
            let keeper = running.keeper.clone();
            scope.spawn(move || {
                for n in 0..EACH {
                    publish(&keeper, &format!("{number} {n}"), n).unwrap();
                }
            });
        }
    });
    for _ in 0..LOOPS * EACH {
        assert!(matches!(running.next(), Answer::Published { outcome, .. } if outcome.queued == 1));
    }
    let attached = running.attach("c", None);
    let attachment = attached.attachment.unwrap();
    let mut next = [0; LOOPS as usize];
    let mut waiting = attached.window;
    for _ in 0..LOOPS * EACH {
        if waiting.is_empty() {
            match running.next() {
                Answer::Push(pushes) => waiting = pushes,
                other => panic!("{other:?}"),
            }
        }
        let push = waiting.remove(0);
        let Pushed::Publish { body, .. } = &push.what else {
            panic!("{push:?}");
        };
        let (number, n) = str::from_utf8(body).unwrap().split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        assert_eq!(n.parse(), Ok(next[number]));
        next[number] += 1;
        let done = Request::Acknowledged(attachment, push.packet_id);
        running.keeper.ask(done).unwrap();
    }
    assert_eq!(next, [EACH; LOOPS as usize]);
    running.thread.finish();
}

#[test]
fn a_full_queue_takes_what_ends_something_and_nothing_else() {
    let dir = Dir::new();
    let prepared = ready(dir.path(), 2);
    let keeper = prepared.keeper();
    for n in 0..2 {
        keeper.ask(attach(&format!("c{n}"), None)).unwrap();
    }
    assert_eq!(keeper.ask(attach("c2", None)), Err(Busy));
    assert_eq!(publish(&keeper, "m", 1), Err(Busy));
    assert_eq!(keeper.metrics.refused.get(), 2);
    let org = keeper.directory().org("acme");
    assert!(org.knows("c1") && !org.knows("c2"));
    let attachment = Attachment {
        session: messages::StoredRef(1),
        number: 1,
    };
    keeper.ask(Request::Acknowledged(attachment, 1)).unwrap();
    let (post, letters) = channel();
    let thread = prepared.start(Box::new(Post(post))).unwrap();
    for _ in 0..2 {
        let letter = letters.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(letter.1, Answer::Attached(_)));
    }
    thread.finish();
}

#[test]
fn a_will_comes_out_of_the_clock_without_anybody_asking() {
    let dir = Dir::new();
    let running = start(dir.path());
    let will = Will {
        delay_secs: 1,
        retain: false,
        message: message("gone"),
    };
    let attached = running.attach("w", Some(Box::new(will)));
    running.detach(attached.attachment.unwrap(), true);
    let letter = running.letters.recv_timeout(PATIENCE).unwrap();
    assert_eq!(letter.0, None, "any event loop may publish it");
    assert!(matches!(letter.1, Answer::Will { id, .. } if Some(id) == attached.attachment));
    running.thread.finish();
}
