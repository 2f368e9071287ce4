//! Where one packet ends and the next begins.
//!
//! The fixed header (MQTT 5 §2.1) alone decides: a type, flags, and the length
//! of the rest in one to four bytes. Reading it before anything else lets the
//! caller refuse a packet that is too large before a byte of it is buffered.
//! Nothing here looks past the fixed header.

/// Why the bytes at hand cannot begin a packet. The connection must close;
/// [`crate::Session::handle_frame_error`] says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The packet would be longer than this server takes.
    #[error("packet of {bytes} bytes is over the limit of {max}")]
    TooLarge {
        /// Length of the whole packet, fixed header included.
        bytes: u32,
        /// The limit it exceeds.
        max: u32,
    },
    /// The length has a fifth byte (§1.5.5).
    #[error("packet length has more than four bytes")]
    MalformedLength,
    /// Packet type 0, which is forbidden (§2.1.2).
    #[error("packet type 0 does not exist")]
    BadType,
}

/// Length in bytes of the first packet in `buf`, fixed header included, or
/// `None` while more bytes are needed.
///
/// # Errors
/// As soon as the fixed header shows that no acceptable packet follows;
/// `packet_bytes_max` counts the fixed header, as Maximum Packet Size does
/// (§3.1.2.11.4).
pub fn whole_frame(buf: &[u8], packet_bytes_max: u32) -> Result<Option<usize>, FrameError> {
    let Some(&first) = buf.first() else {
        return Ok(None);
    };
    if first >> 4 == 0 {
        return Err(FrameError::BadType);
    }
    let Some(length) = variable_length(&buf[1..])? else {
        return Ok(None);
    };
    // At most 5 + 268,435,455: no overflow.
    let bytes = 1 + u32::from(length.width) + length.value;
    if bytes > packet_bytes_max {
        return Err(FrameError::TooLarge {
            bytes,
            max: packet_bytes_max,
        });
    }
    Ok(usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= buf.len()))
}

/// A Variable Byte Integer (§1.5.5) as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VariableLength {
    pub(crate) value: u32,
    /// Bytes it took, 1 to 4.
    pub(crate) width: u8,
}

impl VariableLength {
    /// Whether fewer bytes would have done (forbidden by MQTT-1.5.5-1).
    pub(crate) fn is_padded(self) -> bool {
        self.width > 1 && self.value < 1 << (7 * (u32::from(self.width) - 1))
    }
}

/// Reads a Variable Byte Integer; `None` while it is incomplete.
pub(crate) fn variable_length(bytes: &[u8]) -> Result<Option<VariableLength>, FrameError> {
    let mut value = 0;
    for (width, byte) in (1_u8..=4).zip(bytes) {
        value |= u32::from(byte & 0x7F) << (7 * (width - 1));
        if byte & 0x80 == 0 {
            return Ok(Some(VariableLength { value, width }));
        }
    }
    if bytes.len() >= 4 {
        Err(FrameError::MalformedLength)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_known_only_when_the_packet_is_whole() {
        let rows: &[(&str, &[u8], Option<usize>)] = &[
            ("nothing", &[], None),
            ("type only", &[0xC0], None),
            ("ping", &[0xC0, 0], Some(2)),
            ("ping and more", &[0xC0, 0, 0xC0, 0], Some(2)),
            ("body missing", &[0x40, 2, 0], None),
            ("body complete", &[0x40, 2, 0, 1], Some(4)),
            ("length unfinished", &[0x30, 0x80, 0x80], None),
        ];
        for (name, bytes, expected) in rows {
            assert_eq!(whole_frame(bytes, 1000), Ok(*expected), "{name}");
        }
    }

    #[test]
    fn size_limit_is_enforced_from_the_header_alone() {
        // 3 bytes of fixed header and 128 of body.
        let header = [0x30, 0x80, 0x01];
        assert_eq!(whole_frame(&header, 131), Ok(None));
        assert_eq!(
            whole_frame(&header, 130),
            Err(FrameError::TooLarge {
                bytes: 131,
                max: 130
            })
        );
        assert_eq!(
            whole_frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 1 << 20),
            Err(FrameError::TooLarge {
                bytes: 268_435_460,
                max: 1 << 20
            })
        );
    }

    #[test]
    fn impossible_headers_are_refused() {
        assert_eq!(whole_frame(&[0x00, 0], 1000), Err(FrameError::BadType));
        assert_eq!(
            whole_frame(&[0x30, 0x80, 0x80, 0x80, 0x80], u32::MAX),
            Err(FrameError::MalformedLength)
        );
    }

    #[test]
    fn padded_length_is_noticed() {
        for (bytes, padded) in [
            (&[0x00_u8][..], false),
            (&[0x80, 0x00], true),
            (&[0x80, 0x01], false),
            (&[0xFF, 0x80, 0x00], true),
        ] {
            let length = variable_length(bytes).unwrap().unwrap();
            assert_eq!(length.is_padded(), padded, "{bytes:?}");
        }
    }
}
