//! Events that were given up: kept, listed, and sent again when someone asks for it.

use std::ops::Range;

use rusqlite::{Connection, Row, ToSql};

use super::{
    Deliveries, EVENT_COLUMN_COUNT, Parked, bind_event, declare_event, event_columns, parked,
    read_event,
};
use crate::row::{integer, natural};
use crate::{DeliveryError, Event, EventId};

/// So many are revived in one transaction.
const REVIVED_MAX: usize = 1_000;

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// What was not delivered.
    pub event: Event,
    /// How many attempts failed.
    pub attempts: u32,
    /// When it was given up, in Unix milliseconds.
    pub buried_at_ms: u64,
    /// What the last attempt met.
    pub last_error: String,
}

/// A piece of the list of dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadLetters {
    /// In the order in which they were given up.
    pub letters: Vec<DeadLetter>,
    /// Where the list goes on; `None` at the end.
    pub next: Option<DeliveryCursor>,
}

/// Where the next piece of the list begins; stable while letters come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryCursor(pub i64);

/// Which dead letters are sent again.
#[derive(Clone, Debug)]
pub enum Revival<'a> {
    /// Those with these ids.
    Ids(&'a [EventId]),
    /// Those given up in this range of Unix milliseconds.
    BuriedIn(Range<u64>),
    /// Those of events that happened in this range of Unix milliseconds.
    HappenedIn(Range<u64>),
}

impl Deliveries {
    /// Gives an event up, parked or not; given up twice, the later one stands.
    ///
    /// # Errors
    /// Nothing has changed: do not move the floor past it.
    pub fn bury(&mut self, endpoint: &str, letter: &DeadLetter) -> Result<(), DeliveryError> {
        let transaction = self.connection.transaction()?;
        parked::remove(&transaction, endpoint, letter.event.id())?;
        insert(&transaction, endpoint, letter)?;
        transaction.commit()?;
        self.tidy();
        Ok(())
    }

    /// The dead letters of an endpoint, in the order in which they were given up, at most `limit`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn dead_letters(
        &self,
        endpoint: &str,
        limit: usize,
        cursor: Option<DeliveryCursor>,
    ) -> Result<DeadLetters, DeliveryError> {
        let limit = limit.clamp(1, 10_000);
        let after = cursor.map_or(i64::MIN, |cursor| cursor.0);
        let mut rows = select(
            &self.connection,
            endpoint,
            "number > ?2",
            &[&after],
            limit + 1,
        )?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().map(|(number, _)| DeliveryCursor(*number));
        Ok(DeadLetters {
            letters: rows.into_iter().map(|(_, letter)| letter).collect(),
            next: last.filter(|_| more),
        })
    }

    /// How many dead letters an endpoint has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn dead_letter_count(&self, endpoint: &str) -> Result<u64, DeliveryError> {
        let sql = "SELECT count(*) FROM dead_letters WHERE endpoint = ?1";
        Ok(self
            .connection
            .query_row(sql, [endpoint], |row| natural(row, 0))?)
    }

    /// Parks dead letters again, due at `now_ms`, with no attempts counted; they are returned.
    ///
    /// At most 1,000 a call: an answer of 1,000 asks for another call, with other ids.
    ///
    /// # Errors
    /// All are still dead.
    pub fn revive(
        &mut self,
        endpoint: &str,
        which: &Revival<'_>,
        now_ms: u64,
    ) -> Result<Vec<Parked>, DeliveryError> {
        let transaction = self.connection.transaction()?;
        let rows = find(&transaction, endpoint, which)?;
        let mut revived = Vec::with_capacity(rows.len());
        for (number, letter) in rows {
            transaction
                .prepare_cached("DELETE FROM dead_letters WHERE number = ?1")?
                .execute([number])?;
            parked::insert(&transaction, endpoint, &letter.event, 0, now_ms)?;
            revived.push(Parked {
                event: letter.event,
                attempts: 0,
                next_at_ms: now_ms,
            });
        }
        transaction.commit()?;
        self.tidy();
        Ok(revived)
    }

    /// Deletes dead letters of all endpoints that were given up before `before_ms` (Unix
    /// milliseconds); tells how many.
    ///
    /// # Errors
    /// None was deleted.
    pub fn prune(&mut self, before_ms: u64) -> Result<usize, DeliveryError> {
        let sql = "DELETE FROM dead_letters WHERE buried_at_ms < ?1";
        let deleted = self.connection.execute(sql, [integer(before_ms)])?;
        self.tidy();
        Ok(deleted)
    }
}

