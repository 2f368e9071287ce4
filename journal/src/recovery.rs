//! Opening what a former process has left behind: which files there are and whether they join up,
//! and which sessions are open.
//!
//! Every segment but the newest is followed by one whose header was durable before anything went
//! into it, and which says how far the one before counts; so it must be whole up to there. Only
//! those are read that the newest checkpoint does not cover.

use std::collections::{HashSet, VecDeque};

use crate::checkpoint::{self, UNFINISHED};
use crate::fact::{Fact, Opened, Position, SessionId};
use crate::fault::Fault;
use crate::history::SegmentInfo;
use crate::log::Active;
use crate::record::Record;
use crate::segment::{self, FILE_HEADER, Header, HeaderError, Kind};
use crate::storage::Storage;
use crate::tail::{self, Tail};

/// What the log begins with.
pub(crate) struct State {
    pub(crate) segments: VecDeque<SegmentInfo>,
    pub(crate) active: Option<Active>,
    pub(crate) next_number: u64,
    pub(crate) last_ms: u64,
    /// The position after the last record.
    pub(crate) end: Position,
    /// How many bytes at the end were cut.
    pub(crate) torn_bytes: u64,
}

/// Whoever gathers what the records come to, while a log is opened.
pub(crate) trait Gather<R> {
    /// Reads what makes older segments needless, and tells the number of the first one to read.
    fn base(
        &mut self,
        storage: &dyn Storage,
        names: &[String],
        headers: &[Header],
    ) -> Result<u64, Fault>;

    /// Takes the next record.
    fn apply(&mut self, record: R);
}

/// Gathers nothing, and has every segment checked.
pub(crate) struct Everything;

impl<R> Gather<R> for Everything {
    fn base(&mut self, _: &dyn Storage, _: &[String], headers: &[Header]) -> Result<u64, Fault> {
        Ok(headers.first().map_or(0, |header| header.number))
    }

    fn apply(&mut self, _: R) {}
}

/// Reads, and repairs what a crash may leave.
pub(crate) fn recover<R: Record>(
    storage: &dyn Storage,
    gather: &mut impl Gather<R>,
) -> Result<State, Fault> {
    // What is found to be there, or gone, must stay so before anyone builds on it.
    storage
        .sync_names()
        .map_err(Fault::io(storage, "", "sync"))?;
    let names = storage.list().map_err(Fault::io(storage, "", "list"))?;
    for name in names.iter().filter(|name| is_unfinished(name)) {
        remove(storage, name)?;
    }
    let headers = headers(storage, &numbers(&names, Kind::Segment))?;
    let base = gather.base(storage, &names, &headers)?;
    let Some((newest, sealed)) = headers.split_last() else {
        return Ok(empty());
    };
    let mut segments = VecDeque::new();
    for (header, next) in sealed.iter().zip(&headers[1..]) {
        if header.number >= base {
            let apply = |_, record| gather.apply(record);
            let end = segment::read_facts(storage, header.number, next.first, apply)?;
            tail::cut_void(storage, header.number, end)?;
        }
        // One without facts is what a crash left of a segment whose first commit failed.
        if header.first < next.first {
            segments.push_back(sealed_info(storage, header, next)?);
        }
    }
    let tail = Tail::recover(storage, newest, |record| gather.apply(record))?;
    if tail.info.first < tail.info.end {
        segments.push_back(tail.info);
    }
    let (end, last_ms) = (tail.info.end, tail.info.last_ms);
    let next_number = newest.number + u64::from(newest.first < end);
    let active = Active {
        file: tail.file,
        header: *newest,
        bytes: tail.info.bytes,
    };
    Ok(State {
        segments,
        active: Some(active),
        next_number,
        last_ms,
        end,
        torn_bytes: tail.torn_bytes,
    })
}

/// The numbers of all files of this kind, in order.
pub(crate) fn numbers(names: &[String], kind: Kind) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| kind.number(name)).collect();
    numbers.sort_unstable();
    numbers
}

fn empty() -> State {
    State {
        segments: VecDeque::new(),
        active: None,
        next_number: 0,
        last_ms: 0,
        end: Position(0),
        torn_bytes: 0,
    }
}

