//! Clients that come and go at a chosen pace, on one thread and one poll: each sends CONNECT and
//! waits for its CONNACK, and how long that took is kept.
//!
//! The pace is that of a clock, not of the answers: a server that falls behind gets no fewer.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockRef, Socket, Type};

use super::packets;

/// A server that is silent for this long while clients wait has failed.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Clients call from so many addresses: with 14,000 from one, the system begins to search long
/// for a free port, and that would be measured.
const ADDRESSES: usize = 8;

/// Events taken from the poll at a time.
const EVENTS: usize = 1_024;

/// The clients by their numbers.
pub(super) struct Callers {
    poll: Poll,
    target: SocketAddr,
    calls: Vec<Option<Call>>,
    waiting: usize,
    /// From CONNECT to CONNACK, in nanoseconds, in the order of the CONNACKs.
    laps: Vec<u64>,
}

struct Call {
    stream: TcpStream,
    sent_at: Option<Instant>,
    is_answered: bool,
    input: Vec<u8>,
}

impl Callers {
    /// Nobody yet.
    pub(super) fn new(target: SocketAddr) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            target,
            calls: Vec::new(),
            waiting: 0,
            laps: Vec::new(),
        })
    }

    /// The next client begins to connect; tells its number.
    pub(super) fn call(&mut self) -> Result<usize> {
        let number = self.calls.len();
        let address = 1 + number % ADDRESSES;
        let mut stream = open_stream(self.target, address).context("cannot open a connection")?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(number), interest)?;
        self.calls.push(Some(Call {
            stream,
            sent_at: None,
            is_answered: false,
            input: Vec::new(),
        }));
        self.waiting += 1;
        Ok(number)
    }

    /// Closes the socket of a client and tells when.
    pub(super) fn hang_up(&mut self, number: usize) -> Result<Instant> {
        let call = self.calls[number].take().context("it is gone already")?;
        ensure!(call.is_answered, "client {number} waits for its CONNACK");
        let now = Instant::now();
        drop(call);
        Ok(now)
    }

    /// Resets all connections, which leaves no ports in TIME_WAIT.
    pub(super) fn hang_up_all(&mut self) {
        for call in self.calls.iter_mut().filter_map(Option::take) {
            let _ = SockRef::from(&call.stream).set_linger(Some(Duration::ZERO));
        }
        self.waiting = 0;
    }

    /// Takes `count` steps, `rate` a second, and lets the clients go on meanwhile.
    pub(super) fn pace(
        &mut self,
        rate: u32,
        count: usize,
        mut step: impl FnMut(&mut Self, usize) -> Result<()>,
    ) -> Result<()> {
        let started = Instant::now();
        let due = |index: usize| started + Duration::from_secs(1) / rate * index as u32;
        for index in 0..count {
            loop {
                let left = due(index).saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                self.turn(left)?;
            }
            step(self, index)?;
        }
        Ok(())
    }

    /// Waits until everybody has an answer.
    pub(super) fn settle(&mut self) -> Result<()> {
        let mut progress = (self.waiting, Instant::now());
        while self.waiting > 0 {
            self.turn(Duration::from_millis(100))?;
            if self.waiting < progress.0 {
                progress = (self.waiting, Instant::now());
            }
            ensure!(
                progress.1.elapsed() < SILENCE_MAX,
                "{} clients wait for a CONNACK",
                self.waiting
            );
        }
        Ok(())
    }

    /// The times of all answers so far, in nanoseconds, which are forgotten here.
    pub(super) fn take_laps(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.laps)
    }

    /// Handles what comes within `timeout`.
    pub(super) fn turn(&mut self, timeout: Duration) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &events {
            let number = event.token().0;
            let Some(call) = &mut self.calls[number] else {
                continue;
            };
            let lap = call.handle_ready(number);
            if let Some(lap) = lap.with_context(|| format!("client {number}"))? {
                self.laps.push(lap.as_nanos() as u64);
                self.waiting -= 1;
            }
        }
        Ok(())
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.hang_up_all();
    }
}

impl Call {
    /// Sends and reads what can be; tells how long the answer took when it is there.
    fn handle_ready(&mut self, number: usize) -> Result<Option<Duration>> {
        if self.sent_at.is_none() {
            if let Some(error) = self.stream.take_error()? {
                return Err(error).context("cannot connect");
            }
            let packet = packets::connect(number);
            let now = Instant::now();
            match self.stream.write(&packet) {
                Ok(length) => ensure!(length == packet.len(), "only half a packet is taken"),
                Err(error) if is_too_early(&error) => return Ok(None),
                Err(error) => return Err(error).context("cannot write"),
            }
            self.sent_at = Some(now);
        }
        self.read()?;
        let Some(sent_at) = self.sent_at.filter(|_| !self.is_answered) else {
            return Ok(None);
        };
        if !packets::take_connack(&mut self.input)? {
            return Ok(None);
        }
        self.is_answered = true;
        Ok(Some(sent_at.elapsed()))
    }

    fn read(&mut self) -> Result<()> {
        let mut buffer = [0; 512];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read"),
            }
        }
    }
}

fn is_too_early(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected
    )
}

/// Begins to connect, from 127.0.0.1, 127.0.0.2 and so on, as `address` says.
pub(super) fn open_stream(target: SocketAddr, address: usize) -> Result<TcpStream> {
    if address == 1 {
        return Ok(TcpStream::connect(target)?);
    }
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(address)?));
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => Err(error)?,
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// The answer of a socket that connects in the background (`EINPROGRESS`).
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
