//! What an application asks: is this user online, and who is subscribed to this topic.
//!
//! Topics are asked for over HTTP and also directly at the index, which shows the cost without
//! JSON and sockets.

use std::time::Instant;

use anyhow::{Result, ensure};
use presence::{Listing, Org, Piece};
use topics::TopicFilter;

use super::super::http::Api;
use super::super::stats::{median, percentile};
use super::people::{self, CROWD_SIZE, INBOX_OWNER, ROOM_SIZE, WILDCARD_OWNER, username};
use super::rows;

/// Requests for single users.
const USER_QUERIES: u32 = 5_000;

/// Rows asked for under one lock, as many as the server asks for or thereabouts.
const ROWS_PER_PIECE: usize = 256;

/// Rows to read for one figure, so that small answers are repeated often and large ones seldom.
const ROWS_PER_FIGURE: usize = 100_000;

/// Repetitions for one figure: at least and at most.
const REPETITIONS: (usize, usize) = (20, 500);

/// Times of single-user queries over HTTP, sorted, in nanoseconds.
pub(super) fn time_users(api: &Api, settled_count: u32) -> Result<Vec<u64>> {
    let mut times = Vec::new();
    for query in 0..USER_QUERIES {
        let number = query.wrapping_mul(2_654_435_761) % settled_count;
        let path = format!("/v2/utilities/presence/{}", username(number));
        let start = Instant::now();
        let body = std::io::read_to_string(api.get(&path)?)?;
        times.push(start.elapsed().as_nanos() as u64);
        ensure!(
            body.contains("\"is_online\":true"),
            "{path} is shown as {body}"
        );
    }
    times.sort_unstable();
    Ok(times)
}

/// A question about a topic whose answer has the same rows however many others are online.
pub(super) struct TopicQuestion {
    pub(super) filter: String,
    pub(super) row_count: usize,
}

/// The questions that are compared between a small and a large organisation.
pub(super) fn topic_questions() -> Vec<TopicQuestion> {
    let question = |filter: String, rows: u32| TopicQuestion {
        filter,
        row_count: rows as usize,
    };
    vec![
        question(format!("users/{}/inbox", username(INBOX_OWNER)), 1),
        question(format!("chat/dms/{}/+", username(WILDCARD_OWNER)), 1),
        question("chat/rooms/77".to_owned(), ROOM_SIZE),
        question("news/sport".to_owned(), CROWD_SIZE),
        question("teams/42/+".to_owned(), CROWD_SIZE),
    ]
}

/// Median times of one question, in nanoseconds.
#[derive(Clone, Copy)]
pub(super) struct TopicTimes {
    pub(super) http: f64,
    pub(super) index: f64,
}

/// Asks `question` over HTTP and at the index.
pub(super) fn time_topic(api: &Api, org: &Org, question: &TopicQuestion) -> Result<TopicTimes> {
    let expected = question.row_count;
    let repetitions = (ROWS_PER_FIGURE / expected).clamp(REPETITIONS.0, REPETITIONS.1);
    let path = format!(
        "/v2/utilities/presence?topic={}",
        query_value(&question.filter)
    );
    let (mut http, mut index) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let start = Instant::now();
        let rows = rows::read(api.get(&path)?, |id| {
            assert!(people::number_of(id).is_some())
        })?;
        http.push(start.elapsed().as_nanos() as f64);
        ensure!(rows == expected, "{path} gave {rows} rows, not {expected}");

        let start = Instant::now();
        let rows = count_at_index(org, &question.filter)?;
        index.push(start.elapsed().as_nanos() as f64);
        ensure!(
            rows == expected,
            "{} has {rows} rows, not {expected}",
            question.filter
        );
    }
    Ok(TopicTimes {
        http: median(&http),
        index: median(&index),
    })
}

fn count_at_index(org: &Org, filter: &str) -> Result<usize> {
    let filter = TopicFilter::parse(filter).map_err(|_| anyhow::anyhow!("an invalid filter"))?;
    let mut listing = Listing::of_org(Some(filter), None);
    let mut rows = 0;
    while let Piece::More(_) = listing.next_piece(org, ROWS_PER_PIECE, &mut |_, _| rows += 1) {}
    Ok(rows)
}

/// `filter` as the value of a query parameter; the other characters in use need no escape.
fn query_value(filter: &str) -> String {
    filter.replace('+', "%2B").replace('#', "%23")
}

/// The median and the 99th percentile of sorted `times`.
pub(super) fn p50_and_p99(times: &[u64]) -> (u64, u64) {
    (percentile(times, 500), percentile(times, 990))
}
