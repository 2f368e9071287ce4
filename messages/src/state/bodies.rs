//! The messages that wait in queues, each once, however many queues it is in.
//!
//! A body that SQLite has need not be in memory: it is read back when it is sent.

use std::collections::HashMap;

use bytes::Bytes;

use super::Dirty;
use crate::message::Message;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// None when only SQLite has it.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) at_ms: u64,
    pub(crate) expires_at_ms: Option<u64>,
    /// How many queue entries still need it.
    pub(crate) refs: u32,
    pub(crate) is_on_disk: bool,
}

impl Body {
    pub(crate) fn new(message: &Message, refs: u32) -> Self {
        Self {
            bytes: Some(message.body.clone()),
            at_ms: message.at_ms,
            expires_at_ms: message.expires_at_ms,
            refs,
            is_on_disk: false,
        }
    }
}

/// All messages in queues, by number.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    by_number: HashMap<u64, Body>,
    bytes_in_memory: usize,
}

impl Bodies {
    pub(crate) fn get(&self, number: u64) -> Option<&Body> {
        self.by_number.get(&number)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// The bytes of those bodies that are in memory.
    pub(crate) fn bytes_in_memory(&self) -> usize {
        self.bytes_in_memory
    }

    pub(crate) fn insert(&mut self, number: u64, body: Body) {
        self.bytes_in_memory += body.bytes.as_ref().map_or(0, Bytes::len);
        self.by_number.insert(number, body);
    }

    /// An entry needs it no longer.
    pub(super) fn release(&mut self, number: u64, dirty: &mut Dirty) {
        let Some(body) = self.by_number.get_mut(&number) else {
            return;
        };
        body.refs -= 1;
        if body.refs > 0 {
            return;
        }
        self.bytes_in_memory -= body.bytes.as_ref().map_or(0, Bytes::len);
        if body.is_on_disk {
            dirty.message_gone(number);
        }
        self.by_number.remove(&number);
    }

    /// SQLite has it: its bytes go. Answers whether anybody still needs it.
    pub(crate) fn flushed(&mut self, number: u64) -> bool {
        let Some(body) = self.by_number.get_mut(&number) else {
            return false;
        };
        body.is_on_disk = true;
        self.bytes_in_memory -= body.bytes.take().map_or(0, |bytes| bytes.len());
        true
    }
}
