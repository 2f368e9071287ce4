//! Users and organisations on the disk.
//!
//! One row per user that ever had an event, looked up by organisation and name, and never removed:
//! the numbers of a user's events go on also when all history is pruned.

use compact_str::CompactString;
use journal::Position;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::row::{integer, natural, text};
use crate::tail::Orgs;
use crate::user::User;
use crate::users::{Key, KeyRef};

/// The tables.
pub(crate) const TABLES: &str = "\
    CREATE TABLE orgs (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE users (org INTEGER NOT NULL, username TEXT NOT NULL, seq INTEGER NOT NULL, \
        last_position INTEGER NOT NULL, last_seen_ms INTEGER NOT NULL, \
        push_suspended INTEGER NOT NULL, open_sessions BLOB NOT NULL, \
        more_sessions INTEGER NOT NULL, PRIMARY KEY (org, username)) STRICT, WITHOUT ROWID;";

/// Every organisation.
pub(crate) fn read_orgs(connection: &Connection) -> rusqlite::Result<Orgs> {
    let mut orgs = Orgs::default();
    let mut statement = connection.prepare("SELECT name FROM orgs ORDER BY number")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let name: CompactString = text(row, 0)?;
        orgs.add(&name);
    }
    Ok(orgs)
}

/// Adds the organisations from number `from` on.
pub(crate) fn write_orgs(connection: &Connection, orgs: &Orgs, from: u32) -> rusqlite::Result<()> {
    for number in from..orgs.len() {
        if let Some(name) = orgs.name(number) {
            connection.execute(
                "INSERT INTO orgs (number, name) VALUES (?1, ?2)",
                (number, name.as_str()),
            )?;
        }
    }
    Ok(())
}

/// A user's row.
pub(crate) fn find(connection: &Connection, key: KeyRef<'_>) -> rusqlite::Result<Option<User>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, last_position, last_seen_ms, push_suspended, open_sessions, more_sessions \
         FROM users WHERE org = ?1 AND username = ?2",
    )?;
    statement.query_row((key.org, key.name), read).optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        seq: natural(row, 0)?,
        last: Some(Position(natural(row, 1)?)),
        last_seen_ms: natural(row, 2)?,
        push_suspended: row.get(3)?,
        named: User::named_from(row.get_ref(4)?.as_blob()?),
        unnamed: row.get(5)?,
    })
}

/// Writes the rows of users, whether they are new or not; fastest in the order of the table.
pub(crate) fn write<'a>(
    connection: &Connection,
    users: impl Iterator<Item = (&'a Key, &'a User)>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "REPLACE INTO users (org, username, seq, last_position, last_seen_ms, push_suspended, \
         open_sessions, more_sessions) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (key, user) in users {
        statement.raw_bind_parameter(1, key.org)?;
        statement.raw_bind_parameter(2, key.name.as_str())?;
        statement.raw_bind_parameter(3, integer(user.seq))?;
        statement.raw_bind_parameter(4, user.last.map(|last| integer(last.0)))?;
        statement.raw_bind_parameter(5, integer(user.last_seen_ms))?;
        statement.raw_bind_parameter(6, user.push_suspended)?;
        statement.raw_bind_parameter(7, user.named_bytes())?;
        statement.raw_bind_parameter(8, user.unnamed)?;
        statement.raw_execute()?;
    }
    Ok(())
}
