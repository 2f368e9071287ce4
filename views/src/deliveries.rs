//! How far each endpoint has been told, and what it refused.
//!
//! A file of its own, because nothing else knows it: a view can be folded again, a refusal cannot.
//! Events in it are whole, so neither pruned history nor a view folded again takes them away; they
//! are found by id, which stays true when positions begin anew with another journal.
//! An endpoint is named by a string that the caller makes, such as `org/id`.

mod dead;
mod parked;

use std::path::{Path, PathBuf};

use journal::Position;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::row::{self, COLUMN_COUNT, integer, natural, text};
use crate::schema::Schema;
use crate::{DeliveryError, Event, OpenError, checkpoint};

pub use dead::{DeadLetter, DeadLetters, DeliveryCursor, Revival};
pub use parked::Parked;

/// The log is emptied when it is longer.
const LOG_BYTES_MAX: u64 = 4 << 20;

/// The state of deliveries to all endpoints.
///
/// Every method is a transaction of its own. The last ones can be lost together when the power
/// fails, never one without those after it: receivers are then told some events again.
#[derive(Debug)]
pub struct Deliveries {
    connection: Connection,
    path: PathBuf,
}

/// Why an endpoint gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// In words.
    pub why: String,
    /// Since when, in Unix milliseconds.
    pub at_ms: u64,
}

impl Deliveries {
    /// Opens the file at `path`, or creates it.
    ///
    /// # Errors
    /// A file of another format or a damaged one is refused. Deleting it loses what exists nowhere
    /// else: dead letters, events waiting for another attempt, which endpoints are disabled, and
    /// how far each has been told.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let connection = schema().open(path)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Where the endpoint goes on: everything before is settled (delivered, parked or given up).
    /// `None` if it was never set.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn floor(&self, endpoint: &str) -> Result<Option<Position>, DeliveryError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT position FROM floors WHERE endpoint = ?1")?;
        let floor = statement.query_row([endpoint], |row| natural(row, 0));
        Ok(floor.optional()?.map(Position))
    }

    /// The lowest floor of all: no endpoint needs history from before. `None` if none was set.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn lowest_floor(&self) -> Result<Option<Position>, DeliveryError> {
        let sql = "SELECT min(position) FROM floors HAVING count(*) > 0";
        let lowest = self.connection.query_row(sql, (), |row| natural(row, 0));
        Ok(lowest.optional()?.map(Position))
    }

    /// Moves floors, all in one transaction.
    ///
    /// # Errors
    /// None was moved.
    pub fn set_floors(&mut self, floors: &[(&str, Position)]) -> Result<(), DeliveryError> {
        let transaction = self.connection.transaction()?;
        for (endpoint, position) in floors {
            transaction
                .prepare_cached("REPLACE INTO floors (endpoint, position) VALUES (?1, ?2)")?
                .execute((endpoint, integer(position.0)))?;
        }
        transaction.commit()?;
        self.tidy();
        Ok(())
    }

    /// Marks an endpoint as disabled.
    ///
    /// # Errors
    /// It is not marked.
    pub fn disable(&mut self, endpoint: &str, why: &Disabled) -> Result<(), DeliveryError> {
        self.connection.execute(
            "REPLACE INTO disabled (endpoint, why, at_ms) VALUES (?1, ?2, ?3)",
            (endpoint, &why.why, integer(why.at_ms)),
        )?;
        Ok(())
    }

    /// Takes the mark away. False if there was none.
    ///
    /// # Errors
    /// It is still marked.
    pub fn enable(&mut self, endpoint: &str) -> Result<bool, DeliveryError> {
        let sql = "DELETE FROM disabled WHERE endpoint = ?1";
        Ok(self.connection.execute(sql, [endpoint])? > 0)
    }

    /// Why an endpoint is disabled; `None` if it is not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn disabled(&self, endpoint: &str) -> Result<Option<Disabled>, DeliveryError> {
        let sql = "SELECT why, at_ms FROM disabled WHERE endpoint = ?1";
        let disabled = self.connection.query_row(sql, [endpoint], |row| {
            Ok(Disabled {
                why: row.get(0)?,
                at_ms: natural(row, 1)?,
            })
        });
        Ok(disabled.optional()?)
    }

    /// Forgets everything about an endpoint that no longer exists.
    ///
    /// # Errors
    /// Nothing is forgotten.
    pub fn forget(&mut self, endpoint: &str) -> Result<(), DeliveryError> {
        let transaction = self.connection.transaction()?;
        for table in ["floors", "disabled", "parked", "dead_letters"] {
            let sql = format!("DELETE FROM {table} WHERE endpoint = ?1");
            transaction.execute(&sql, [endpoint])?;
        }
        Ok(transaction.commit()?)
    }

    /// Keeps the write-ahead log short. Nothing waits for these commits but deliveries, so no
    /// other thread does it.
    fn tidy(&self) {
        checkpoint::bound(&self.connection, &self.path, LOG_BYTES_MAX);
    }
}

fn schema() -> Schema {
    Schema {
        application: 0x7768_6476,
        version: 1,
        tables: format!(
            "CREATE TABLE floors (endpoint TEXT PRIMARY KEY, position INTEGER NOT NULL) \
             STRICT, WITHOUT ROWID;
             CREATE TABLE disabled (endpoint TEXT PRIMARY KEY, why TEXT NOT NULL, \
             at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             {}{}",
            parked::table(),
            dead::table()
        ),
        remedy: "restore it from a backup, or stop the server and move the file away (dead \
                 letters, events waiting for another attempt and how far each endpoint has been \
                 told are lost with it)",
    }
}

/// The columns of an event that is kept whole, declared.
fn declare_event() -> String {
    let event = row::declare("NOT NULL");
    format!("{event}, org TEXT NOT NULL, event_id BLOB NOT NULL, endpoint TEXT NOT NULL")
}

/// These columns, in the order of [`bind_event`] and [`read_event`].
fn event_columns() -> String {
    format!("{}, org, event_id, endpoint", row::COLUMNS)
}

/// How many these are.
const EVENT_COLUMN_COUNT: usize = COLUMN_COUNT + 3;

fn bind_event(
    statement: &mut rusqlite::Statement<'_>,
    event: &Event,
    endpoint: &str,
) -> rusqlite::Result<()> {
    row::bind(statement, event)?;
    statement.raw_bind_parameter(COLUMN_COUNT + 1, event.org.as_str())?;
    statement.raw_bind_parameter(COLUMN_COUNT + 2, &event.id().0[..])?;
    statement.raw_bind_parameter(COLUMN_COUNT + 3, endpoint)
}

fn read_event(row: &Row<'_>) -> rusqlite::Result<Event> {
    row::read(row, text(row, COLUMN_COUNT)?)
}
