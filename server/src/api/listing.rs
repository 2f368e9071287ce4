//! Turns a listing into a response, in pieces.
//!
//! Each piece is written under one short lock of the organisation. A short answer is gathered
//! whole, with its counts first. A long one takes a permit and is streamed: rows are written as
//! fast as the client reads them and never pile up here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use presence::{Listing, Piece};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::OwnedSemaphorePermit;

use super::AppState;
use super::problem::Problem;
use super::view::{Answer, Totals};
use crate::accounts::OrgIndex;

/// Most rows of an answer that is gathered whole.
const WHOLE_ROWS_MAX: usize = 512;
/// Most rows written under one lock: well under a millisecond for sessions of ordinary size.
const PIECE_ROWS_MAX: usize = 64;
/// Pieces read before a listing counts as long even though it found few rows.
const WHOLE_PIECES_MAX: usize = 64;

/// A listing under way and the rows written so far.
pub(super) struct Gathering {
    state: Arc<AppState>,
    org: OrgIndex,
    listing: Listing,
    answer: Answer,
    /// Rows that may still follow, when there is a limit.
    rows_left: Option<usize>,
    rows: Vec<u8>,
    totals: Totals,
    is_done: bool,
}

impl Gathering {
    pub(super) fn new(
        state: Arc<AppState>,
        org: OrgIndex,
        listing: Listing,
        answer: Answer,
        limit: Option<usize>,
    ) -> Self {
        let totals = Totals {
            next_cursor: limit.map(|_| None),
            ..Totals::default()
        };
        let rows = Vec::new();
        Self {
            state,
            org,
            listing,
            answer,
            rows_left: limit,
            rows,
            totals,
            is_done: false,
        }
    }

    /// Writes the next piece behind the rows there are.
    fn step(&mut self) {
        let Self {
            state,
            org,
            listing,
            answer,
            rows,
            totals,
            ..
        } = self;
        let rows_max = self
            .rows_left
            .map_or(PIECE_ROWS_MAX, |left| left.min(PIECE_ROWS_MAX));
        let rows_before = totals.sessions;
        let piece = listing.next_piece(state.org(*org), rows_max, &mut |view, new_user| {
            let display_name = state.accounts.display_name(*org, view.username);
            answer.row(rows, totals.sessions == 0, view, display_name.as_deref());
            totals.sessions += 1;
            totals.users += usize::from(new_user);
        });
        if let Some(left) = &mut self.rows_left {
            *left -= totals.sessions - rows_before;
        }
        match piece {
            Piece::Done => self.is_done = true,
            Piece::More(position) if self.rows_left == Some(0) => {
                totals.next_cursor = Some(Some(state.cursors.write(position)));
                self.is_done = true;
            }
            Piece::More(_) => {}
        }
    }
}

/// Answers with the listing: whole if it is short, else as a stream.
pub(super) async fn respond(mut gathering: Gathering) -> Result<Response, Problem> {
    for _ in 0..WHOLE_PIECES_MAX {
        gathering.step();
        if gathering.is_done && gathering.totals.sessions <= WHOLE_ROWS_MAX {
            let json = gathering.answer.whole(&gathering.rows, &gathering.totals);
            return Ok(json_response(json.into()));
        }
        if gathering.totals.sessions > WHOLE_ROWS_MAX {
            break;
        }
        tokio::task::yield_now().await;
    }
    let semaphore = Arc::clone(&gathering.state.listings);
    let permit = semaphore
        .try_acquire_owned()
        .map_err(|_| Problem::TooManyListings)?;
    Ok(json_response(Body::new(Stream::new(gathering, permit))))
}

/// A whole answer.
pub(super) fn json_response(body: Body) -> Response {
    // Who is online changes all the time, and is nobody else's business.
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

/// The body of a long answer.
struct Stream {
    gathering: Gathering,
    next: Next,
    _permit: OwnedSemaphorePermit,
    gauge: Gauge,
}

/// What a stream writes next.
enum Next {
    Head,
    Rows,
    Nothing,
}

impl Stream {
    fn new(gathering: Gathering, permit: OwnedSemaphorePermit) -> Self {
        let gauge = gathering.state.metrics.http.listings.clone();
        gauge.inc();
        Self {
            gathering,
            next: Next::Head,
            _permit: permit,
            gauge,
        }
    }

    /// The bytes of the next frame; empty when a piece found nothing.
    fn next_bytes(&mut self) -> Option<Vec<u8>> {
        let gathering = &mut self.gathering;
        let mut bytes = match self.next {
            Next::Head => gathering.answer.head(),
            Next::Rows => {
                gathering.step();
                Vec::new()
            }
            Next::Nothing => return None,
        };
        bytes.append(&mut gathering.rows);
        self.next = Next::Rows;
        if gathering.is_done {
            bytes.append(&mut gathering.answer.tail(&gathering.totals));
            self.next = Next::Nothing;
        }
        Some(bytes)
    }
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut().next_bytes() {
            // An empty frame would end nothing and help nobody; let others run and come back.
            Some(bytes) if bytes.is_empty() => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
