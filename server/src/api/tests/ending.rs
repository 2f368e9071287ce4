//! `POST /v2/utilities/users/{username}/terminate` and `…/logout`, over a running sequencer.

use ::presence::EndReason;
use journal::{Log, Position};

use super::*;
use crate::event_loop::{EventLoops, Settings, Shared};
use crate::lifecycle::Sequencer;

/// The API with what ends sessions behind it.
struct Ending {
    api: TestApi,
    journal: journal::Reader,
    sequencer: Sequencer,
    loops: EventLoops,
}

impl Ending {
    fn new() -> Self {
        let api = TestApi::new();
        let path = api.folder.0.join("journal");
        std::fs::create_dir(&path).unwrap();
        let settings = journal::Settings {
            segment_bytes: 1 << 20,
        };
        let (log, _) = Log::open(&path, settings).unwrap();
        let state = &api.state;
        let shared = Shared {
            accounts: Arc::clone(&state.accounts),
            verifiers: crate::verifiers::Verifiers::new(1),
            orgs: Arc::clone(&state.orgs),
            tls: None,
            lifecycle: state.lifecycle.clone(),
            keeper: crate::keeper::open(
                &api.folder.0,
                &crate::config::Config::default(),
                &state.accounts,
                &mut Default::default(),
            )
            .unwrap()
            .keeper(),
            limits: mqtt::Limits {
                packet_bytes_max: 1024,
                keep_alive_secs_max: 200,
                topic_levels_max: 1,
                receive_max: 1,
                inflight_max: 1,
                queue_messages_max: 1,
                queue_bytes_max: 1,
                filters_per_packet_max: 1,
                topic_alias_max: 0,
                topic_alias_sent_max: 0,
                session_expiry_secs_max: 0,
                retain_available: false,
                shared_available: false,
                subscription_ids_available: false,
            },
            settings: Settings {
                connect_timeout_secs: 1,
                connect_bytes_max: 1024,
                outbound_bytes_max: 1024,
                subscriptions_per_session_max: 1,
                subscriptions_waiting_max: 1,
                connections_max: 1,
                refusals_max: 1,
                trusted: Box::default(),
                mailbox_deliveries_max: 1,
            },
            metrics: state.metrics.mqtt.clone(),
        };
        let loops = EventLoops::start(shared, vec![Vec::new()]).unwrap();
        let journal = log.reader();
        let parts = crate::lifecycle::Parts {
            log,
            letters: loops.letters(),
            orgs: Arc::clone(&state.orgs),
            metrics: state.metrics.mqtt.clone(),
            watcher: None,
            committed: Arc::default(),
            failing: api.failing.clone(),
            is_off: false,
            rush_wait: std::time::Duration::ZERO,
            probe_file: api.folder.0.join("probe"),
        };
        let sequencer = Sequencer::start(&state.lifecycle, parts).unwrap();
        Self {
            api,
            journal,
            sequencer,
            loops,
        }
    }

    /// Who was ended and why, in the order of the journal.
    fn endings(&mut self) -> Vec<(String, EndReason)> {
        let mut facts = Vec::new();
        self.journal
            .read_from(Position(0), 100, &mut facts)
            .unwrap();
        let ended = facts.into_iter().filter_map(|(_, fact)| match fact {
            Fact::Ended(ended) => Some((ended.client_id.to_string(), ended.reason)),
            Fact::Opened(_) => None,
        });
        ended.collect()
    }

    fn finish(self) {
        self.loops.stop();
        self.sequencer.finish();
    }
}

fn path(username: &str, what: &str) -> String {
    format!("/v2/utilities/users/{username}/{what}")
}

#[tokio::test]
async fn all_sessions_of_the_user_have_ended_durably_when_the_answer_comes() {
    let rows = [
        ("terminate", "sessions_terminated", EndReason::Terminated),
        ("logout", "sessions_logged_out", EndReason::LoggedOut),
    ];
    for (what, count, reason) in rows {
        let mut ending = Ending::new();
        let api = &ending.api;
        for client in ["phone", "tablet"] {
            api.online("al/ice", client, &[]);
        }
        api.online("bob", "desk", &[]);
        online(&api.state.orgs[1], "al/ice", "foreign", &[]);
        let reply = api.post(&path("al%2Fice", what), "").await;
        assert_eq!(
            reply.body,
            format!("{{\"username\":\"al/ice\",\"{count}\":2}}")
        );
        let user = api.get(&format!("{LIST}/al%2Fice")).await.json();
        assert_eq!(user["is_online"], false);
        assert_eq!(api.get(LIST).await.json()["session_count"], 1);
        let again = api.post(&path("al%2Fice", what), "").await;
        assert_eq!(again.json()[count], 0);
        let mut endings = ending.endings();
        endings.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            endings,
            [("phone".to_owned(), reason), ("tablet".to_owned(), reason)]
        );
        ending.finish();
    }
}

#[tokio::test]
async fn a_user_whom_nobody_knows_has_no_sessions_to_end() {
    let ending = Ending::new();
    let reply = ending.api.post(&path("nobody", "logout"), "ignored").await;
    assert_eq!(
        (reply.status, &reply.json()["sessions_logged_out"]),
        (StatusCode::OK, &0.into())
    );
    ending.finish();
}

#[tokio::test]
async fn sessions_are_not_ended_by_a_get_or_without_a_key() {
    let api = TestApi::new();
    for what in ["terminate", "logout"] {
        let reply = api.get(&path("alice", what)).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(reply.header(header::ALLOW), Some("POST"));
        let reply = api.send(request("POST", &path("alice", what), None)).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        let reply = api.post(&path("%FF", what), "").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn an_ending_that_nobody_writes_down_is_not_waited_for_without_end() {
    let api = TestApi::with_http("stall_timeout_secs = 1");
    let reply = api.post(&path("alice", "terminate"), "").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.json()["type"], "urn:whosthere:problem:journal");
    assert!(reply.header(header::RETRY_AFTER).is_some());
}

#[tokio::test]
async fn while_the_journal_fails_nothing_ends_and_the_server_is_not_ready() {
    let api = TestApi::new();
    api.failing.set(true);
    for reply in [
        api.post(&path("alice", "logout"), "").await,
        api.get("/health/ready").await,
    ] {
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(reply.json()["type"], "urn:whosthere:problem:journal");
    }
    for path in ["/health/live", LIST, &format!("{LIST}/alice")] {
        assert_eq!(api.get(path).await.status, StatusCode::OK, "{path}");
    }
    api.failing.set(false);
    assert_eq!(api.get("/health/ready").await.body, "ready\n");
}
