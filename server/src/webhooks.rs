//! Webhooks: every endpoint is told of every event of its organisation, in order per user.
//!
//! Each endpoint has a task of its own (`runner`) that reads events from the views at its own pace,
//! so that a slow one holds up nobody: not another endpoint, not a CONNECT. How far it has come is
//! kept on disk; after a crash it begins there, and receivers may be told some events again, with
//! the same ids.
//!
//! [`Hook`] is what the API sees of an endpoint; `message` turns an event into what is posted.

mod bonds;
mod hook;
mod message;
mod metrics;
mod runner;
mod settings;

use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use views::{Deliveries, DeliveryError, Event, Reader};
use webhook::deliver::Endpoint;
use webhook::lane::LaneSettings;
use webhook::level::Level;
use webhook::payload::Shape;

use crate::accounts::OrgIndex;
pub use hook::{Command, Hook, HookParts, HookState, HookStatus, Replay, Webhooks};
pub use metrics::WebhookMetrics;
use runner::Runner;
pub use settings::{SettingsError, of as settings_of};

/// What is to be known of an endpoint before it runs.
pub struct HookSettings {
    /// Its organisation.
    pub org: OrgIndex,
    /// Its organisation's id.
    pub org_id: String,
    /// Its id, unique in the organisation.
    pub id: String,
    /// Where it is.
    pub url: String,
    /// How to reach it.
    pub endpoint: Endpoint,
    /// Which fields it gets.
    pub shape: Shape,
    /// Which events it gets.
    pub level: Level,
    /// Order, concurrency and delays.
    pub lane: LaneSettings,
    /// Endings held back at level `user`.
    pub held_max: usize,
}

/// The running tasks.
pub struct Running {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Endpoints that do not run yet.
pub struct Prepared {
    hooks: Vec<(Arc<Hook>, HookSettingsLeft, mpsc::Receiver<Command>)>,
}

struct HookSettingsLeft {
    level: Level,
    lane: LaneSettings,
    held_max: usize,
}

/// Makes the handles of all endpoints; they run once [`Prepared::start`] is called.
#[must_use]
pub fn prepare(
    settings: Vec<HookSettings>,
    org_count: usize,
    deliveries: &Arc<Mutex<Deliveries>>,
) -> (Webhooks, Prepared) {
    let mut by_org: Vec<Vec<_>> = (0..org_count).map(|_| Vec::new()).collect();
    let mut hooks = Vec::new();
    for settings in settings {
        let (hook, taken) = Hook::new(HookParts {
            org: settings.org_id,
            id: settings.id,
            url: settings.url,
            shape: settings.shape,
            endpoint: Arc::new(settings.endpoint),
            deliveries: Arc::clone(deliveries),
        });
        by_org[settings.org.get()].push(Arc::clone(&hook));
        let left = HookSettingsLeft {
            level: settings.level,
            lane: settings.lane,
            held_max: settings.held_max,
        };
        hooks.push((hook, left, taken));
    }
    (Webhooks::new(by_org), Prepared { hooks })
}

impl Prepared {
    /// Starts a task for each endpoint, with a reader of the views for each.
    ///
    /// # Errors
    /// If how far an endpoint has come cannot be read.
    pub fn start(
        self,
        runtime: &Handle,
        folded: &watch::Receiver<journal::Position>,
        readers: Vec<Reader>,
        metrics: &WebhookMetrics,
        drain: std::time::Duration,
    ) -> Result<Running, StartError> {
        let (stop, stopping) = watch::channel(false);
        let mut tasks = Vec::new();
        for ((hook, settings, commands), reader) in self.hooks.into_iter().zip(readers) {
            let runner = Runner::new(runner::Parts {
                metrics: metrics.of_endpoint(hook.key()),
                hook,
                level: settings.level,
                held_max: settings.held_max,
                lane: settings.lane,
                reader,
                folded: folded.clone(),
                commands,
                stopping: stopping.clone(),
                drain,
            })?;
            tasks.push(runtime.spawn(runner.run()));
        }
        Ok(Running { stop, tasks })
    }
}

/// Why webhooks did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// How far an endpoint has come cannot be read.
    #[error(transparent)]
    Deliveries(#[from] DeliveryError),
}

impl Running {
    /// Lets the tasks deliver what waits, for as long as they may, and waits for them.
    pub async fn finish(self) {
        // It fails only if there is no task.
        let _ = self.stop.send(true);
        for task in self.tasks {
            if task.await.is_err() {
                tracing::error!("the task of a webhook had panicked");
            }
        }
    }
}

/// What an event is to those who deliver it: shared with the views, not copied.
type Shared = Arc<Event>;
