//! Writing what has changed since the last flush, key by key.

use rusqlite::{Connection, Transaction, params};

use super::integer;
use crate::id::StoredRef;
use crate::record::{Subscription, will_to_bytes};
use crate::session::Stage;
use crate::state::{Dirty, State};

/// One transaction: all changes and the position.
pub(super) fn flush(
    connection: &Connection,
    state: &mut State,
    position: u64,
) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    write_gone(&transaction, &state.dirty)?;
    write_sessions(&transaction, state)?;
    write_subscriptions(&transaction, state)?;
    write_messages(&transaction, state)?;
    write_queue(&transaction, state)?;
    write_received(&transaction, state)?;
    write_retained(&transaction, state)?;
    write_wills(&transaction, state)?;
    transaction
        .prepare_cached("UPDATE progress SET position = ?1, next_session = ?2")?
        .execute([integer(position), integer(state.next_session)])?;
    transaction.commit()?;
    settle(state);
    Ok(())
}

/// All of it is on the disk now.
fn settle(state: &mut State) {
    let dirty = std::mem::take(&mut state.dirty);
    for session in &dirty.sessions {
        if let Some(session) = state.sessions.get_mut(session) {
            session.is_on_disk = true;
        }
    }
    for (session, message) in &dirty.entries {
        if let Some(session) = state.sessions.get_mut(session) {
            session.queue.flushed(*message);
        }
    }
    for message in &dirty.messages {
        state.bodies.flushed(*message);
    }
}

fn write_gone(transaction: &Transaction<'_>, dirty: &Dirty) -> rusqlite::Result<()> {
    for session in &dirty.ended {
        for table in ["subscriptions", "queue", "received"] {
            transaction
                .prepare_cached(&format!("DELETE FROM {table} WHERE session = ?1"))?
                .execute([integer(session.0)])?;
        }
        transaction
            .prepare_cached("DELETE FROM sessions WHERE id = ?1")?
            .execute([integer(session.0)])?;
    }
    let mut entry =
        transaction.prepare_cached("DELETE FROM queue WHERE session = ?1 AND message = ?2")?;
    for (session, message) in &dirty.entries_gone {
        entry.execute([integer(session.0), integer(*message)])?;
    }
    let mut message = transaction.prepare_cached("DELETE FROM messages WHERE id = ?1")?;
    for number in &dirty.messages_gone {
        message.execute([integer(*number)])?;
    }
    Ok(())
}

fn write_sessions(transaction: &Transaction<'_>, state: &State) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO sessions (id, org, client_id, username, expiry_secs, \
         attachments, is_attached, since_ms, will, sent, last_packet_id) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for number in &state.dirty.sessions {
        let Some(session) = state.sessions.get(number) else {
            continue;
        };
        statement.execute(params![
            integer(number.0),
            session.kept.org(),
            session.client_id.as_str(),
            session.username.as_str(),
            session.expiry_secs,
            session.attachments,
            session.is_attached,
            integer(session.since_ms),
            session.will.as_deref().map(will_to_bytes),
            integer(session.queue.sent() as u64),
            session.queue.last_packet_id(),
        ])?;
    }
    Ok(())
}

fn write_subscriptions(transaction: &Transaction<'_>, state: &State) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO subscriptions (session, filter, options, subscription_id) \
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut delete = transaction
        .prepare_cached("DELETE FROM subscriptions WHERE session = ?1 AND filter = ?2")?;
    for (number, filter) in &state.dirty.subscriptions {
        let id = integer(number.0);
        match subscription(state, *number, filter) {
            Some(found) => insert.execute(params![id, filter.as_str(), found.options, found.id])?,
            None => delete.execute(params![id, filter.as_str()])?,
        };
    }
    Ok(())
}

fn subscription(state: &State, session: StoredRef, filter: &str) -> Option<Subscription> {
    let session = state.sessions.get(&session)?;
    session.subscriptions.get(filter).copied()
}

fn write_messages(transaction: &Transaction<'_>, state: &State) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO messages (id, at_ms, expires_at_ms, body) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for number in &state.dirty.messages {
        let Some(body) = state.bodies.get(*number) else {
            continue;
        };
        let Some(bytes) = &body.bytes else { continue };
        statement.execute(params![
            integer(*number),
            integer(body.at_ms),
            body.expires_at_ms.map(integer),
            &bytes[..],
        ])?;
    }
    Ok(())
}

fn write_queue(transaction: &Transaction<'_>, state: &State) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO queue (session, message, packet_id, qos, retain, is_received, \
         bytes, subscription_ids) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (number, message) in &state.dirty.entries {
        let session = state.sessions.get(number);
        let Some(entry) = session.and_then(|session| session.queue.of_message(*message)) else {
            continue;
        };
        let ids = entry.subscription_ids.iter();
        let ids: Vec<u8> = ids.flat_map(|id| id.to_le_bytes()).collect();
        statement.execute(params![
            integer(number.0),
            integer(*message),
            entry.packet_id,
            entry.qos,
            entry.retain,
            entry.stage == Stage::Release,
            entry.bytes,
            ids,
        ])?;
    }
    Ok(())
}

fn write_received(transaction: &Transaction<'_>, state: &State) -> rusqlite::Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT OR REPLACE INTO received (session, packet_id) VALUES (?1, ?2)")?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM received WHERE session = ?1 AND packet_id = ?2")?;
    for (number, packet_id) in &state.dirty.received {
        let session = state.sessions.get(number);
        let params = params![integer(number.0), packet_id];
        match session.is_some_and(|session| session.received.contains(packet_id)) {
            true => insert.execute(params)?,
            false => delete.execute(params)?,
        };
    }
    Ok(())
}

fn write_retained(transaction: &Transaction<'_>, state: &State) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO retained (org, topic, qos, at_ms, expires_at_ms, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM retained WHERE org = ?1 AND topic = ?2")?;
    for (org, topic) in &state.dirty.retained {
        match state.directory.org(org).retained(topic) {
            Some(row) => insert.execute(params![
                org.as_str(),
                topic.as_str(),
                row.qos,
                integer(row.at_ms),
                row.expires_at_ms.map(integer),
                &row.body[..],
            ])?,
            None => delete.execute([org.as_str(), topic.as_str()])?,
        };
    }
    Ok(())
}

fn write_wills(transaction: &Transaction<'_>, state: &State) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO wills (session, attachment, org, will) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM wills WHERE session = ?1 AND attachment = ?2")?;
    for id in &state.dirty.wills {
        let (session, number) = (integer(id.session.0), id.number);
        match state.wills.get(id) {
            Some(due) => insert.execute(params![
                session,
                number,
                due.org.as_str(),
                will_to_bytes(&due.will),
            ])?,
            None => delete.execute(params![session, number])?,
        };
    }
    Ok(())
}
