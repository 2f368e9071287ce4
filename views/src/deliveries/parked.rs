//! Events that are tried again later, while the floor of their endpoint moves on.

use rusqlite::{Connection, Row};

use super::{Deliveries, EVENT_COLUMN_COUNT, bind_event, declare_event, event_columns, read_event};
use crate::row::{integer, natural};
use crate::{DeliveryError, Event, EventId};

/// An event that is tried again later, while the floor of its endpoint moves on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// What is to be delivered.
    pub event: Event,
    /// How many attempts have failed.
    pub attempts: u32,
    /// When it is due, in Unix milliseconds.
    pub next_at_ms: u64,
}

impl Deliveries {
    /// Keeps an event that will be tried again; for one that is parked, its next attempt.
    ///
    /// There is no limit here: what a caller lets pile up it bounds itself.
    ///
    /// # Errors
    /// It is not kept: do not move the floor past it.
    pub fn park(
        &mut self,
        endpoint: &str,
        event: &Event,
        attempts: u32,
        next_at_ms: u64,
    ) -> Result<(), DeliveryError> {
        insert(&self.connection, endpoint, event, attempts, next_at_ms)?;
        self.tidy();
        Ok(())
    }

    /// The events that wait for another attempt, in the order of the journal.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn parked(&self, endpoint: &str) -> Result<Vec<Parked>, DeliveryError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {}, attempts, next_at_ms FROM parked WHERE endpoint = ?1 ORDER BY position",
            event_columns()
        ))?;
        let parked = statement.query_map([endpoint], read)?;
        Ok(parked.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets a parked event, because it was delivered. False if it was not parked.
    ///
    /// # Errors
    /// It is still parked.
    pub fn unpark(&mut self, endpoint: &str, event: EventId) -> Result<bool, DeliveryError> {
        let removed = remove(&self.connection, endpoint, event)?;
        self.tidy();
        Ok(removed)
    }
}

/// The table.
pub(super) fn table() -> String {
    format!(
        "CREATE TABLE parked ({}, attempts INTEGER NOT NULL, next_at_ms INTEGER NOT NULL, \
         PRIMARY KEY (endpoint, event_id)) STRICT, WITHOUT ROWID;",
        declare_event()
    )
}

pub(super) fn insert(
    connection: &Connection,
    endpoint: &str,
    event: &Event,
    attempts: u32,
    next_at_ms: u64,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "REPLACE INTO parked ({}, attempts, next_at_ms) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)",
        event_columns()
    ))?;
    bind_event(&mut statement, event, endpoint)?;
    statement.raw_bind_parameter(EVENT_COLUMN_COUNT + 1, attempts)?;
    statement.raw_bind_parameter(EVENT_COLUMN_COUNT + 2, integer(next_at_ms))?;
    statement.raw_execute()?;
    Ok(())
}

pub(super) fn remove(
    connection: &Connection,
    endpoint: &str,
    event: EventId,
) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM parked WHERE endpoint = ?1 AND event_id = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.execute((endpoint, &event.0[..]))? > 0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Parked> {
    Ok(Parked {
        event: read_event(row)?,
        attempts: row.get(EVENT_COLUMN_COUNT)?,
        next_at_ms: natural(row, EVENT_COLUMN_COUNT + 1)?,
    })
}
