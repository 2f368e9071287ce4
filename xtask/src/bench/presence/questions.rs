//! What an application asks: is this user online, and who is subscribed to this topic.
//!
//! Topics are asked for over HTTP and also directly at the index, which shows the cost without
//! JSON and sockets. The large and the small organisation are asked by turns: how fast a request
//! is answered depends on which core wakes up where, and that changes from second to second.

use std::time::Instant;

use anyhow::{Result, ensure};
use presence::{Listing, Org, Piece};
use topics::TopicFilter;

use super::super::http::Api;
use super::super::stats::{median, percentile};
use super::people::{CROWD_SIZE, INBOX_OWNER, ROOM_SIZE, WILDCARD_OWNER, username};
use super::rows;
use super::service::Service;

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
struct TopicQuestion {
    filter: String,
    row_count: usize,
}

/// The questions that are compared between a small and a large organisation.
fn topic_questions() -> Vec<TopicQuestion> {
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

/// Median times of one question in nanoseconds, among many sessions and among few.
pub(super) struct TopicComparison {
    pub(super) filter: String,
    pub(super) row_count: usize,
    pub(super) http: Times,
    pub(super) index: Times,
}

/// One figure of both organisations.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) many: f64,
    pub(super) few: f64,
}

/// Asks every topic question of both, over HTTP and at the index.
pub(super) fn compare_topics(many: &Service, few: &Service) -> Result<Vec<TopicComparison>> {
    let apis = (many.api(), few.api());
    let compare = |question: TopicQuestion| {
        let TopicQuestion { filter, row_count } = question;
        let path = format!("/v2/utilities/presence?topic={}", query_value(&filter));
        let http = by_turns(row_count, &apis.0, &apis.1, |api| {
            rows::read(api.get(&path)?, |_| {})
        })?;
        let index = by_turns(row_count, many.org(), few.org(), |org| {
            count_at_index(org, &filter)
        })?;
        Ok(TopicComparison {
            filter,
            row_count,
            http,
            index,
        })
    };
    topic_questions().into_iter().map(compare).collect()
}

/// Median times of `ask` for `many` and `few`, which must both have `row_count` rows to give.
fn by_turns<T: ?Sized>(
    row_count: usize,
    many: &T,
    few: &T,
    ask: impl Fn(&T) -> Result<usize>,
) -> Result<Times> {
    let repetitions = (ROWS_PER_FIGURE / row_count).clamp(REPETITIONS.0, REPETITIONS.1);
    let time = |whom: &T| {
        let start = Instant::now();
        let rows = ask(whom)?;
        let nanos = start.elapsed().as_nanos() as f64;
        ensure!(
            rows == row_count,
            "an answer of {row_count} rows had {rows}"
        );
        Ok(nanos)
    };
    let (mut of_many, mut of_few) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        of_many.push(time(many)?);
        of_few.push(time(few)?);
    }
    Ok(Times {
        many: median(&of_many),
        few: median(&of_few),
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
