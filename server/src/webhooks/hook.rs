//! An endpoint as the rest of the server sees it.
//!
//! A [`Hook`] is a handle: its state is written by the task that delivers to it and read by
//! anybody; what that task must do comes to it as a [`Command`]. Dead letters are read where they
//! are kept, and a test goes to the receiver directly, past everything that waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use uuid::Uuid;
use views::{DeadLetters, Deliveries, DeliveryCursor, DeliveryError, EventId};
use webhook::deliver::Endpoint;
use webhook::outcome::Outcome;
use webhook::payload::{Shape, Status, StatusEvent};

use crate::accounts::OrgIndex;
use crate::clock::unix_ms;

/// Commands that may wait for an endpoint's task; beyond it whoever asks waits too.
const COMMANDS_MAX: usize = 16;

/// The user that a test event is about.
const TEST_USER: &str = "whosthere_test";

/// All endpoints.
#[derive(Debug, Default)]
pub struct Webhooks {
    by_org: Vec<Vec<Arc<Hook>>>,
}

impl Webhooks {
    /// `by_org` has one entry per organisation, in the order of its indexes; missing ones are
    /// empty.
    #[must_use]
    pub fn new(by_org: Vec<Vec<Arc<Hook>>>) -> Self {
        Self { by_org }
    }

    /// The keys of all endpoints.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let all = self.by_org.iter().flatten();
        all.map(|hook| hook.key.clone()).collect()
    }

    /// The endpoints of an organisation, in the order of the configuration.
    #[must_use]
    pub fn of_org(&self, org: OrgIndex) -> &[Arc<Hook>] {
        self.by_org.get(org.get()).map_or(&[], Vec::as_slice)
    }

    /// One endpoint of an organisation.
    #[must_use]
    pub fn find(&self, org: OrgIndex, id: &str) -> Option<&Arc<Hook>> {
        self.of_org(org).iter().find(|hook| hook.id == id)
    }
}

/// One endpoint.
pub struct Hook {
    /// Its name, unique in its organisation.
    pub id: String,
    /// Where it is, without what may be secret of it.
    pub url: String,
    /// Its name in [`Deliveries`].
    key: String,
    org: String,
    status: Mutex<HookStatus>,
    endpoint: Arc<Endpoint>,
    pub(super) shape: Shape,
    deliveries: Arc<Mutex<Deliveries>>,
    commands: mpsc::Sender<Command>,
    /// Has one place: a test holds it.
    testing: Semaphore,
}

/// What a [`Hook`] is made of.
pub struct HookParts {
    /// The id of its organisation.
    pub org: String,
    /// Its name, unique in its organisation.
    pub id: String,
    /// Where it is, as configured.
    pub url: String,
    /// How much it is told.
    pub shape: Shape,
    /// What its requests go through.
    pub endpoint: Arc<Endpoint>,
    /// Where dead letters are kept.
    pub deliveries: Arc<Mutex<Deliveries>>,
}

/// How an endpoint is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookStatus {
    /// Whether it takes events.
    pub state: HookState,
    /// Events that wait, wherever they are kept.
    pub backlog: u64,
    /// When the oldest of them happened, in Unix milliseconds.
    pub oldest_waiting_ms: Option<u64>,
    /// What the last attempt that failed met. Gone once one succeeds.
    pub last_error: Option<String>,
    /// When it last took an event, in Unix milliseconds.
    pub last_delivered_ms: Option<u64>,
    /// Events delivered since the server started.
    pub delivered: u64,
    /// Attempts made since the server started.
    pub attempts: u64,
    /// When it is tried again, in Unix milliseconds, while it is paused.
    pub paused_until_ms: Option<u64>,
}

/// Whether an endpoint takes events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookState {
    /// It does, as far as is known.
    #[default]
    Open,
    /// It is down and tried from time to time.
    Paused,
    /// It said 410; it gets nothing until somebody enables it.
    Disabled,
}

/// What is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Dead letters with these ids.
    Ids(Vec<EventId>),
    /// Dead letters of events that happened in this range.
    Between {
        /// From then on, in Unix milliseconds.
        from_ms: u64,
        /// Before then, in Unix milliseconds.
        to_ms: u64,
        /// Also the events of that range that were delivered.
        delivered: bool,
    },
}

