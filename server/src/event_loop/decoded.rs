//! Stored messages that were decoded a moment ago: one that goes to a thousand connections of a loop
//! is decoded once, and with it its forms on the wire are made once.
//!
//! A message is known by its buffer, which is held as long as it is known: so its place in memory
//! is nobody else's.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mqtt::{Message, StoredMessageError};

/// So many are known at a time; with one more all are forgotten.
const KNOWN_MAX: usize = 64;

/// Decoded messages by where their buffer begins, and how long it is.
#[derive(Default)]
pub(super) struct Decoded {
    known: HashMap<(usize, usize), (Bytes, Arc<Message>)>,
}

impl Decoded {
    /// The message in `body`.
    ///
    /// # Errors
    /// If it is none in a form that is known.
    pub(super) fn read(&mut self, body: &Bytes) -> Result<Arc<Message>, StoredMessageError> {
        let place = (body.as_ptr() as usize, body.len());
        if let Some((_, message)) = self.known.get(&place) {
            return Ok(Arc::clone(message));
        }
        let message = Arc::new(Message::decode_stored(body.clone())?);
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let known = (body.clone(), Arc::clone(&message));
        self.known.insert(place, known);
        Ok(message)
    }

    /// To be called at the end of a batch: what is not under way holds no memory.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(payload: &str) -> Bytes {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let message = Message::new("a/b".into(), payload, mqtt::QoS::AtLeastOnce);
        message.encode_stored().unwrap()
    }

    #[test]
    fn the_same_buffer_is_decoded_once_until_it_is_forgotten() {
        let mut decoded = Decoded::default();
        let body = stored("m");
        let first = decoded.read(&body).unwrap();
        for _ in 0..1_000 {
            assert!(Arc::ptr_eq(&decoded.read(&body.clone()).unwrap(), &first));
        }
        decoded.forget();
        let again = decoded.read(&body).unwrap();
        assert!(!Arc::ptr_eq(&again, &first));
        assert_eq!(again.payload(), first.payload());
    }

    #[test]
    fn however_buffers_come_and_go_each_gives_its_own_message() {
        let mut decoded = Decoded::default();
        for n in 0..KNOWN_MAX * 3 {
            // Its memory would be the next one's if it were not held.
            let payload = format!("{n:04}");
            let message = decoded.read(&stored(&payload)).unwrap();
            assert_eq!(message.payload()[..], *payload.as_bytes());
            assert!(decoded.known.len() <= KNOWN_MAX);
        }
    }

    #[test]
    fn what_is_no_message_is_an_error_every_time() {
        let mut decoded = Decoded::default();
        let body = Bytes::from_static(b"nonsense");
        assert!(decoded.read(&body).is_err());
        assert!(decoded.read(&body).is_err());
    }
}
