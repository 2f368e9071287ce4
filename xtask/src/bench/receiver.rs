//! Who is told: an HTTP receiver that keeps every request with its time, answers 200 with an empty
//! body, or holds its answers back.
//!
//! It does next to nothing per request and has as many threads as there are cores, so that it is
//! not what is measured; what it uses of them can be asked.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::process;

const LISTENER: Token = Token(usize::MAX);
const THREAD: &str = "receiver";
const WAKE: Token = Token(usize::MAX - 1);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A receiver that listens. Each of its threads keeps what comes over its connections.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    desks: Vec<(Waker, JoinHandle<Result<Vec<Delivery>>>)>,
}

/// One request.
pub(super) struct Delivery {
    /// When all of it was here.
    pub(super) at: Instant,
    request: Vec<u8>,
    body_at: usize,
}

#[derive(Default)]
struct Shared {
    holds: AtomicBool,
    stops: AtomicBool,
    received: AtomicUsize,
}

impl Receiver {
    /// One that answers at once.
    pub(super) fn answering() -> Result<Self> {
        Self::start(false)
    }

    /// One that answers nobody until [`release`](Self::release).
    pub(super) fn holding() -> Result<Self> {
        Self::start(true)
    }

    fn start(holds: bool) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            holds: AtomicBool::new(holds),
            ..Shared::default()
        });
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let desks = (0..count).map(|_| Desk::start(listener.try_clone()?, &shared));
        Ok(Self {
            address: listener.local_addr()?,
            desks: desks.collect::<Result<_>>()?,
            shared,
        })
    }

    /// Answers what was held back, and everything from now on at once.
    pub(super) fn release(&self) -> Result<()> {
        self.shared.holds.store(false, Ordering::Release);
        self.wake()
    }

    /// How many requests have come.
    pub(super) fn received(&self) -> usize {
        self.shared.received.load(Ordering::Acquire)
    }

    /// Waits until `count` requests have come.
    pub(super) fn wait_for(&self, count: usize, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while self.received() < count {
            let received = self.received();
            ensure!(
                Instant::now() < deadline,
                "{received} of {count} events came"
            );
            let has_failed = self.desks.iter().any(|(_, thread)| thread.is_finished());
            ensure!(!has_failed, "the receiver has failed");
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops listening and tells all requests in the order in which they came.
    pub(super) fn finish(self) -> Result<Vec<Delivery>> {
        self.shared.stops.store(true, Ordering::Release);
        self.wake()?;
        let mut deliveries = Vec::new();
        for (_, thread) in self.desks {
            let kept = thread
                .join()
                .map_err(|_| anyhow!("the receiver panicked"))?;
            deliveries.append(&mut kept?);
        }
        deliveries.sort_by_key(|delivery| delivery.at);
        Ok(deliveries)
    }

    /// CPU time that all receivers of this process have used, in nanoseconds.
    pub(super) fn cpu_nanos() -> Result<u64> {
        let threads = process::cpu_nanos_by_thread(std::process::id())?;
        Ok(threads.get(THREAD).copied().unwrap_or(0))
    }

    fn wake(&self) -> Result<()> {
        for (waker, _) in &self.desks {
            waker.wake()?;
        }
        Ok(())
    }
}

impl Delivery {
    /// What was posted.
    pub(super) fn body(&self) -> &[u8] {
        &self.request[self.body_at..]
    }

    /// The value of a header, empty if it is not there.
    pub(super) fn header(&self, name: &str) -> Result<String> {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(&self.request)?;
        let found = request
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name));
        let value = found.map(|h| String::from_utf8_lossy(h.value).into_owned());
        Ok(value.unwrap_or_default())
    }

    /// The body's event.
    pub(super) fn event(&self) -> Result<serde_json::Value> {
        let mut body: serde_json::Value = serde_json::from_slice(self.body())?;
        Ok(body["data"][0].take())
    }
}

