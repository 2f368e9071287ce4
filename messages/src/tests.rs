//! Stories of stored sessions on a real log and a real SQLite file, with time by hand.

mod attaching;
mod delivering;
mod disk;
mod model;

mod publishing;
mod retaining;
mod wills;

use bytes::Bytes;
use presence::Org;
use topics::TopicName;

use crate::testing::connection::connection;
use crate::testing::dir::Dir;
use crate::{
    Answer, Attach, Attached, Attachment, Carrier, Desk, Detach, Kept, Letter, Limits, Message,
    Outcome, Publish, Push, Pushed, Quota, ReplyTo, Request, Retain, RetainHandling, Settings,
    StoredRef, Subscribe, Subscription, To, Wanted, Will,
};

const LIMITS: Limits = Limits {
    sessions_max: 100,
    window: 4,
    memory_bytes_max: 1 << 20,
    subscriptions_waiting_max: 16,
};

const QUOTA: Quota = Quota {
    queue_messages_max: 20,
    queue_bytes_max: 10_000,
    retained_max: 50,
    retained_bytes_max: 10_000,
};

/// Of acme, where a test is about something else.
const WIDE: Quota = Quota {
    queue_messages_max: 1_000,
    queue_bytes_max: 1 << 20,
    ..QUOTA
};

const ORGS: [&str; 2] = ["acme", "other"];

/// An hour.
const HOUR: u32 = 3_600;

/// A server's worth of messages, its clock, and connections that are numbers.
pub(super) struct House {
    pub(super) dir: Dir,
    pub(super) desk: Desk,
    pub(super) now_ms: u64,
    pub(super) limits: Limits,
    quota: Quota,
    presence: Org,
    tickets: u32,
}

impl House {
    pub(super) fn new() -> Self {
        Self::with(LIMITS, QUOTA)
    }

    /// `quota` is what acme may have.
    pub(super) fn with(limits: Limits, quota: Quota) -> Self {
        let orgs = [(ORGS[0], quota), (ORGS[1], QUOTA)];
        Self::open(Dir::new(), limits, &orgs, 1_000_000).0
    }

    fn open(dir: Dir, limits: Limits, orgs: &[(&str, Quota)], now_ms: u64) -> (Self, Vec<Letter>) {
        let settings = Settings {
            limits,
            segment_bytes: 2_000,
        };
        let mut desk = Desk::open(dir.path(), settings, orgs, now_ms).expect("opens");
        let letters = desk.turn(now_ms);
        let house = Self {
            dir,
            desk,
            now_ms,
            limits,
            quota: orgs.first().map_or(QUOTA, |(_, quota)| *quota),
            presence: Org::new("acme"),
            tickets: 0,
        };
        (house, letters)
    }

    /// Kills the server and starts the next; answers what it says by itself.
    pub(super) fn crash(&mut self) -> Vec<Letter> {
        self.crash_with(&ORGS)
    }

    /// As [`crash`](Self::crash), and the next server has these organisations.
    pub(super) fn crash_with(&mut self, orgs: &[&str]) -> Vec<Letter> {
        let orgs: Vec<_> = orgs.iter().map(|id| (*id, self.quota)).collect();
        let (house, letters) = Self::open(self.dir.copy(|_| true), self.limits, &orgs, self.now_ms);
        *self = house;
        letters
    }

    pub(super) fn stop_and_start(&mut self) -> Vec<Letter> {
        self.desk.finish(self.now_ms);
        self.crash()
    }

    pub(super) fn pass(&mut self, ms: u64) -> Vec<Letter> {
        self.now_ms += ms;
        self.desk.turn(self.now_ms)
    }

    pub(super) fn ask(&mut self, request: Request) -> Vec<Letter> {
        Desk::arrives(&self.desk.directory(), &request);
        self.desk.handle(request, self.now_ms);
        self.desk.turn(self.now_ms)
    }

    pub(super) fn kept(&self) -> std::sync::Arc<Kept> {
        self.desk.directory().org("acme")
    }

    /// A new connection, and the session that `presence` has for it.
    pub(super) fn carrier(&mut self) -> Carrier {
        self.tickets += 1;
        connection(&self.presence, self.tickets)
    }

    pub(super) fn attach_as(&mut self, attach: Attach) -> Attached {
        let letters = self.ask(Request::Attach(Box::new(attach)));
        let found = letters.into_iter().find_map(|(_, answer)| match answer {
            Answer::Attached(attached) => Some(*attached),
            _ => None,
        });
        found.expect("is attached")
    }

    /// A connection of alice under this client id, without a clean start.
    pub(super) fn wish(&mut self, client_id: &str, expiry_secs: u32) -> Attach {
        Attach {
            org: "acme".into(),
            client_id: client_id.into(),
            username: "alice".into(),
            clean_start: false,
            expiry_secs,
            carrier: self.carrier(),
            will: None,
            permit: None,
        }
    }