/// What an endpoint's task is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Send events again and answer how many.
    Replay(Replay, oneshot::Sender<Result<usize, DeliveryError>>),
    /// Try again although the receiver had said 410.
    Enable,
}

impl Hook {
    /// A handle, and the end at which the endpoint's task takes commands.
    #[must_use]
    pub fn new(parts: HookParts) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let hook = Self {
            url: without_query(&parts.url).to_owned(),
            key: format!("{}/{}", parts.org, parts.id),
            org: parts.org,
            id: parts.id,
            status: Mutex::default(),
            endpoint: parts.endpoint,
            shape: parts.shape,
            deliveries: parts.deliveries,
            commands,
            testing: Semaphore::new(1),
        };
        (Arc::new(hook), received)
    }

    /// Its name in [`Deliveries`]: organisation, slash, id.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> HookStatus {
        self.lock_status().clone()
    }

    /// Changes what [`Hook::status`] tells.
    pub fn update(&self, change: impl FnOnce(&mut HookStatus)) {
        change(&mut self.lock_status());
    }

    /// Sends the receiver one event made up for it, whatever the state, and says what became of it.
    /// `None` while another test is under way: one at a time, so that tests cannot flood it.
    pub async fn test(&self) -> Option<Outcome> {
        let _alone = self.testing.try_acquire().ok()?;
        let now_ms = unix_ms();
        let id = random_id();
        let event = StatusEvent {
            id,
            status: Status::Offline,
            org: "",
            user_id: TEST_USER,
            os: None,
            at_ms: now_ms,
            generated_at_ms: now_ms,
            client_ip: None,
            session_id: random_id(),
            client_id: TEST_USER,
            seq: 1,
            reason: Some("client_disconnect"),
            online_sessions: 0,
            connected_at_ms: now_ms,
            protocol: 5,
        };
        let body = event.to_json(self.shape);
        Some(self.endpoint.deliver(id, body, now_ms).await)
    }

    /// Sends events again; answers how many, once they are queued for good. 0 if the server stops.
    ///
    /// # Errors
    /// The state of deliveries cannot be kept.
    pub async fn replay_dead(&self, which: Replay) -> Result<usize, DeliveryError> {
        let (reply, answer) = oneshot::channel();
        if self
            .commands
            .send(Command::Replay(which, reply))
            .await
            .is_err()
        {
            return Ok(0);
        }
        answer.await.unwrap_or(Ok(0))
    }

    /// Its dead letters, in the order in which they were given up, at most `limit`.
    ///
    /// # Errors
    /// The state of deliveries cannot be read.
    pub async fn dead_letters(
        &self,
        limit: usize,
        cursor: Option<DeliveryCursor>,
    ) -> Result<DeadLetters, DeliveryError> {
        let key = self.key.clone();
        self.read(move |deliveries| deliveries.dead_letters(&key, limit, cursor))
            .await
    }

    /// How many dead letters it has.
    ///
    /// # Errors
    /// The state of deliveries cannot be read.
    pub async fn dead_letter_count(&self) -> Result<u64, DeliveryError> {
        let key = self.key.clone();
        self.read(move |deliveries| deliveries.dead_letter_count(&key))
            .await
    }

    /// Lets events go to it again, if it is disabled.
    pub async fn enable(&self) {
        // Without a task the server is stopping.
        let _ = self.commands.send(Command::Enable).await;
    }

    /// Asks [`Deliveries`] on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Deliveries) -> Result<T, DeliveryError> + Send + 'static,
    ) -> Result<T, DeliveryError> {
        let deliveries = Arc::clone(&self.deliveries);
        let answer = spawn_blocking(move || {
            question(&deliveries.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match answer.await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going, and with it whoever asked.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Its organisation's id.
    pub(super) fn org(&self) -> &str {
        &self.org
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What is kept of deliveries, for a moment: it is shared by all endpoints.
    pub(super) fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_status(&self) -> MutexGuard<'_, HookStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A query may hold a token; the rest of a URL is no secret.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

fn random_id() -> Uuid {
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::error!(%error, "no random numbers for a test event");
    }
    uuid::Builder::from_random_bytes(random).into_uuid()
}