/// The headers of all segments, oldest first. Removes the newest if its making was interrupted.
fn headers(storage: &dyn Storage, numbers: &[u64]) -> Result<Vec<Header>, Fault> {
    let mut headers: Vec<Header> = Vec::new();
    for &number in numbers {
        let name = Kind::Segment.name(number);
        let expected = headers
            .last()
            .map_or(number, |previous| previous.number + 1);
        if number != expected {
            return Err(missing(storage, Kind::Segment, expected));
        }
        let (file, header) = segment::open(storage, Kind::Segment, number)?;
        let size = file.size().map_err(Fault::io(storage, &name, "read"))?;
        let newest = Some(&number) == numbers.last();
        if newest && header == Err(HeaderError::Invalid) && size <= FILE_HEADER as u64 {
            // Facts go in only after the header is durable: it never had any.
            remove(storage, &name)?;
            break;
        }
        let (_, header) = segment::open_valid(storage, Kind::Segment, number)?;
        if headers
            .last()
            .is_some_and(|previous| previous.first > header.first)
        {
            let path = storage.path(&name);
            return Err(Fault::Damaged {
                path,
                offset: 0,
                what: "it begins before the last one",
            });
        }
        headers.push(header);
    }
    Ok(headers)
}

/// Reads the newest checkpoint that can be used, and tells the first segment to read after it.
fn base(
    storage: &dyn Storage,
    checkpoints: &[u64],
    headers: &[Header],
    open: &mut OpenSessions,
) -> Result<u64, Fault> {
    let oldest = headers.first().map_or(0, |header| header.number);
    let mut damaged = Vec::new();
    for &number in checkpoints
        .iter()
        .rev()
        .take_while(|&&number| number >= oldest)
    {
        let Some(header) = headers.iter().find(|header| header.number == number) else {
            // A checkpoint is made after the segment that it stands before.
            return Err(missing(storage, Kind::Segment, number));
        };
        match checkpoint::read(storage, number, header.first, |opened| open.open(opened)) {
            Ok(()) => return pass_over(storage, damaged).map(|()| number),
            Err(fault @ Fault::Damaged { .. }) => damaged.push((number, fault)),
            Err(fault) => return Err(fault),
        }
        open.clear();
    }
    if oldest == 0 {
        return pass_over(storage, damaged).map(|()| 0);
    }
    let newest = damaged.into_iter().next().map(|(_, fault)| fault);
    Err(newest.unwrap_or_else(|| missing(storage, Kind::Checkpoint, oldest)))
}

/// Removes damaged checkpoints that are not needed: they hold nothing that the facts do not.
fn pass_over(storage: &dyn Storage, damaged: Vec<(u64, Fault)>) -> Result<(), Fault> {
    for (number, fault) in damaged {
        tracing::warn!(%fault, "a damaged checkpoint is removed and will be made again");
        remove(storage, &Kind::Checkpoint.name(number))?;
    }
    Ok(())
}

fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED)
        .is_some_and(|name| Kind::Checkpoint.number(name).is_some())
}

fn remove(storage: &dyn Storage, name: &str) -> Result<(), Fault> {
    storage
        .remove(name)
        .map_err(Fault::io(storage, name, "remove"))?;
    storage
        .sync_names()
        .map_err(Fault::io(storage, name, "remove"))
}

fn missing(storage: &dyn Storage, kind: Kind, number: u64) -> Fault {
    Fault::Missing {
        path: storage.path(&kind.name(number)),
    }
}

fn sealed_info(
    storage: &dyn Storage,
    header: &Header,
    next: &Header,
) -> Result<SegmentInfo, Fault> {
    let name = Kind::Segment.name(header.number);
    let file = storage
        .open(&name)
        .map_err(Fault::io(storage, &name, "open"))?;
    let bytes = file.size().map_err(Fault::io(storage, &name, "read"))?;
    Ok(SegmentInfo {
        number: header.number,
        first: header.first,
        end: next.first,
        bytes,
        last_ms: next.previous_ms,
    })
}

/// The sessions that are open, while facts are read in order.
#[derive(Default)]
pub(crate) struct OpenSessions {
    opened: Vec<Opened>,
    ended: HashSet<SessionId>,
}

impl OpenSessions {
    fn open(&mut self, opened: Opened) {
        self.opened.push(opened);
    }

    fn clear(&mut self) {
        self.opened.clear();
    }

    /// A session opens once, so that it does not matter when it ended.
    pub(crate) fn finish(self) -> Vec<Opened> {
        let Self { mut opened, ended } = self;
        opened.retain(|opened| !ended.contains(&opened.session));
        opened
    }
}

impl Gather<Fact> for OpenSessions {
    fn base(
        &mut self,
        storage: &dyn Storage,
        names: &[String],
        headers: &[Header],
    ) -> Result<u64, Fault> {
        base(storage, &numbers(names, Kind::Checkpoint), headers, self)
    }

    fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Opened(opened) => self.opened.push(opened),
            Fact::Ended(ended) => {
                self.ended.insert(ended.session);
            }
        }
    }
}
