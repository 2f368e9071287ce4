//! History on the disk: rows in the order of the journal, in tables that can be dropped whole.
//!
//! A table holds consecutive positions: those of one day (UTC), or 4 million of it. Its rows are
//! only appended, by position, and there is no index: a row says where the same user's event before
//! it is, and the users table where the last one is, so the history of a user is a chain of look-ups
//! by row id. That makes writing cheap and keeps reading in proportion to what is asked for.

use journal::Position;
use rusqlite::{Connection, OptionalExtension};

use crate::row::{self, COLUMN_COUNT, COLUMNS, integer, natural};
use crate::tail::{Link, Orgs};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A table of history is full at so many rows, so that dropping it takes a moment only.
const TABLE_ROWS_MAX: u64 = 4_000_000;

/// The list of tables.
pub(crate) const CATALOG: &str = "CREATE TABLE tables (first_position INTEGER PRIMARY KEY, \
     first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL) STRICT;";

/// One table of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// The position of its first row; the table ends where the next one begins.
    pub(crate) first: Position,
    /// When its first event happened: its day.
    pub(crate) first_ms: u64,
    /// When its latest event happened.
    pub(crate) last_ms: u64,
}

impl Table {
    /// Its name in the file.
    fn name(&self) -> String {
        format!("events_{}", self.first.0)
    }

    /// Whether an event belongs here. A clock that was set back a little does not begin a table.
    fn takes(&self, position: Position, at_ms: u64) -> bool {
        let begin = self.first_ms / DAY_MS * DAY_MS;
        let day = begin.saturating_sub(HOUR_MS)..begin + DAY_MS;
        day.contains(&at_ms) && position.0 - self.first.0 < TABLE_ROWS_MAX
    }
}

/// The tables that are there, oldest first.
pub(crate) fn tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    let mut statement = connection.prepare_cached(
        "SELECT first_position, first_ms, last_ms FROM tables ORDER BY first_position",
    )?;
    let tables = statement.query_map((), |row| {
        Ok(Table {
            first: Position(natural(row, 0)?),
            first_ms: natural(row, 1)?,
            last_ms: natural(row, 2)?,
        })
    })?;
    tables.collect()
}

/// Appends events, beginning tables as needed; `tables` is kept as it will be after the commit.
pub(crate) fn append(
    connection: &Connection,
    tables: &mut Vec<Table>,
    mut links: &[Link],
) -> rusqlite::Result<()> {
    while let Some(first) = links.first() {
        let table = table_for(connection, tables, first)?;
        let count = links
            .iter()
            .take_while(|link| table.takes(link.event.position, link.event.at_ms))
            .count();
        let (here, later) = links.split_at(count);
        insert(connection, table, here)?;
        links = later;
    }
    Ok(())
}

/// The table that takes an event: the last one, or a new one.
fn table_for<'a>(
    connection: &Connection,
    tables: &'a mut Vec<Table>,
    link: &Link,
) -> rusqlite::Result<&'a mut Table> {
    let (first, first_ms) = (link.event.position, link.event.at_ms);
    if !tables
        .last()
        .is_some_and(|table| table.takes(first, first_ms))
    {
        tables.push(create(connection, first, first_ms)?);
    }
    let last = tables.len() - 1;
    Ok(&mut tables[last])
}

fn create(connection: &Connection, first: Position, first_ms: u64) -> rusqlite::Result<Table> {
    let table = Table {
        first,
        first_ms,
        last_ms: first_ms,
    };
    let columns = row::declare("PRIMARY KEY");
    connection.execute_batch(&format!(
        "CREATE TABLE {} ({columns}, org INTEGER NOT NULL, previous INTEGER) STRICT",
        table.name()
    ))?;
    connection.execute(
        "INSERT INTO tables (first_position, first_ms, last_ms) VALUES (?1, ?2, ?2)",
        (integer(first.0), integer(first_ms)),
    )?;
    Ok(table)
}

fn insert(connection: &Connection, table: &mut Table, links: &[Link]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO {} ({COLUMNS}, org, previous) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)",
        table.name()
    ))?;
    let last_ms = table.last_ms;
    for link in links {
        row::bind(&mut statement, &link.event)?;
        statement.raw_bind_parameter(COLUMN_COUNT + 1, link.org)?;
        statement.raw_bind_parameter(COLUMN_COUNT + 2, link.previous.map(|p| integer(p.0)))?;
        statement.raw_execute()?;
        table.last_ms = table.last_ms.max(link.event.at_ms);
    }
    if table.last_ms != last_ms {
        connection.execute(
            "UPDATE tables SET last_ms = ?2 WHERE first_position = ?1",
            (integer(table.first.0), integer(table.last_ms)),
        )?;
    }
    Ok(())
}

/// The row at a position; `None` if its table was dropped or it was never written.
pub(crate) fn find(
    connection: &Connection,
    tables: &[Table],
    position: Position,
    orgs: &Orgs,
) -> rusqlite::Result<Option<Link>> {
    let after = tables.partition_point(|table| table.first <= position);
    let Some(table) = after.checked_sub(1).and_then(|index| tables.get(index)) else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, org, previous FROM {} WHERE position = ?1",
        table.name()
    ))?;
    let link = statement.query_row([integer(position.0)], |row| read(row, orgs));
    link.optional()
}

/// Hands the rows of a range of positions to `each`, oldest first, until it says `false`.
pub(crate) fn scan(
    connection: &Connection,
    tables: &[Table],
    range: std::ops::Range<u64>,
    orgs: &Orgs,
    mut each: impl FnMut(Link) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    for (index, table) in tables.iter().enumerate() {
        let end = tables.get(index + 1).map_or(u64::MAX, |next| next.first.0);
        if table.first.0 >= range.end || end <= range.start {
            continue;
        }
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS}, org, previous FROM {} \
             WHERE position >= ?1 AND position < ?2 ORDER BY position",
            table.name()
        ))?;
        let mut rows = statement.query((integer(range.start), integer(range.end)))?;
        while let Some(row) = rows.next()? {
            if !each(read(row, orgs)?)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read(row: &rusqlite::Row<'_>, orgs: &Orgs) -> rusqlite::Result<Link> {
    let org: u32 = row.get(COLUMN_COUNT)?;
    let unknown = || rusqlite::Error::IntegralValueOutOfRange(COLUMN_COUNT, org.into());
    let name = orgs.name(org).ok_or_else(unknown)?;
    let previous: Option<i64> = row.get(COLUMN_COUNT + 1)?;
    Ok(Link {
        event: row::read(row, name.clone())?.into(),
        org,
        previous: previous.and_then(|p| u64::try_from(p).ok()).map(Position),
    })
}

/// Drops the oldest table if everything in it happened before `before_ms` and lies before
/// `keep_from`, and it is not the last one. Gives what is left.
pub(crate) fn drop_oldest(
    connection: &Connection,
    tables: &[Table],
    before_ms: u64,
    keep_from: Position,
) -> rusqlite::Result<Option<Vec<Table>>> {
    let [oldest, next, ..] = tables else {
        return Ok(None);
    };
    if oldest.last_ms >= before_ms || next.first > keep_from {
        return Ok(None);
    }
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(&format!("DROP TABLE {}", oldest.name()))?;
    transaction.execute(
        "DELETE FROM tables WHERE first_position = ?1",
        [integer(oldest.first.0)],
    )?;
    transaction.commit()?;
    Ok(Some(tables[1..].to_vec()))
}
