//! `bench presence`: one organisation with a million sessions, and ten thousand changes a second.
//!
//! The organisation and the HTTP API run in this process, without MQTT connections: what is
//! measured is the index, its lock and the answers. Sessions end and others open and subscribe
//! all the time, on one thread, while the questions are asked over HTTP on another.

mod book;
mod churn;
mod fill;
mod laps;
mod people;
mod questions;
mod rows;
mod service;
mod stopwatch;
mod stream;
mod verdict;

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::{machine, report::Report};
use book::Book;
use churn::{Churn, Outcome};
use fill::{Fill, fill};
use people::SETTLED_GROUPS;
use questions::{compare_topics, time_users};
use service::Service;
use stream::Streamed;

/// The organisation under test.
const ORG_ID: &str = "org_abc";

/// How long changes are made while nobody asks anything.
const QUIET: Duration = Duration::from_secs(3);

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Sessions of the organisation
    #[arg(long, default_value_t = 1_000_000)]
    sessions: usize,
    /// Sessions of the small organisation that topic queries are compared with
    #[arg(long, default_value_t = 10_000)]
    small: usize,
    /// Changes per second: a session that ends is one, and one that opens and subscribes
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
}

/// Measures and judges everything.
pub(crate) fn run(options: &Options) -> Result<Report> {
    let crowd = SETTLED_GROUPS as usize;
    ensure!(
        options.small > crowd && options.sessions > 2 * crowd,
        "more than {crowd} are needed"
    );
    let mut report = Report::default();
    machine::describe(&mut report);
    report.note("sessions", options.sessions.to_string());
    report.note("changes asked for", format!("{} a second", options.rate));

    measure(options, &mut report)?;
    Ok(report)
}

/// Fills the organisation and asks it everything.
fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let settled_count = options.sessions / 2;
    println!("filling {} sessions", options.sessions);
    let Fill {
        book,
        laps,
        bytes_per_session,
    } = fill(options.sessions, settled_count)?;
    verdict::on_fill(report, &laps, bytes_per_session);
    let service = Service::start(book.org())?;

    println!("changes without questions");
    let ((), quiet) = during_churn(book, options.rate, |_| {
        sleep(QUIET);
        Ok(())
    })?;
    verdict::on_changes(report, "no questions", &quiet, false);

    println!("single users");
    let ask = |_: &Churn| time_users(&service.api(), u32::try_from(settled_count)?);
    let (times, asked) = during_churn(quiet.book, options.rate, ask)?;
    verdict::on_users(report, &times);
    verdict::on_changes(report, "single users", &asked, false);

    println!("topics");
    let small = Service::start(fill(options.small, options.small)?.book.org())?;
    let ask = |_: &Churn| compare_topics(&service, &small);
    let (comparisons, asked) = during_churn(asked.book, options.rate, ask)?;
    for comparison in &comparisons {
        verdict::on_topic(report, comparison);
    }
    verdict::on_changes(report, "topics", &asked, false);

    println!("the whole list");
    let read = |churn: &Churn| Streamed::read(&service.api(), churn.next_number());
    let (streamed, asked) = during_churn(asked.book, options.rate, read)?;
    verdict::on_stream(report, &streamed, &asked);
    verdict::on_changes(report, "whole list", &asked, true);
    Ok(())
}

/// Runs `work` while sessions come and go.
fn during_churn<T>(
    book: Book,
    rate: u32,
    work: impl FnOnce(&Churn) -> Result<T>,
) -> Result<(T, Outcome)> {
    let churn = Churn::start(book, rate)?;
    let done = work(&churn);
    let outcome = churn.stop()?;
    Ok((done?, outcome))
}
