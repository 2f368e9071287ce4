//! What is read of an answer: its status, `Retry-After`, and a few KiB of its body.

use http_body_util::BodyExt;
use hyper::{Response, body::Incoming, header::RETRY_AFTER};

use crate::{
    outcome::{DownReason, Outcome},
    schedule::parse_retry_after_ms,
};

/// A read answer, and whether its connection can carry another request.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) reusable: bool,
}

/// Reads the body to its end or to `bytes_max`; the caller's deadline bounds how long that takes.
pub(super) async fn read(
    response: Response<Incoming>,
    bytes_max: usize,
    now_ms: u64,
) -> Result<Answer, DownReason> {
    let (head, mut body) = response.into_parts();
    let retry_after = head
        .headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let retry_after_ms = retry_after.and_then(|value| parse_retry_after_ms(value, now_ms));
    let mut left = bytes_max;
    let reusable = loop {
        let Some(frame) = body.frame().await else {
            break true;
        };
        let frame = frame.map_err(|error| DownReason::Incomplete(error.to_string()))?;
        let read = frame.data_ref().map_or(0, |data| data.len());
        if read > left {
            break false;
        }
        left -= read;
    };
    Ok(Answer {
        outcome: Outcome::from_status(head.status.as_u16(), retry_after_ms),
        reusable,
    })
}