/// The table. Numbers are never used again, so a cursor stays where it was.
pub(super) fn table() -> String {
    format!(
        "CREATE TABLE dead_letters (number INTEGER PRIMARY KEY AUTOINCREMENT, {}, \
         attempts INTEGER NOT NULL, buried_at_ms INTEGER NOT NULL, last_error TEXT NOT NULL, \
         UNIQUE (endpoint, event_id)) STRICT;
         CREATE INDEX dead_letters_by_endpoint ON dead_letters (endpoint, number);",
        declare_event()
    )
}

fn insert(connection: &Connection, endpoint: &str, letter: &DeadLetter) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "REPLACE INTO dead_letters ({}, attempts, buried_at_ms, last_error) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)",
        event_columns()
    ))?;
    bind_event(&mut statement, &letter.event, endpoint)?;
    statement.raw_bind_parameter(EVENT_COLUMN_COUNT + 1, letter.attempts)?;
    statement.raw_bind_parameter(EVENT_COLUMN_COUNT + 2, integer(letter.buried_at_ms))?;
    statement.raw_bind_parameter(EVENT_COLUMN_COUNT + 3, letter.last_error.as_str())?;
    statement.raw_execute()?;
    Ok(())
}

/// The letters that a revival is about, with their numbers.
fn find(
    connection: &Connection,
    endpoint: &str,
    which: &Revival<'_>,
) -> rusqlite::Result<Vec<(i64, DeadLetter)>> {
    let ranged = |column: &str, range: &Range<u64>| {
        let bounds = (integer(range.start), integer(range.end));
        let condition = format!("{column} >= ?2 AND {column} < ?3");
        select(
            connection,
            endpoint,
            &condition,
            &[&bounds.0, &bounds.1],
            REVIVED_MAX,
        )
    };
    match which {
        Revival::BuriedIn(range) => ranged("buried_at_ms", range),
        Revival::HappenedIn(range) => ranged("at_ms", range),
        Revival::Ids(ids) => {
            let mut found = Vec::new();
            for id in ids.iter().take(REVIVED_MAX) {
                let id = &id.0[..];
                found.extend(select(connection, endpoint, "event_id = ?2", &[&id], 1)?);
            }
            Ok(found)
        }
    }
}

/// The letters of an endpoint that meet a condition on `?2` and further parameters, by number.
fn select(
    connection: &Connection,
    endpoint: &str,
    condition: &str,
    parameters: &[&dyn ToSql],
    limit: usize,
) -> rusqlite::Result<Vec<(i64, DeadLetter)>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {}, attempts, buried_at_ms, last_error, number FROM dead_letters \
         WHERE endpoint = ?1 AND {condition} ORDER BY number LIMIT {limit}",
        event_columns()
    ))?;
    statement.raw_bind_parameter(1, endpoint)?;
    for (index, parameter) in parameters.iter().enumerate() {
        statement.raw_bind_parameter(index + 2, parameter)?;
    }
    let mut rows = statement.raw_query();
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push((row.get(EVENT_COLUMN_COUNT + 3)?, read(row)?));
    }
    Ok(letters)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        event: read_event(row)?,
        attempts: row.get(EVENT_COLUMN_COUNT)?,
        buried_at_ms: natural(row, EVENT_COLUMN_COUNT + 1)?,
        last_error: row.get(EVENT_COLUMN_COUNT + 2)?,
    })
}
