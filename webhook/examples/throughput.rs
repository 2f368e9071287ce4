//! How many events a second reach a receiver on this machine: `cargo run --release -p webhook
//! --example throughput`.
//!
//! Three ways, each with the same client and the same bodies: from memory without signatures,
//! signed, and signed in the order that a dispatcher allows. Only their ratios say anything
//! about another machine. The receiver is hyper's server in the same process.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that fails has no other way out"
)]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};
use uuid::Uuid;
use webhook::{
    address::AddressPolicy,
    deliver::{Client, ClientSettings, Endpoint, Signing},
    lane::{Attempt, Dispatcher, Event, LaneSettings, Settlement},
    outcome::Outcome,
    payload::{Shape, Status, StatusEvent},
    signature::standard::{Secret, StandardKeys},
};

const EVENTS: u64 = 100_000;
const USERS: u64 = 10_000;
const CONCURRENCY: usize = 16;
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let url = format!("http://127.0.0.1:{}/hook", receiver().await);
    let policy = AddressPolicy::allowing(vec!["127.0.0.0/8".parse().unwrap()]);
    let client = Client::new(ClientSettings::default(), policy, b"").unwrap();
    let unsigned = Arc::new(client.endpoint(&url, Signing::default()).unwrap());
    let signed = Arc::new(client.endpoint(&url, signing()).unwrap());
    for _ in 0..ROUNDS {
        let plain = from_memory(&unsigned).await;
        let with_signature = from_memory(&signed).await;
        let in_order = in_order(&signed).await;
        println!(
            "unsigned {plain:.0}/s, signed {with_signature:.0}/s ({:.2}), in order {in_order:.0}/s ({:.2})",
            with_signature / plain,
            in_order / plain,
        );
    }
}

fn signing() -> Signing {
    let secret = Secret::parse(&Secret::encode(&[7; 32])).unwrap();
    Signing {
        standard: Some(StandardKeys::new(vec![secret]).unwrap()),
        ..Signing::default()
    }
}

fn event(number: u64) -> StatusEvent<'static> {
    StatusEvent {
        id: Uuid::from_u64_pair(number, number),
        status: Status::Online,
        org: "org",
        user_id: "user_001",
        os: None,
        at_ms: number,
        generated_at_ms: number,
        client_ip: Some("192.0.2.1:12345".parse().unwrap()),
        session_id: Uuid::from_u64_pair(number, 0),
        client_id: "client",
        seq: number,
        reason: None,
        online_sessions: 1,
        connected_at_ms: number,
        protocol: 5,
    }
}

/// Each of a few tasks posts the next event as soon as the one before has its answer.
async fn from_memory(endpoint: &Arc<Endpoint>) -> f64 {
    let body = event(1).to_json(Shape::Contract);
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (endpoint, body) = (Arc::clone(endpoint), body.clone());
        tasks.spawn(async move {
            for number in 0..EVENTS / CONCURRENCY as u64 {
                let outcome = endpoint
                    .deliver(event(number).id, body.clone(), number)
                    .await;
                assert_eq!(outcome, Outcome::Delivered { status: 200 });
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    per_second(started.elapsed())
}

/// Bodies made of events, order per user. Each of a few tasks settles its last attempt and takes
/// the next one under one short lock, so that no attempt costs a task or a channel.
async fn in_order(endpoint: &Arc<Endpoint>) -> f64 {
    let started = Instant::now();
    let lane = Arc::new(Mutex::new(Dispatcher::new(LaneSettings::default(), 1)));
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (endpoint, lane) = (Arc::clone(endpoint), Arc::clone(&lane));
        tasks.spawn(async move {
            let mut done = None;
            while let Some(attempt) = next(&lane, done.take()) {
                let id = event(attempt.position()).id;
                let outcome = endpoint.deliver(id, attempt.payload().clone(), 1).await;
                done = Some((attempt, outcome));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(lane.lock().unwrap().floor(), EVENTS);
    per_second(started.elapsed())
}

/// Settles one attempt and gives the next; there is always one, because there are far more users
/// than attempts at once.
fn next(
    lane: &Mutex<Dispatcher<Bytes>>,
    done: Option<(Attempt<Bytes>, Outcome)>,
) -> Option<Attempt<Bytes>> {
    let mut lane = lane.lock().unwrap();
    if let Some((attempt, outcome)) = done {
        let settled = lane.complete(attempt, &outcome, 1);
        assert!(matches!(settled, Settlement::Delivered { .. }));
    }
    let mut position = lane.highest();
    while position < EVENTS && !lane.is_full() {
        position += 1;
        lane.push(Event {
            position,
            user: position % USERS,
            generated_at_ms: 0,
            payload: event(position).to_json(Shape::Contract),
        })
        .unwrap();
    }
    lane.poll(1)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for reading")]
fn per_second(took: Duration) -> f64 {
    EVENTS as f64 / took.as_secs_f64()
}

async fn receiver() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let connection = http1::Builder::new();
            tokio::spawn(async move {
                connection
                    .serve_connection(TokioIo::new(tcp), service_fn(answer))
                    .await
                    .ok();
            });
        }
    });
    port
}

async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    request.into_body().collect().await.ok();
    Ok(Response::new(Empty::new()))
}
