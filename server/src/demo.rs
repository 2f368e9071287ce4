//! `whosthere demo`: a server and a handful of real clients that come, chat and go.
//!
//! Nothing is pretended: the clients speak MQTT 3.1.1 and 5 over TCP and WebSocket sockets, each in
//! a thread of its own, and what the feed prints is what the server saw.

mod client;
mod people;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use crate::accounts::Accounts;
use crate::app::{App, StartError};
use crate::config::{Config, Listen, LogConfig, OrgConfig, Secret, UserConfig};
use crate::lifecycle::{Occurrence, What};

const ORG: &str = "org_demo";
const PASSWORD: &str = "demo";

/// Occurrences that may wait to be printed; beyond it the feed skips some.
const FEED_MAX: usize = 1024;

/// The name that is left for whoever watches.
const VISITOR: &str = "you";

/// Runs until a signal asks to stop.
///
/// # Errors
/// If the server does not start, above all because a default port is taken; if the operating system
/// gives no random numbers.
pub fn run(listen: &Listen) -> Result<(), DemoError> {
    let secret_key = format!("sk_demo_{}", random_hex()?);
    let config = config(listen, &secret_key);
    let (watcher, feed) = sync_channel(FEED_MAX);
    let data_dir = std::env::temp_dir().join(format!("whosthere-demo-{}", std::process::id()));
    let app = App::build(
        &config,
        Accounts::from_config(&config)?,
        &data_dir,
        Some(watcher),
    )?;
    let bound = app.bound().clone();
    introduce(&bound, &secret_key)?;
    let server = app.run()?;
    let stopping = Arc::new(AtomicBool::new(false));
    let people = people::enter(&bound, &stopping);
    let printed = print_feed(feed, &stopping);
    server.wait_for_stop();
    stopping.store(true, Ordering::Relaxed);
    for person in people {
        // Whatever became of the thread, its client is gone with it.
        let _ = person.join();
    }
    server.stop();
    // The server's end of the feed is gone, so the printer is done.
    let _ = printed.join();
    std::fs::remove_dir_all(&data_dir)?;
    Ok(())
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Printing failed, or there were no random numbers.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The feed is what is to be seen; the log only speaks up when something is wrong.
pub fn log_config() -> LogConfig {
    LogConfig {
        filter: "warn".to_owned(),
        ..LogConfig::default()
    }
}

fn config(listen: &Listen, secret_key: &str) -> Config {
    let user = |username: &str, display_name: Option<&str>| UserConfig {
        username: username.into(),
        password: Some(Secret::new(PASSWORD)),
        password_hash: None,
        display_name: display_name.map(Into::into),
    };
    let mut users: Vec<UserConfig> = Vec::new();
    for person in &people::CAST {
        // Somebody with two devices is one user.
        if users.iter().all(|known| known.username != person.username) {
            users.push(user(person.username, person.display_name));
        }
    }
    users.push(user(VISITOR, None));
    Config {
        listen: listen.clone(),
        default_org: Some(ORG.into()),
        orgs: vec![OrgConfig {
            id: ORG.into(),
            secret_keys: vec![Secret::new(secret_key)],
            open_auth: false,
            multi_device: Default::default(),
            users,
            quota: Default::default(),
            rules_default: None,
            rules: Vec::new(),
            jwts: Vec::new(),
            webhooks: Vec::new(),
        }],
        ..Config::default()
    }
}

fn introduce(bound: &Listen, secret_key: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\nwhosthere is running with the organisation {ORG}.")?;
    if let Some(http) = bound.http {
        writeln!(out, "\nWho is here? Paste this in another terminal:\n")?;
        writeln!(
            out,
            "  curl -H 'X-Secret-Key: {secret_key}' 'http://{http}/v2/utilities/presence?topic=chat/lobby'"
        )?;
    }
    if let Some(mqtt) = bound.mqtt {
        writeln!(out, "\nCome in and listen:\n")?;
        writeln!(out, "  {}", subscribe_line(mqtt))?;
    }
    writeln!(out, "\nCtrl-C ends it. Who comes and goes:\n")?;
    out.flush()
}

fn subscribe_line(mqtt: SocketAddr) -> String {
    let (host, port) = (mqtt.ip(), mqtt.port());
    format!("mosquitto_sub -h {host} -p {port} -u {VISITOR}@{ORG} -P {PASSWORD} -t 'chat/#' -v")
}

/// Prints what happens in a thread of its own, until the server is gone or has been told to stop.
fn print_feed(feed: Receiver<Occurrence>, stopping: &Arc<AtomicBool>) -> JoinHandle<()> {
    let stopping = Arc::clone(stopping);
    std::thread::spawn(move || {
        for occurrence in feed {
            let printed = writeln!(io::stdout(), "{}", feed_line(&occurrence));
            // With nobody to read it, and when everybody is sent home, the feed has no more to say.
            if printed.is_err() || stopping.load(Ordering::Relaxed) {
                return;
            }
        }
    })
}

fn feed_line(occurrence: &Occurrence) -> String {
    let time =
        chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).format("%H:%M:%S");
    let (sign, what) = match occurrence.what {
        What::Came => ('+', "came".to_owned()),
        What::Went(reason) => ('-', format!("went: {}", reason.as_str())),
    };
    let sessions = match occurrence.online_sessions {
        0 => "offline".to_owned(),
        1 => "1 session".to_owned(),
        count => format!("{count} sessions"),
    };
    format!(
        "  {time}  {sign} {:<10} {:<10} {sessions:<11} {what}",
        occurrence.username, occurrence.client_id
    )
}