    pub(super) fn attach(&mut self, client_id: &str) -> Attached {
        let wish = self.wish(client_id, HOUR);
        self.attach_as(wish)
    }

    /// Attaches and subscribes to `filter` at QoS 2, and goes away.
    pub(super) fn absent(&mut self, client_id: &str, filter: &str) -> StoredRef {
        let attachment = self.attach(client_id).attachment.unwrap();
        self.subscribe(attachment, filter, 2, RetainHandling::Never);
        self.detach(attachment, true);
        attachment.session
    }

    pub(super) fn subscribe(
        &mut self,
        attachment: Attachment,
        filter: &str,
        qos: u8,
        retained: RetainHandling,
    ) -> Vec<Letter> {
        self.ask(Request::Subscribe(Subscribe {
            attachment,
            packet_id: 1,
            wanted: vec![Wanted {
                filter: filter.into(),
                subscription: Subscription {
                    options: qos,
                    id: None,
                },
                qos,
                retained,
            }],
            subscriptions_max: 10,
        }))
    }

    pub(super) fn detach(&mut self, attachment: Attachment, with_will: bool) -> Vec<Letter> {
        self.ask(Request::Detach(Detach {
            attachment,
            expiry_secs: None,
            with_will,
        }))
    }

    /// What an event loop makes of a PUBLISH: a request with the recipients of now.
    pub(super) fn publish_request(&mut self, topic: &str, body: &str, qos: u8) -> Publish {
        let mut found = Vec::new();
        self.kept()
            .recipients(TopicName::parse(topic).unwrap(), &mut found);
        let targets = found.iter().map(|recipient| To {
            session: recipient.session,
            qos: qos.min(recipient.subscription.options),
            retain: false,
            subscription_ids: recipient.subscription.id.into_iter().collect(),
        });
        Publish {
            org: "acme".into(),
            message: self.message(topic, body, qos),
            received: None,
            will: None,
            retain: Retain::No,
            targets: targets.filter(|to| to.qos > 0).collect(),
            reply_to: Some(ReplyTo {
                carrier: self.carrier(),
                packet_id: 9,
                qos,
                is_routed: false,
            }),
            held_back: None,
        }
    }

    pub(super) fn message(&self, topic: &str, body: &str, qos: u8) -> Message {
        Message {
            topic: topic.into(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            qos,
            at_ms: self.now_ms,
            expires_at_ms: None,
        }
    }

    pub(super) fn publish(&mut self, topic: &str, body: &str, qos: u8) -> (Outcome, Vec<Push>) {
        let request = self.publish_request(topic, body, qos);
        self.publish_as(request)
    }

    pub(super) fn publish_as(&mut self, publish: Publish) -> (Outcome, Vec<Push>) {
        let letters = self.ask(Request::Publish(Box::new(publish)));
        let outcome = letters.iter().find_map(|(_, answer)| match answer {
            Answer::Published { outcome, .. } => Some(*outcome),
            _ => None,
        });
        (outcome.expect("is answered"), pushes(letters))
    }

    pub(super) fn retain(&mut self, topic: &str, body: &str) -> Outcome {
        let mut request = self.publish_request(topic, body, 1);
        request.retain = match body {
            "" => Retain::Clear,
            _ => Retain::Set,
        };
        self.publish_as(request).0
    }

    pub(super) fn acknowledge(&mut self, attachment: Attachment, packet_id: u16) -> Vec<Push> {
        pushes(self.ask(Request::Acknowledged(attachment, packet_id)))
    }
}

pub(super) fn pushes(letters: Vec<Letter>) -> Vec<Push> {
    let pushes = letters.into_iter().filter_map(|(_, answer)| match answer {
        Answer::Push(pushes) => Some(pushes),
        _ => None,
    });
    pushes.flatten().collect()
}

/// A push in short: "3 a" is the message `a` under identifier 3, "3 a dup" the same again, and
/// "3 release" PUBREL.
pub(super) fn short(pushes: &[Push]) -> Vec<String> {
    let short = |push: &Push| match &push.what {
        Pushed::Release => format!("{} release", push.packet_id),
        Pushed::Publish { body, dup, .. } => {
            let body = str::from_utf8(body).unwrap();
            let dup = if *dup { " dup" } else { "" };
            format!("{} {body}{dup}", push.packet_id)
        }
    };
    pushes.iter().map(short).collect()
}

/// The wills among letters, by topic.
pub(super) fn wills(letters: &[Letter]) -> Vec<(Attachment, String)> {
    let wills = letters.iter().filter_map(|(_, answer)| match answer {
        Answer::Will { id, will, .. } => Some((*id, will.message.topic.to_string())),
        _ => None,
    });
    wills.collect()
}

pub(super) fn will(topic: &str, delay_secs: u32) -> Option<Box<Will>> {
    Some(Box::new(Will {
        delay_secs,
        retain: false,
        message: Message {
            topic: topic.into(),
            body: Bytes::from_static(b"gone"),
            qos: 1,
            at_ms: 0,
            expires_at_ms: None,
        },
    }))
}
