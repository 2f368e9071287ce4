//! How one attempt to deliver ended.
//!
//! The lane acts on the variant alone; the reasons are for logs and for the operator's eyes.

use thiserror::Error;

use crate::address::AddressError;

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it: a 2xx answer.
    Delivered {
        /// The status of the answer.
        status: u16,
    },
    /// The receiver cannot take anything now.
    Down {
        /// What went wrong.
        why: DownReason,
        /// How long the receiver asked to be left alone, in milliseconds (`Retry-After`).
        retry_after_ms: Option<u64>,
    },
    /// The receiver does not want this event: an answer that is neither 2xx nor a sign that it is
    /// down, a redirect included.
    Refused {
        /// The status of the answer.
        status: u16,
    },
    /// The receiver wants no events any more: 410.
    Gone,
}

impl Outcome {
    /// What an answer means for the event it answers. `retry_after_ms` is kept only where it
    /// counts.
    #[must_use]
    pub fn from_status(status: u16, retry_after_ms: Option<u64>) -> Self {
        match status {
            200..=299 => Self::Delivered { status },
            410 => Self::Gone,
            408 | 429 | 500.. => Self::Down {
                why: DownReason::Status(status),
                retry_after_ms,
            },
            _ => Self::Refused { status },
        }
    }
}

impl From<DownReason> for Outcome {
    fn from(why: DownReason) -> Self {
        Self::Down {
            why,
            retry_after_ms: None,
        }
    }
}

/// Why an endpoint counts as down.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DownReason {
    /// The receiver's name has no address.
    #[error("name cannot be resolved: {0}")]
    Resolve(String),
    /// None of the receiver's addresses may be dialled; holds the reason against the last one.
    #[error("address refused: {0}")]
    Address(AddressError),
    /// None of the receiver's addresses could be connected to.
    #[error("no connection: {0}")]
    Connect(std::io::ErrorKind),
    /// No TLS session, or none with the host that was meant.
    #[error("TLS failure: {0}")]
    Tls(String),
    /// The attempt's deadline passed before the last byte of the answer.
    #[error("no complete answer in time")]
    Timeout,
    /// The connection ended, or what came was not HTTP, before the last byte of the answer.
    #[error("no complete answer: {0}")]
    Incomplete(String),
    /// 408, 429 or 5xx.
    #[error("status {0}")]
    Status(u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_becomes_of_the_event() {
        let down = |status| Outcome::Down {
            why: DownReason::Status(status),
            retry_after_ms: Some(7),
        };
        let rows = [
            (200, Outcome::Delivered { status: 200 }),
            (204, Outcome::Delivered { status: 204 }),
            (299, Outcome::Delivered { status: 299 }),
            (101, Outcome::Refused { status: 101 }),
            (301, Outcome::Refused { status: 301 }),
            (400, Outcome::Refused { status: 400 }),
            (404, Outcome::Refused { status: 404 }),
            (408, down(408)),
            (410, Outcome::Gone),
            (429, down(429)),
            (499, Outcome::Refused { status: 499 }),
            (500, down(500)),
            (503, down(503)),
            (599, down(599)),
            (999, down(999)),
        ];
        for (status, outcome) in rows {
            assert_eq!(Outcome::from_status(status, Some(7)), outcome, "{status}");
        }
    }
}
