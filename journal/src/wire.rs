//! The parts that records are made of: bytes, numbers and texts, and what is wrong with them.
//!
//! Numbers are little endian or, where they are mostly small, varints of 7 bits a byte. Checksums
//! and lengths of records are the block's business.

use compact_str::CompactString;
use thiserror::Error;

/// Why the bytes of a record are no record, although their checksum is right.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// A number whose meaning came later than this program.
    #[error("{what} {number} is unknown")]
    Unknown {
        /// What is unknown: "the kind of fact", "the reason of an ending"…
        what: &'static str,
        /// Its number.
        number: u8,
    },
    /// Not what any version writes.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Appends a text: its length as a varint, then UTF-8.
pub fn put_text(text: &str, out: &mut Vec<u8>) {
    put_bytes(text.as_bytes(), out);
}

/// Takes a text.
///
/// # Errors
/// When the input ends too early or is not UTF-8.
pub fn take_text(input: &mut &[u8]) -> Result<CompactString, DecodeError> {
    CompactString::from_utf8(take_bytes(input)?)
        .map_err(|_| DecodeError::Malformed("text is not UTF-8"))
}

/// Appends a number in groups of 7 bits, the lowest first: small numbers are short.
pub fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes: their length as a varint, then they.
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Takes bytes.
///
/// # Errors
/// When the input ends too early.
pub fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = usize::try_from(take_varint(input)?).map_err(|_| TOO_SHORT)?;
    let (bytes, rest) = input.split_at_checked(length).ok_or(TOO_SHORT)?;
    *input = rest;
    Ok(bytes)
}

/// Takes a number.
///
/// # Errors
/// When the input ends too early, or the number has more than 64 bits.
pub fn take_varint(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_u8(input)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(DecodeError::Malformed("a number has too many bytes"))
}

/// Takes a byte.
///
/// # Errors
/// When there is none.
pub fn take_u8(input: &mut &[u8]) -> Result<u8, DecodeError> {
    take(input).map(|[byte]: [u8; 1]| byte)
}

/// Takes so many bytes.
///
/// # Errors
/// When there are fewer.
pub fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (bytes, rest) = input.split_first_chunk().ok_or(TOO_SHORT)?;
    *input = rest;
    Ok(*bytes)
}

/// The error for a number whose meaning came later than this program.
#[must_use]
pub fn unknown(what: &'static str, number: u8) -> DecodeError {
    DecodeError::Unknown { what, number }
}

const TOO_SHORT: DecodeError = DecodeError::Malformed("a record ends too early");
