//! Connections as they come.
//!
//! At the limit of connections a client is told so when its CONNECT comes, as long as not too many
//! wait for that; the others are closed at once. When no file is left, there is a spare one: it is
//! given up for a moment, so that the connection can be taken and closed rather than left to
//! wake the loop for ever. Sessions that stand are not touched.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};
use rustix::io::Errno;

use super::connection::{Connection, Phase, Tick};
use super::secure::Secure;
use super::worker::Worker;

/// What the spare file is.
const SPARE: &str = "/dev/null";

/// Connections in a row that are taken and closed for lack of files; then the clients that are in
/// get their turn.
const TURNED_AWAY_MAX: usize = 64;

/// Connections that are taken at a door before the clients that are in get their turn.
const ACCEPTS_MAX: usize = 128;

/// Tenths of a second between two log lines about the lack of files.
const WARN_TENTHS: u32 = 100;

/// A file that is given up for a moment when no other is left.
///
/// While it is given up, any thread may take its place. If that is another worker with a new
/// connection, it gives that one up in turn: see [`Spare::keep`].
pub(crate) struct Spare(Mutex<Option<File>>);

/// What giving the spare file up came to.
enum TurnedAway {
    One,
    Nobody,
    /// Another took the place, or there was no spare file.
    Failed,
}

impl Spare {
    pub(super) fn new() -> Self {
        Self(Mutex::new(File::open(SPARE).ok()))
    }

    /// Takes a connection in place of the spare file and closes it.
    fn turn_away(&self, listener: &TcpListener) -> TurnedAway {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *spare = None;
        let taken = listener.accept();
        let outcome = match &taken {
            Ok(_) => TurnedAway::One,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => TurnedAway::Nobody,
            Err(_) => TurnedAway::Failed,
        };
        drop(taken);
        *spare = File::open(SPARE).ok();
        outcome
    }

    /// Sees to it that there is a spare file once `socket` is there: with the place of `socket`, if
    /// it has to be. Answers `socket` if it may be kept.
    fn keep(&self, socket: TcpStream) -> Option<TcpStream> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.is_none() {
            *spare = File::open(SPARE).ok();
        }
        if spare.is_some() {
            return Some(socket);
        }
        drop(socket);
        *spare = File::open(SPARE).ok();
        None
    }
}

impl Worker {
    /// Takes in who waits at a door. If that is a crowd, the rest comes in the next turn.
    pub(super) fn accept(&mut self, number: usize) {
        let house = Arc::clone(&self.house);
        let mut turned_away = 0;
        for _ in 0..ACCEPTS_MAX {
            let Some(door) = self.doors.get(number) else {
                return;
            };
            match door.socket.accept() {
                Ok((_, from)) if door.is_proxied && !house.shared.settings.trusts(from) => {
                    house.shared.metrics.refuse("proxy_untrusted");
                }
                Ok((socket, _)) => match house.spare.keep(socket) {
                    Some(socket) => self.admit(socket, number),
                    None => house.shared.metrics.refuse("out_of_files"),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // The system says so before it looks whether anybody waits at all.
                Err(error) if lacks_files(&error) && turned_away < TURNED_AWAY_MAX => {
                    match house.spare.turn_away(&door.socket) {
                        TurnedAway::One => {
                            turned_away += 1;
                            house.shared.metrics.refuse("out_of_files");
                            self.warn_of_arrivals(&error);
                        }
                        TurnedAway::Nobody => return,
                        TurnedAway::Failed => return self.ask_again(&error),
                    }
                }
                Err(error) => return self.ask_again(&error),
            }
        }
        self.doors_crowded = true;
    }

    /// The door's next event may never come, so it is asked again after the next poll.
    fn ask_again(&mut self, error: &io::Error) {
        self.doors_again = true;
        self.warn_of_arrivals(error);
    }

    fn warn_of_arrivals(&mut self, error: &io::Error) {
        let now = self.now;
        let is_news = |at: Tick| now.since(at) > WARN_TENTHS;
        if self.warned_at.is_none_or(is_news) {
            self.warned_at = Some(now);
            tracing::warn!(%error, "failed to accept connections");
        }
    }

    /// Whether there are more connections than may be: those that are not in yet are refused.
    pub(super) fn is_overfull(&self) -> bool {
        let count = self.house.connection_count.load(Ordering::Relaxed);
        count > self.house.shared.settings.connections_max
    }

    fn admit(&mut self, mut socket: TcpStream, number: usize) {
        let house = Arc::clone(&self.house);
        let count = house.connection_count.fetch_add(1, Ordering::Relaxed);
        let settings = &house.shared.settings;
        if count
            >= settings
                .connections_max
                .saturating_add(settings.refusals_max)
        {
            house.connection_count.fetch_sub(1, Ordering::Relaxed);
            house.shared.metrics.refuse("too_many_connections");
            return;
        }
        let entry = self.connections.vacant_entry();
        let token = Token(entry.key());
        let registered = self
            .poll
            .registry()
            .register(&mut socket, token, Interest::READABLE);
        if let Err(error) = registered {
            tracing::warn!(%error, "failed to watch a connection");
            house.connection_count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let door = self.doors[number].door;
        if let Some(tls) = &house.shared.tls
            && door.is_secure()
        {
            match Secure::new(tls.for_clients()) {
                Ok(secure) => {
                    self.secures.insert(entry.key() as u32, Box::new(secure));
                }
                Err(error) => {
                    tracing::error!(%error, "failed to begin TLS");
                    house.connection_count.fetch_sub(1, Ordering::Relaxed);
                    return;
                }
            }
        }
        house.shared.metrics.connections_accepted.inc();
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let mut connection = Connection::new(socket, door, self.last_ticket, self.now);
        if self.doors[number].is_proxied {
            connection.phase = Phase::Arriving;
        }
        entry.insert(connection);
    }
}

fn lacks_files(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
