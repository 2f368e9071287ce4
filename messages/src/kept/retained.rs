//! Retained messages by topic, and how they are found by filter in pieces.
//!
//! Topics stand in a [`FilterTrie`] as filters without wildcards, so that those which a filter
//! matches are those that overlap it. A filter that would look at too much of the trie under one
//! lock is answered by walking over all retained messages in pieces instead.

use std::collections::BTreeSet;

use bytes::Bytes;
use compact_str::CompactString;
use topics::slab::ChunkedSlab;
use topics::{FilterTrie, TopicFilter, TopicName};

use super::Kept;
use crate::message::{Message, is_expired};

/// Nodes of the trie that one lock is held for.
const STEPS_MAX: u32 = if cfg!(test) { 8 } else { 16_384 };

/// Retained messages looked at under one lock when all are looked at.
const ROWS_MAX: usize = 1_024;

/// A retained message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedRow {
    /// Its topic name.
    pub topic: CompactString,
    /// The message in the caller's stored form.
    pub body: Bytes,
    /// The QoS it was published with.
    pub qos: u8,
    /// When it was received, Unix milliseconds.
    pub at_ms: u64,
    /// When it expires, Unix milliseconds.
    pub expires_at_ms: Option<u64>,
}

impl RetainedRow {
    fn size(&self) -> usize {
        size(&self.topic, &self.body)
    }
}

impl From<&Message> for RetainedRow {
    fn from(message: &Message) -> Self {
        Self {
            topic: message.topic.clone(),
            body: message.body.clone(),
            qos: message.qos,
            at_ms: message.at_ms,
            expires_at_ms: message.expires_at_ms,
        }
    }
}

impl From<RetainedRow> for Message {
    fn from(row: RetainedRow) -> Self {
        Self {
            topic: row.topic,
            body: row.body,
            qos: row.qos,
            at_ms: row.at_ms,
            expires_at_ms: row.expires_at_ms,
        }
    }
}

/// A topic as the filter that matches it alone. A name that reads as a shared subscription is none:
/// nobody can subscribe to it (§4.8.2).
fn literal(topic: &str) -> Option<TopicFilter<'_>> {
    TopicFilter::parse(topic)
        .ok()
        .filter(|filter| filter.share_group().is_none())
}

fn size(topic: &str, body: &Bytes) -> usize {
    topic.len() + body.len()
}

/// All retained messages of an organisation.
#[derive(Debug, Default)]
pub(super) struct Retained {
    /// The value of a topic is its place in `rows`.
    topics: FilterTrie,
    rows: ChunkedSlab<RetainedRow>,
    /// One more than the highest place ever taken.
    places: u32,
    bytes: usize,
    /// Those that expire, by time.
    expiring: BTreeSet<(u64, CompactString)>,
}

impl Retained {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, topic: &str) -> Option<&RetainedRow> {
        let node = self.topics.get(literal(topic)?)?;
        self.rows.get(self.topics.value(node))
    }

    pub(super) fn has_room(&self, topic: &str, body: &Bytes, count: usize, bytes: usize) -> bool {
        if literal(topic).is_none() {
            return false;
        }
        let (new, old) = (size(topic, body), self.get(topic).map(RetainedRow::size));
        match old {
            Some(old) => new <= old || self.bytes - old + new <= bytes,
            None => self.len() < count && self.bytes + new <= bytes,
        }
    }

    pub(super) fn set(&mut self, row: RetainedRow) {
        self.clear(&row.topic);
        let Some(filter) = literal(&row.topic) else {
            return;
        };
        let node = self.topics.entry(filter);
        self.bytes += row.size();
        if let Some(at_ms) = row.expires_at_ms {
            self.expiring.insert((at_ms, row.topic.clone()));
        }
        let place = self.rows.insert(row);
        self.places = self.places.max(place + 1);
        self.topics.set_value(node, place);
    }

    pub(super) fn clear(&mut self, topic: &str) -> bool {
        let Some(node) = literal(topic).and_then(|filter| self.topics.get(filter)) else {
            return false;
        };
        let row = self.rows.remove(self.topics.value(node));
        self.topics.release(node);
        self.bytes -= row.size();
        if let Some(at_ms) = row.expires_at_ms {
            self.expiring.remove(&(at_ms, row.topic));
        }
        if self.rows.is_empty() {
            self.places = 0;
        }
        true
    }

    pub(super) fn expired(&self, now_ms: u64, most: usize) -> Vec<CompactString> {
        let expired = self.expiring.iter().take(most);
        expired
            .take_while(|(at_ms, _)| *at_ms <= now_ms)
            .map(|(_, topic)| topic.clone())
            .collect()
    }
}

/// The question which retained messages a filter matches, answered in pieces.
#[derive(Clone, Debug)]
pub struct RetainedQuery {
    filter: CompactString,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    Begin,
    /// These places are left.
    Found(Vec<u32>),
    /// All from this place on are to be looked at.
    All(u32),
}

impl RetainedQuery {
    /// Asks for a filter. A shared one has no retained messages (§4.8.2): do not ask.
    #[must_use]
    pub fn new(filter: TopicFilter<'_>) -> Self {
        Self {
            filter: filter.matched().into(),
            stage: Stage::Begin,
        }
    }

    /// Appends up to `most` retained messages that have not expired; answers whether there may be
    /// more. One that is set or cleared meanwhile may be left out or not.
    pub fn next_piece(
        &mut self,
        kept: &Kept,
        now_ms: u64,
        most: usize,
        into: &mut Vec<RetainedRow>,
    ) -> bool {
        let Ok(filter) = TopicFilter::parse(&self.filter) else {
            return false;
        };
        let retained = kept.retained.read();
        if matches!(self.stage, Stage::Begin) {
            self.stage = begin(&retained, filter);
        }
        let take = |place: u32| {
            let row = retained.rows.get(place)?;
            // The place may be another topic's by now.
            let suits = !is_expired(row.expires_at_ms, now_ms)
                && TopicName::parse(&row.topic).is_ok_and(|name| filter.matches(name));
            suits.then(|| row.clone())
        };
        match &mut self.stage {
            Stage::Begin => false,
            Stage::Found(places) => {
                let left = places.len().saturating_sub(most);
                into.extend(places.split_off(left).into_iter().filter_map(take));
                !places.is_empty()
            }
            Stage::All(next) => {
                let before = into.len();
                for _ in 0..ROWS_MAX {
                    if *next >= retained.places || into.len() - before >= most {
                        break;
                    }
                    into.extend(take(*next));
                    *next += 1;
                }
                *next < retained.places
            }
        }
    }
}

/// Finds the places at once, if that takes few steps.
fn begin(retained: &Retained, filter: TopicFilter<'_>) -> Stage {
    let mut places = Vec::new();
    let mut steps = STEPS_MAX;
    let found = retained
        .topics
        .overlapping(filter, &mut steps, |place| places.push(place));
    match found {
        Ok(()) => Stage::Found(places),
        Err(_) => Stage::All(0),
    }
}
