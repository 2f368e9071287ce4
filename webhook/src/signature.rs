//! How a receiver knows that an event is ours: two kinds of signature, made and verified.
//!
//! [`standard`] is Standard Webhooks 1.0, which covers the body; [`app_key`] is the contract
//! vendor's own family, which does not. An endpoint may have either or both. Nothing here reads a
//! clock or draws a random number; both come in as arguments.

pub mod app_key;
pub mod standard;

use thiserror::Error;

/// Why a request is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// The time of signing is not a number, or further from now than the tolerance.
    #[error("the time of signing is missing or too far from now")]
    Timestamp,
    /// No signature matches.
    #[error("no signature matches")]
    Signature,
}

/// Whether `timestamp` and `now`, in one unit, are at most `tolerance` apart.
fn within(timestamp: u64, now: u64, tolerance: u64) -> Result<(), VerifyError> {
    if timestamp.abs_diff(now) > tolerance {
        return Err(VerifyError::Timestamp);
    }
    Ok(())
}