struct Desk {
    poll: Poll,
    listener: TcpListener,
    lines: Vec<Line>,
    deliveries: Vec<Delivery>,
    shared: Arc<Shared>,
}

/// A connection.
struct Line {
    stream: TcpStream,
    input: Vec<u8>,
    is_owed: bool,
    is_open: bool,
}

impl Desk {
    fn start(
        listener: std::net::TcpListener,
        shared: &Arc<Shared>,
    ) -> Result<(Waker, JoinHandle<Result<Vec<Delivery>>>)> {
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        let interest = Interest::READABLE;
        poll.registry()
            .register(&mut listener, LISTENER, interest)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let mut desk = Self {
            poll,
            listener,
            lines: Vec::new(),
            deliveries: Vec::new(),
            shared: Arc::clone(shared),
        };
        let thread = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || desk.run().map(|()| desk.deliveries))?;
        Ok((waker, thread))
    }

    fn run(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(256);
        while !self.shared.stops.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    WAKE => self.answer_all()?,
                    Token(index) => self.handle(index)?,
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot accept"),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.lines.len());
            let interest = Interest::READABLE;
            self.poll
                .registry()
                .register(&mut stream, token, interest)?;
            self.lines.push(Line {
                stream,
                input: Vec::new(),
                is_owed: false,
                is_open: true,
            });
        }
    }

    fn handle(&mut self, index: usize) -> Result<()> {
        let holds = self.shared.holds.load(Ordering::Acquire);
        let line = &mut self.lines[index];
        line.read();
        while let Some(delivery) = line.take_request()? {
            self.deliveries.push(delivery);
            self.shared.received.fetch_add(1, Ordering::AcqRel);
            line.is_owed = true;
        }
        if !holds {
            line.answer()?;
        }
        Ok(())
    }

    fn answer_all(&mut self) -> Result<()> {
        if self.shared.holds.load(Ordering::Acquire) {
            return Ok(());
        }
        self.lines.iter_mut().try_for_each(Line::answer)
    }
}

impl Line {
    fn read(&mut self) {
        let mut buffer = [0; 8_192];
        while self.is_open {
            match self.stream.read(&mut buffer) {
                Ok(length) if length > 0 => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever called may be killed at the end.
                Ok(_) | Err(_) => self.is_open = false,
            }
        }
    }

    /// The first request, if all of it is here. A client that gets one answer at a time sends one
    /// request at a time.
    fn take_request(&mut self) -> Result<Option<Delivery>> {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(body_at) = request.parse(&self.input)? else {
            return Ok(None);
        };
        let length = request
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case("content-length"));
        let length = length.context("a request without a length")?.value;
        let end = body_at + std::str::from_utf8(length)?.parse::<usize>()?;
        if self.input.len() < end {
            return Ok(None);
        }
        let rest = self.input.split_off(end);
        Ok(Some(Delivery {
            at: Instant::now(),
            request: std::mem::replace(&mut self.input, rest),
            body_at,
        }))
    }

    fn answer(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_owed) && self.is_open {
            let sent = self.stream.write(OK).context("cannot answer")?;
            ensure!(sent == OK.len(), "half an answer");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn answers_are_held_back_until_they_are_released() {
        let receiver = Receiver::holding().unwrap();
        let mut client = TcpStream::connect(receiver.address).unwrap();
        let request = b"POST /hook HTTP/1.1\r\nwebhook-id: 7\r\ncontent-length: 2\r\n\r\n{}";
        client.write_all(request).unwrap();
        receiver.wait_for(1, Duration::from_secs(10)).unwrap();
        receiver.release().unwrap();
        let mut answer = [0; OK.len()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, OK);
        let deliveries = receiver.finish().unwrap();
        assert_eq!(deliveries[0].body(), b"{}");
        assert_eq!(deliveries[0].header("webhook-id").unwrap(), "7");
    }
}
