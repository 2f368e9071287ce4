//! Writing a batch, table by table.

use rusqlite::{Connection, Transaction, params};

use super::batch::Batch;
use super::integer;
use crate::record::will_to_bytes;
use crate::session::Stage;
use crate::state::Dirty;

/// One transaction: all changes and the position.
pub(super) fn write(connection: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    write_gone(&transaction, &batch.keys)?;
    write_sessions(&transaction, batch)?;
    write_subscriptions(&transaction, batch)?;
    write_messages(&transaction, batch)?;
    write_queue(&transaction, batch)?;
    write_received(&transaction, batch)?;
    write_retained(&transaction, batch)?;
    write_wills(&transaction, batch)?;
    transaction
        .prepare_cached("UPDATE progress SET position = ?1, next_session = ?2")?
        .execute([integer(batch.position), integer(batch.next_session)])?;
    transaction.commit()
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

fn write_sessions(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO sessions (id, org, client_id, username, expiry_secs, \
         attachments, is_attached, since_ms, will, sent, last_packet_id) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for session in &batch.sessions {
        statement.execute(params![
            integer(session.number.0),
            session.org.as_str(),
            session.client_id.as_str(),
            session.username.as_str(),
            session.expiry_secs,
            session.attachments,
            session.is_attached,
            integer(session.since_ms),
            session.will.as_deref().map(will_to_bytes),
            integer(session.sent as u64),
            session.last_packet_id,
        ])?;
    }
    Ok(())
}

fn write_subscriptions(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO subscriptions (session, filter, options, subscription_id) \
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut delete = transaction
        .prepare_cached("DELETE FROM subscriptions WHERE session = ?1 AND filter = ?2")?;
    for (number, filter, subscription) in &batch.subscriptions {
        let id = integer(number.0);
        match subscription {
            Some(found) => insert.execute(params![id, filter.as_str(), found.options, found.id])?,
            None => delete.execute(params![id, filter.as_str()])?,
        };
    }
    Ok(())
}

fn write_messages(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO messages (id, at_ms, expires_at_ms, body) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for message in &batch.messages {
        statement.execute(params![
            integer(message.number),
            integer(message.at_ms),
            message.expires_at_ms.map(integer),
            &message.body[..],
        ])?;
    }
    Ok(())
}

fn write_queue(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO queue (session, message, packet_id, qos, retain, is_received, \
         bytes, subscription_ids) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (number, entry) in &batch.queue {
        let ids = entry.subscription_ids.iter();
        let ids: Vec<u8> = ids.flat_map(|id| id.to_le_bytes()).collect();
        statement.execute(params![
            integer(number.0),
            integer(entry.message),
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

fn write_received(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT OR REPLACE INTO received (session, packet_id) VALUES (?1, ?2)")?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM received WHERE session = ?1 AND packet_id = ?2")?;
    for (number, packet_id, is_in_use) in &batch.received {
        let params = params![integer(number.0), packet_id];
        match is_in_use {
            true => insert.execute(params)?,
            false => delete.execute(params)?,
        };
    }
    Ok(())
}

fn write_retained(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO retained (org, topic, qos, at_ms, expires_at_ms, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM retained WHERE org = ?1 AND topic = ?2")?;
    for (org, topic, row) in &batch.retained {
        match row {
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

fn write_wills(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO wills (session, attachment, org, will) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM wills WHERE session = ?1 AND attachment = ?2")?;
    for (id, due) in &batch.wills {
        let (session, number) = (integer(id.session.0), id.number);
        match due {
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
