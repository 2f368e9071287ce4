//! What lies on disk: reading anything is an error at worst, and what was read is written the same.

use bytes::Bytes;
use journal::Record as _;
use messages::record::Record;
use mqtt::{Message, QoS, Version};

/// A message in its stored form.
pub fn message(bytes: &[u8]) {
    let Ok(read) = Message::decode_stored(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let written = read.encode_stored().expect("it came out of one packet");
    let again = Message::decode_stored(written.clone()).expect("what we write can be read");
    assert_eq!(again.encode_stored(), Some(written));
    assert_eq!(
        (again.topic(), again.payload(), again.qos(), again.retain()),
        (read.topic(), read.payload(), read.qos(), read.retain())
    );
    assert_eq!(again.expires_at_ms(), read.expires_at_ms());
    for version in [Version::V31, Version::V311, Version::V5] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let frame = read.frame(version, qos);
            assert_eq!(mqtt::whole_frame(frame, u32::MAX), Ok(Some(frame.len())));
        }
    }
}

/// Records of the log of messages, one after the other.
pub fn record(bytes: &[u8]) {
    let mut input = bytes;
    while !input.is_empty() {
        let before = input.len();
        let Ok(record) = Record::decode(&mut input) else {
            return;
        };
        assert!(input.len() < before, "a record of no bytes");
        let mut written = Vec::new();
        record.encode(&mut written);
        let mut rest = &written[..];
        assert_eq!(Record::decode(&mut rest).as_ref(), Ok(&record));
        assert!(rest.is_empty());
    }
}
