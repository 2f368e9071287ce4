//! Connections: floods, slow clients, and the end, over a real port.
//!
//! The client is a blocking socket, so that it sends exactly what a test says. Reads have a
//! deadline, so that a hanging server fails a test instead of holding it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A server on a port of its own.
pub(super) struct Served {
    api: TestApi,
    address: SocketAddr,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Served {
    fn with_http(settings: &str) -> Self {
        Self::behind(None, settings)
    }

    /// With lines of the `[http]` table, behind load balancers of these addresses.
    pub(super) fn behind(balancers: Option<&str>, settings: &str) -> Self {
        let api = TestApi::with_http(settings);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let door = Door {
            listener,
            tls: None,
            balancers: balancers.map(|prefix| [prefix.parse().unwrap()].into()),
        };
        let server = runtime.spawn(serve(door, Arc::clone(&api.state), async {
            let _ = stopped.await;
        }));
        Self {
            api,
            address,
            runtime,
            stop: Some(stop),
            server: Some(server),
        }
    }

    pub(super) fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    /// Sends `bytes` and gives everything that comes back until the server closes.
    pub(super) fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.dial();
        // The server may refuse and close before it has taken everything.
        let _ = stream.write_all(bytes);
        read_to_end(&mut stream)
    }

    /// Asks the server to stop and waits until it has.
    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.wait();
    }

    fn wait(&mut self) {
        self.runtime.block_on(self.server.take().unwrap()).unwrap();
    }

    #[track_caller]
    pub(super) fn wait_until(&self, what: &str, is_true: impl Fn(&AppState) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_true(&self.api.state) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    }
}

pub(super) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is how a flooded server closes.
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8(bytes).unwrap()
}

fn get(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nX-Secret-Key: {KEY_A}\r\n{more}\r\n").into_bytes()
}

#[track_caller]
pub(super) fn check_status(reply: &str, status: u16) {
    assert!(
        reply.starts_with(&format!("HTTP/1.1 {status} ")),
        "{reply:.300}"
    );
}

#[test]
fn a_connection_serves_several_requests() {
    let served = Served::with_http("");
    let both = [get(LIST, ""), get("/health/live", "Connection: close\r\n")].concat();
    let reply = served.exchange(&both);
    assert_eq!(reply.matches("HTTP/1.1 200 OK").count(), 2, "{reply}");
}

#[test]
fn a_head_over_the_limit_is_refused() {
    let served = Served::with_http("header_bytes_max = 8192");
    let flood = format!("X-Flood: {}\r\n", "x".repeat(9000));
    check_status(&served.exchange(&get(LIST, &flood)), 431);
    let fits = format!("X-Flood: {}\r\nConnection: close\r\n", "x".repeat(7000));
    check_status(&served.exchange(&get(LIST, &fits)), 200);
    let many: String = (0..200).map(|at| format!("X-{at}: 1\r\n")).collect();
    check_status(&served.exchange(&get(LIST, &many)), 431);
}

#[test]
fn an_endless_head_is_refused_while_it_is_sent() {
    let served = Served::with_http("");
    let mut stream = served.dial();
    let _ = stream.write_all(&get(LIST, "X-Flood: ")[..]);
    let chunk = [b'x'; 65_536];
    // Far more than the sockets can hold: writing fails once the server has closed.
    let written = (0..1000)
        .take_while(|_| stream.write_all(&chunk).is_ok())
        .count();
    assert!(written < 1000);
    let _ = read_to_end(&mut stream);
}

#[test]
fn a_name_of_10_kb_fits_however_it_is_encoded() {
    let served = Served::with_http("");
    let name = "ü".repeat(5120);
    served.api.online(&name, "c", &[]);
    let path = format!("{LIST}/{}", "%C3%BC".repeat(5120));
    let reply = served.exchange(&get(&path, "Connection: close\r\n"));
    check_status(&reply, 200);
    assert!(reply.contains("\"session_count\":1"));
}

#[test]
fn an_address_beyond_64_kib_is_refused() {
    let served = Served::with_http("header_bytes_max = 200000");
    let path = format!("{LIST}?topic={}", "x".repeat(65_536));
    check_status(&served.exchange(&get(&path, "")), 414);
}

