//! The peer of the saturation test: the server's own HTTP client in a process of its own, which
//! posts bodies from memory, unsigned, with the server's concurrency and on a runtime like the
//! server's.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use tokio::task::JoinSet;
use uuid::Uuid;
use webhook::address::AddressPolicy;
use webhook::deliver::{Client, ClientSettings, Endpoint, Signing};
use webhook::outcome::Outcome;

use super::super::receiver::Delivery;

/// As in the server's default settings.
const CONCURRENCY: usize = 16;

/// What the process is told.
#[derive(Args)]
pub(crate) struct PostOptions {
    /// Bodies, each after its length as 32 bits, little endian
    #[arg(long)]
    bodies: PathBuf,
    /// Where they go
    #[arg(long)]
    to: SocketAddr,
}

/// A process that has its bodies in memory.
pub(super) struct Poster(Child);

impl Poster {
    /// Starts one that is ready to post what is in the file `bodies`.
    pub(super) fn start(bodies: &Path, to: SocketAddr) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "post", "--bodies"])
            .arg(bodies)
            .arg(format!("--to={to}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut byte = [0];
        let output = child.stdout.as_mut().context("no output")?;
        let ready = output.read_exact(&mut byte);
        let poster = Self(child);
        ready.context("the poster did not start")?;
        Ok(poster)
    }

    /// Lets it post.
    pub(super) fn go(&mut self) -> Result<()> {
        let input = self.0.stdin.as_mut().context("no input")?;
        Ok(input.write_all(b"!")?)
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        // Nothing is left to do if the process is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes the bodies of `deliveries` for a poster.
pub(super) fn write_bodies(path: &Path, deliveries: &[Delivery]) -> Result<()> {
    let mut bytes = Vec::new();
    for delivery in deliveries {
        bytes.extend(u32::try_from(delivery.body().len())?.to_le_bytes());
        bytes.extend(delivery.body());
    }
    Ok(fs::write(path, bytes)?)
}

/// What the process does: says that it is ready, waits for a word, posts, and stays until its
/// input ends, so that its CPU time can be read.
pub(crate) fn post(options: &PostOptions) -> Result<()> {
    let bodies = read_bodies(&options.bodies)?;
    let policy = AddressPolicy::allowing(vec!["127.0.0.0/8".parse()?]);
    let client = Client::new(ClientSettings::default(), policy, b"")?;
    let url = format!("http://{}/hook", options.to);
    let endpoint = Arc::new(client.endpoint(&url, Signing::default())?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    std::io::stdout().write_all(b"!")?;
    std::io::stdout().flush()?;
    std::io::stdin().read_exact(&mut [0])?;
    runtime.block_on(post_all(&endpoint, bodies))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn read_bodies(path: &Path) -> Result<Vec<Bytes>> {
    let mut rest = Bytes::from(fs::read(path)?);
    let mut bodies = Vec::new();
    while !rest.is_empty() {
        let length = rest.split_to(4);
        let length = u32::from_le_bytes(length[..].try_into()?);
        bodies.push(rest.split_to(length as usize));
    }
    Ok(bodies)
}

/// Each of a few tasks posts the next body as soon as the one before has its answer.
async fn post_all(endpoint: &Arc<Endpoint>, bodies: Vec<Bytes>) -> Result<()> {
    let (bodies, next) = (Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (endpoint, bodies, next) = (Arc::clone(endpoint), bodies.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(body) = bodies.get(index) else {
                    return Ok(());
                };
                let id = Uuid::from_u128(index as u128);
                let outcome = endpoint.deliver(id, body.clone(), 0).await;
                let is_delivered = matches!(outcome, Outcome::Delivered { .. });
                ensure!(is_delivered, "{outcome:?}");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
