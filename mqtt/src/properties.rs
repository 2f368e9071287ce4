//! Where a property stands in a packet that the codec has not seen yet.
//!
//! The codec takes three zeros for malformed that MQTT 5 does not: a Message
//! Expiry Interval of 0 is legal (§3.3.2.3.3), a Topic Alias or a Subscription
//! Identifier of 0 has a code of its own (§3.3.2.3.4, §3.8.2.1.2). And it takes numbers
//! that are longer than they need to be (§1.5.5). So those values are looked at before it
//! decodes. Other broken properties are left for it to find.

use crate::frame::variable_length;

/// Message Expiry Interval (§3.3.2.3.3, §3.1.3.2.4).
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
/// Subscription Identifier (§3.8.2.1.2, §3.3.2.3.8).
pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
/// Receive Maximum (§3.1.2.11.3).
pub(crate) const RECEIVE_MAX: u8 = 0x21;
/// Topic Alias (§3.3.2.3.4).
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
/// Maximum Packet Size (§3.1.2.11.4).
pub(crate) const PACKET_BYTES_MAX: u8 = 0x27;

/// Whether the properties whose length field is at `at` hold an integer property
/// `id` of `width` bytes that is 0.
pub(crate) fn is_zero(bytes: &[u8], at: usize, id: u8, width: usize) -> bool {
    value_at(bytes, at, id)
        .and_then(|value| bytes.get(value..value + width))
        .is_some_and(|value| value.iter().all(|byte| *byte == 0))
}

/// Whether the length at `at` of the properties, or a Subscription Identifier among them,
/// takes more bytes than it needs (MQTT-1.5.5-1).
pub(crate) fn are_padded(bytes: &[u8], at: usize) -> bool {
    let is_padded = |at: usize| {
        let number = bytes.get(at..).map(variable_length);
        matches!(number, Some(Ok(Some(number))) if number.is_padded())
    };
    is_padded(at) || value_at(bytes, at, SUBSCRIPTION_ID).is_some_and(is_padded)
}

/// Makes a Message Expiry Interval of 0 one that the codec takes, and says whether
/// there was one. `at` as in [`is_zero`].
pub(crate) fn mend_zero_expiry(bytes: &mut [u8], at: usize) -> bool {
    let is_zero = is_zero(bytes, at, MESSAGE_EXPIRY, 4);
    if let Some(value) = value_at(bytes, at, MESSAGE_EXPIRY).filter(|_| is_zero) {
        bytes[value + 3] = 1;
    }
    is_zero
}

/// Where the value of the first property `id` begins; `None` if there is none, or
/// the properties before it are broken.
fn value_at(bytes: &[u8], at: usize, id: u8) -> Option<usize> {
    let length = variable_length(bytes.get(at..)?).ok()??;
    let mut at = at + usize::from(length.width);
    let end = at + usize::try_from(length.value).ok()?;
    let bytes = bytes.get(..end)?;
    while let Some(found) = bytes.get(at) {
        at += 1;
        if *found == id {
            return Some(at);
        }
        at += value_len(*found, bytes.get(at..)?)?;
    }
    None
}

/// Bytes of the value of a property `id` (§2.2.2.2).
fn value_len(id: u8, rest: &[u8]) -> Option<usize> {
    match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => Some(1),
        0x13 | 0x21..=0x23 => Some(2),
        0x02 | 0x11 | 0x18 | 0x27 => Some(4),
        SUBSCRIPTION_ID => Some(usize::from(variable_length(rest).ok()??.width)),
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => text_len(rest),
        0x26 => {
            let name = text_len(rest)?;
            Some(name + text_len(rest.get(name..)?)?)
        }
        _ => None,
    }
}

/// Bytes of a text or binary field with its length (§1.5.4, §1.5.6).
pub(crate) fn text_len(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<2>()?;
    Some(2 + usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_behind_properties_of_every_kind() {
        let rows: &[(&str, &[u8], Option<usize>)] = &[
            ("nothing", b"\x00", None),
            ("first", b"\x05\x02\x00\x00\x00\x00", Some(2)),
            (
                "behind a byte",
                b"\x07\x01\x01\x02\x00\x00\x00\x00",
                Some(4),
            ),
            (
                "behind two bytes",
                b"\x08\x23\x00\x01\x02\x00\x00\x00\x00",
                Some(5),
            ),
            (
                "behind four bytes",
                b"\x0A\x18\x00\x00\x00\x07\x02\x00\x00\x00\x00",
                Some(7),
            ),
            (
                "behind a text",
                b"\x09\x03\x00\x01a\x02\x00\x00\x00\x00",
                Some(6),
            ),
            (
                "behind a pair",
                b"\x0C\x26\x00\x01a\x00\x01b\x02\x00\x00\x00\x00",
                Some(9),
            ),
            (
                "behind an identifier",
                b"\x08\x0B\x80\x01\x02\x00\x00\x00\x00",
                Some(5),
            ),
            (
                "behind what does not exist",
                b"\x07\x7F\x01\x02\0\0\0\0",
                None,
            ),
            ("length over the end", b"\x09\x02\x00\x00\x00\x00", None),
            ("text over the end", b"\x04\x03\x00\x09a", None),
            ("in the payload only", b"\x00\x02\x00\x00\x00\x00", None),
        ];
        for (name, bytes, expected) in rows {
            assert_eq!(value_at(bytes, 0, MESSAGE_EXPIRY), *expected, "{name}");
        }
    }

    #[test]
    fn only_zero_is_mended() {
        let mut zero = *b"\x05\x02\x00\x00\x00\x00";
        assert!(mend_zero_expiry(&mut zero, 0));
        assert_eq!(zero, *b"\x05\x02\x00\x00\x00\x01");
        assert!(!mend_zero_expiry(&mut zero, 0));
        let mut cut = *b"\x03\x02\x00\x00";
        assert!(!mend_zero_expiry(&mut cut, 0));
    }
}