#[test]
fn a_slow_head_is_given_up() {
    let served = Served::with_http("header_timeout_secs = 1");
    let reply = served.exchange(b"GET /health/live HTTP/1.1\r\nX-Slow: ");
    assert!(!reply.contains(" 200 "), "{reply}");
    served.wait_until("the connection is gone", |state| {
        state.metrics.http.connections.get() == 0
    });
    assert_eq!(served.api.state.metrics.http.stalled.get(), 1);
}

#[test]
fn an_idle_connection_is_given_up() {
    let served = Served::with_http("header_timeout_secs = 1");
    assert_eq!(served.exchange(b""), "");
    check_status(&served.exchange(&get("/health/live", "")), 200);
}

#[test]
fn body_floods_are_refused_and_the_connection_closed() {
    let served = Served::with_http("");
    let announced = get(LIST, "Content-Length: 100000000000\r\n");
    check_status(&served.exchange(&announced), 413);
    let mut chunked = get(LIST, "Transfer-Encoding: chunked\r\n");
    for _ in 0..100 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[b'x'; 4096]);
        chunked.extend_from_slice(b"\r\n");
    }
    let reply = served.exchange(&chunked);
    check_status(&reply, 413);
    assert!(reply.to_lowercase().contains("connection: close"));
}

#[test]
fn a_slow_body_is_given_up() {
    let served = Served::with_http("stall_timeout_secs = 1");
    check_status(
        &served.exchange(&get(LIST, "Content-Length: 50\r\n\r\nabc")[..]),
        408,
    );
}

#[test]
fn what_is_no_http_is_refused() {
    let served = Served::with_http("");
    for bytes in [
        &b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00"[..],
        b"\r\n\r\nhello\r\n\r\n",
    ] {
        check_status(&served.exchange(bytes), 400);
    }
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let served = Served::with_http("connections_max = 1");
    let first = served.dial();
    served.wait_until("the first is in", |state| {
        state.metrics.http.connections.get() == 1
    });
    let mut second = served.dial();
    second
        .write_all(&get(LIST, "Connection: close\r\n"))
        .unwrap();
    drop(first);
    check_status(&read_to_end(&mut second), 200);
}

#[test]
fn a_reader_that_stops_reading_loses_its_listing() {
    let served = Served::with_http("stall_timeout_secs = 1\nlistings_max = 1");
    let name = "n".repeat(10_000);
    for at in 0..2000 {
        served.api.online(&name, &at.to_string(), &[]);
    }
    let mut stuck = served.dial();
    stuck.write_all(&get(LIST, "")).unwrap();
    served.wait_until("the listing began", |state| {
        state.metrics.http.listings.get() == 1
    });
    served.wait_until("the reader is given up", |state| {
        state.metrics.http.stalled.get() == 1
    });
    served.wait_until("the listing ended", |state| {
        state.metrics.http.listings.get() == 0
    });
}

#[test]
fn stopping_closes_the_door_and_idle_connections_at_once() {
    let mut served = Served::with_http("drain_timeout_secs = 600");
    let mut idle = served.dial();
    idle.write_all(&get("/health/live", "")).unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    served.stop();
    read_to_end(&mut idle);
    assert!(TcpStream::connect(served.address).is_err());
}

#[test]
fn stopping_lets_a_listing_finish() {
    let mut served = Served::with_http("");
    let name = "n".repeat(10_000);
    for at in 0..2000 {
        served.api.online(&name, &at.to_string(), &[]);
    }
    let mut reader = served.dial();
    reader.write_all(&get(LIST, "")).unwrap();
    served.wait_until("the listing began", |state| {
        state.metrics.http.listings.get() == 1
    });
    served.stop.take().unwrap().send(()).unwrap();
    let reply = read_to_end(&mut reader);
    assert!(reply.contains("\"session_count\":2000}"), "{:.300}", reply);
    served.wait();
}

#[test]
fn stopping_does_not_wait_for_stuck_clients_beyond_the_limit() {
    let mut served = Served::with_http("drain_timeout_secs = 0\nstall_timeout_secs = 600");
    let name = "n".repeat(10_000);
    for at in 0..2000 {
        served.api.online(&name, &at.to_string(), &[]);
    }
    let mut stuck = served.dial();
    stuck.write_all(&get(LIST, "")).unwrap();
    served.wait_until("the listing began", |state| {
        state.metrics.http.listings.get() == 1
    });
    served.stop();
}
