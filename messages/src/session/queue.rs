//! What waits for the client of a stored session, in the order in which it is sent, and sent again
//! after a reconnect (MQTT-4.4.0-1, MQTT-4.6.0-1).
//!
//! An entry keeps its packet identifier and its place from when it enters until the client has
//! acknowledged it for good. What has been sent is always the front of the queue, so two counts
//! say all about it.

use std::collections::VecDeque;

/// One message for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The message, by its number.
    pub(crate) message: u64,
    pub(crate) packet_id: u16,
    /// 1 or 2.
    pub(crate) qos: u8,
    /// Whether the client sees the retain flag.
    pub(crate) retain: bool,
    pub(crate) stage: Stage,
    /// Its body, in bytes, as it counts against the limit.
    pub(crate) bytes: u32,
    /// Whether SQLite has its row.
    pub(crate) is_on_disk: bool,
    pub(crate) subscription_ids: Box<[u32]>,
}

/// What is to be sent next (§4.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// PUBLISH.
    Publish,
    /// PUBREL: the client has the message.
    Release,
}

/// The entries of one session.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    bytes: u64,
    /// How many at the front the connection of now has been sent.
    pushed: usize,
    /// How many at the front the client may have got from any connection.
    sent: usize,
    last_packet_id: u16,
    /// Identifiers have begun anew since the queue was empty: the next may be in use.
    has_wrapped: bool,
}

impl Queue {
    /// A queue as it was stored.
    pub(crate) fn restored(entries: VecDeque<Entry>, sent: usize, last_packet_id: u16) -> Self {
        Self {
            bytes: entries.iter().map(|entry| u64::from(entry.bytes)).sum(),
            sent: sent.min(entries.len()),
            last_packet_id,
            has_wrapped: !entries.is_empty(),
            pushed: 0,
            entries,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn last_packet_id(&self) -> u16 {
        self.last_packet_id
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The identifier for the next message: the one after the last that is not in use.
    pub(crate) fn next_packet_id(&self) -> u16 {
        let mut candidate = next(self.last_packet_id);
        if self.has_wrapped || candidate < self.last_packet_id {
            while self.find(candidate).is_some() {
                candidate = next(candidate);
            }
        }
        candidate
    }

    /// Adds an entry whose identifier [`next_packet_id`](Self::next_packet_id) gave.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.has_wrapped |= entry.packet_id < self.last_packet_id;
        self.last_packet_id = entry.packet_id;
        self.bytes += u64::from(entry.bytes);
        self.entries.push_back(entry);
    }

    /// Takes an entry out, wherever it stands.
    pub(crate) fn remove(&mut self, packet_id: u16) -> Option<Entry> {
        let index = self.find(packet_id)?;
        let entry = self.entries.remove(index)?;
        self.bytes -= u64::from(entry.bytes);
        self.pushed -= usize::from(index < self.pushed);
        self.sent -= usize::from(index < self.sent);
        self.has_wrapped &= !self.entries.is_empty();
        Some(entry)
    }

    /// From now on only PUBREL is sent. Answers the message, if that is news.
    pub(crate) fn release(&mut self, packet_id: u16) -> Option<u64> {
        let index = self.find(packet_id)?;
        let entry = &mut self.entries[index];
        let is_news = entry.qos == 2 && entry.stage == Stage::Publish;
        is_news.then(|| {
            entry.stage = Stage::Release;
            self.bytes -= u64::from(std::mem::take(&mut entry.bytes));
            entry.message
        })
    }

    pub(crate) fn get(&self, packet_id: u16) -> Option<&Entry> {
        self.entries.get(self.find(packet_id)?)
    }

    /// The entry of a message.
    pub(crate) fn of_message(&self, message: u64) -> Option<&Entry> {
        self.entries.get(self.index_of(message)?)
    }

    /// SQLite has the entry of a message. Answers whether it is still here.
    pub(crate) fn flushed(&mut self, message: u64) -> bool {
        let Some(index) = self.index_of(message) else {
            return false;
        };
        self.entries[index].is_on_disk = true;
        true
    }

    /// Entries stand in the order of their messages.
    fn index_of(&self, message: u64) -> Option<usize> {
        self.entries
            .binary_search_by_key(&message, |entry| entry.message)
            .ok()
    }

    // === the connection of now ===

    /// A connection begins: it has been sent nothing.
    pub(crate) fn rewind(&mut self) {
        self.pushed = 0;
    }

    /// The connection ended; so many at the front may have been sent.
    pub(crate) fn set_sent(&mut self, sent: usize) {
        self.sent = sent.min(self.entries.len());
        self.pushed = 0;
    }

    /// A crash leaves no word of what was sent: all of it may have been.
    pub(crate) fn all_may_be_sent(&mut self) {
        self.set_sent(self.entries.len());
    }

    /// The next entry to be sent if the client may have `window` unacknowledged, and whether it
    /// may have been sent before.
    pub(crate) fn due(&self, window: usize) -> Option<(&Entry, bool)> {
        let entry = self.entries.get(self.pushed)?;
        (self.pushed < window).then_some((entry, self.pushed < self.sent))
    }

    /// What was due has been sent.
    pub(crate) fn pushed(&mut self) {
        self.pushed += 1;
        self.sent = self.sent.max(self.pushed);
    }

    /// In flight, and mostly near the front, where acknowledgements hit.
    fn find(&self, packet_id: u16) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.packet_id == packet_id)
    }
}

/// Packet identifiers are not 0 (MQTT-2.2.1-4).
fn next(packet_id: u16) -> u16 {
    packet_id.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests;
