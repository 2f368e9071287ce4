//! How a record lies on disk: a byte for its kind, then its fields in order.
//!
//! Kinds begin at 64, so that a file of the journal is never taken for one of this log. Numbers
//! never change their meaning.

use bytes::Bytes;
use journal::wire::{
    DecodeError, put_bytes, put_text, put_varint, take_bytes, take_text, take_u8, take_varint,
    unknown,
};

use super::{Began, Published, Record, Retain, Subscription, Target};
use crate::id::{Attachment, StoredRef};
use crate::message::{Message, Will};

const BEGAN: u8 = 64;
const ATTACHED: u8 = 65;
const DETACHED: u8 = 66;
const ENDED: u8 = 67;
const WILL_DUE: u8 = 68;
const SUBSCRIBED: u8 = 69;
const UNSUBSCRIBED: u8 = 70;
const PUBLISHED: u8 = 71;
const ACKNOWLEDGED: u8 = 72;
const RECEIVED: u8 = 73;
const RELEASED: u8 = 74;
const CLEARED: u8 = 75;

type Decoded<T> = Result<T, DecodeError>;

impl journal::Record for Record {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Began(began) => put_began(began, out),
            Self::Attached {
                session,
                at_ms,
                expiry_secs,
                will,
            } => {
                put_session(ATTACHED, *session, out);
                put_varint(*at_ms, out);
                put_varint((*expiry_secs).into(), out);
                put_optional(will.as_deref(), put_will, out);
            }
            Self::Detached {
                session,
                at_ms,
                expiry_secs,
                with_will,
                sent,
            } => {
                put_session(DETACHED, *session, out);
                put_varint(*at_ms, out);
                put_varint((*expiry_secs).into(), out);
                out.push(u8::from(*with_will));
                put_varint((*sent).into(), out);
            }
            Self::Ended { session } => put_session(ENDED, *session, out),
            Self::WillDue { session } => put_session(WILL_DUE, *session, out),
            Self::Subscribed {
                session,
                filter,
                subscription,
            } => {
                put_session(SUBSCRIBED, *session, out);
                put_text(filter, out);
                out.push(subscription.options);
                // Subscription Identifiers are at least 1.
                put_varint(subscription.id.unwrap_or(0).into(), out);
            }
            Self::Unsubscribed { session, filter } => {
                put_session(UNSUBSCRIBED, *session, out);
                put_text(filter, out);
            }
            Self::Published(published) => put_published(published, out),
            Self::Acknowledged { session, packet_id } => {
                put_packet(ACKNOWLEDGED, *session, *packet_id, out);
            }
            Self::Received { session, packet_id } => {
                put_packet(RECEIVED, *session, *packet_id, out);
            }
            Self::Released { session, packet_id } => {
                put_packet(RELEASED, *session, *packet_id, out);
            }
            Self::Cleared { org, topic } => {
                out.push(CLEARED);
                put_text(org, out);
                put_text(topic, out);
            }
        }
    }

    fn decode(input: &mut &[u8]) -> Decoded<Self> {
        // Fields of a struct expression are evaluated in the order written: the order on disk.
        Ok(match take_u8(input)? {
            BEGAN => Self::Began(take_began(input)?),
            ATTACHED => Self::Attached {
                session: take_session(input)?,
                at_ms: take_varint(input)?,
                expiry_secs: take_u32(input)?,
                will: take_optional(input, take_will)?.map(Box::new),
            },
            DETACHED => Self::Detached {
                session: take_session(input)?,
                at_ms: take_varint(input)?,
                expiry_secs: take_u32(input)?,
                with_will: take_bool(input)?,
                sent: take_u32(input)?,
            },
            ENDED => Self::Ended {
                session: take_session(input)?,
            },
            WILL_DUE => Self::WillDue {
                session: take_session(input)?,
            },
            SUBSCRIBED => Self::Subscribed {
                session: take_session(input)?,
                filter: take_text(input)?,
                subscription: Subscription {
                    options: take_u8(input)?,
                    id: Some(take_u32(input)?).filter(|id| *id != 0),
                },
            },
            UNSUBSCRIBED => Self::Unsubscribed {
                session: take_session(input)?,
                filter: take_text(input)?,
            },
            PUBLISHED => Self::Published(take_published(input)?),
            ACKNOWLEDGED => Self::Acknowledged {
                session: take_session(input)?,
                packet_id: take_u16(input)?,
            },
            RECEIVED => Self::Received {
                session: take_session(input)?,
                packet_id: take_u16(input)?,
            },
            RELEASED => Self::Released {
                session: take_session(input)?,
                packet_id: take_u16(input)?,
            },
            CLEARED => Self::Cleared {
                org: take_text(input)?,
                topic: take_text(input)?,
            },
            number => return Err(unknown("the kind of record", number)),
        })
    }

    /// Nothing here is forgotten by age.
    fn at_ms(&self) -> u64 {
        0
    }
}

fn put_began(began: &Began, out: &mut Vec<u8>) {
    put_session(BEGAN, began.session, out);
    put_text(&began.org, out);
    put_text(&began.client_id, out);
    put_text(&began.username, out);
    put_varint(began.at_ms, out);
    put_varint(began.expiry_secs.into(), out);
    put_optional(began.will.as_deref(), put_will, out);
}

fn take_began(input: &mut &[u8]) -> Decoded<Began> {
    Ok(Began {
        session: take_session(input)?,
        org: take_text(input)?,
        client_id: take_text(input)?,
        username: take_text(input)?,
        at_ms: take_varint(input)?,
        expiry_secs: take_u32(input)?,
        will: take_optional(input, take_will)?.map(Box::new),
    })
}

fn put_published(published: &Published, out: &mut Vec<u8>) {
    out.push(PUBLISHED);
    put_text(&published.org, out);
    put_message(&published.message, out);
    put_optional(published.received.as_ref(), put_received, out);
    put_optional(published.will.as_ref(), put_attachment, out);
    out.push(match published.retain {
        Retain::No => 0,
        Retain::Set => 1,
        Retain::Clear => 2,
    });
    put_varint(published.targets.len() as u64, out);
    for target in &published.targets {
        put_target(target, out);
    }
}

fn take_published(input: &mut &[u8]) -> Decoded<Published> {
    Ok(Published {
        org: take_text(input)?,
        message: take_message(input)?,
        received: take_optional(input, take_received)?,
        will: take_optional(input, take_attachment)?,
        retain: match take_u8(input)? {
            0 => Retain::No,
            1 => Retain::Set,
            2 => Retain::Clear,
            number => return Err(unknown("the way to retain", number)),
        },
        targets: take_list(input, take_target)?,
    })
}

fn put_target(target: &Target, out: &mut Vec<u8>) {
    put_varint(target.session.0, out);
    out.extend_from_slice(&target.packet_id.to_le_bytes());
    out.push(target.qos | u8::from(target.retain) << 2);
    put_varint(target.subscription_ids.len() as u64, out);
    for id in &target.subscription_ids {
        put_varint((*id).into(), out);
    }
}

fn take_target(input: &mut &[u8]) -> Decoded<Target> {
    let session = take_session(input)?;
    let packet_id = take_u16(input)?;
    let flags = take_u8(input)?;
    Ok(Target {
        session,
        packet_id,
        qos: flags & 3,
        retain: flags & 4 != 0,
        subscription_ids: take_list(input, take_u32)?.into(),
    })
}

/// Appends a message.
pub(crate) fn put_message(message: &Message, out: &mut Vec<u8>) {
    put_text(&message.topic, out);
    put_bytes(&message.body, out);
    out.push(message.qos);
    put_varint(message.at_ms, out);
    // Nothing expires in 1970.
    put_varint(message.expires_at_ms.unwrap_or(0), out);
}

/// Takes a message.
pub(crate) fn take_message(input: &mut &[u8]) -> Decoded<Message> {
    Ok(Message {
        topic: take_text(input)?,
        body: Bytes::copy_from_slice(take_bytes(input)?),
        qos: take_u8(input)?,
        at_ms: take_varint(input)?,
        expires_at_ms: Some(take_varint(input)?).filter(|at_ms| *at_ms != 0),
    })
}

/// Appends a will.
pub(crate) fn put_will(will: &Will, out: &mut Vec<u8>) {
    put_varint(will.delay_secs.into(), out);
    out.push(u8::from(will.retain));
    put_message(&will.message, out);
}

/// Takes a will.
pub(crate) fn take_will(input: &mut &[u8]) -> Decoded<Will> {
    Ok(Will {
        delay_secs: take_u32(input)?,
        retain: take_bool(input)?,
        message: take_message(input)?,
    })
}

fn put_received((session, packet_id): &(StoredRef, u16), out: &mut Vec<u8>) {
    put_varint(session.0, out);
    out.extend_from_slice(&packet_id.to_le_bytes());
}

fn take_received(input: &mut &[u8]) -> Decoded<(StoredRef, u16)> {
    Ok((take_session(input)?, take_u16(input)?))
}

fn put_attachment(attachment: &Attachment, out: &mut Vec<u8>) {
    put_varint(attachment.session.0, out);
    put_varint(attachment.number.into(), out);
}

fn take_attachment(input: &mut &[u8]) -> Decoded<Attachment> {
    Ok(Attachment {
        session: take_session(input)?,
        number: take_u32(input)?,
    })
}

fn put_session(kind: u8, session: StoredRef, out: &mut Vec<u8>) {
    out.push(kind);
    put_varint(session.0, out);
}

fn take_session(input: &mut &[u8]) -> Decoded<StoredRef> {
    take_varint(input).map(StoredRef)
}

fn put_packet(kind: u8, session: StoredRef, packet_id: u16, out: &mut Vec<u8>) {
    put_session(kind, session, out);
    out.extend_from_slice(&packet_id.to_le_bytes());
}

fn take_u16(input: &mut &[u8]) -> Decoded<u16> {
    journal::wire::take(input).map(u16::from_le_bytes)
}

fn take_u32(input: &mut &[u8]) -> Decoded<u32> {
    u32::try_from(take_varint(input)?)
        .map_err(|_| DecodeError::Malformed("a number of 32 bits is too large"))
}

fn take_bool(input: &mut &[u8]) -> Decoded<bool> {
    match take_u8(input)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Malformed("neither yes nor no")),
    }
}

fn put_optional<T>(value: Option<&T>, put: impl Fn(&T, &mut Vec<u8>), out: &mut Vec<u8>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

fn take_optional<T>(
    input: &mut &[u8],
    take: impl Fn(&mut &[u8]) -> Decoded<T>,
) -> Decoded<Option<T>> {
    take_bool(input)?.then(|| take(input)).transpose()
}

fn take_list<T>(input: &mut &[u8], take: impl Fn(&mut &[u8]) -> Decoded<T>) -> Decoded<Vec<T>> {
    let count = take_varint(input)?;
    // Every element has a byte at least, so no count makes us reserve more than there is.
    if count > input.len() as u64 {
        return Err(DecodeError::Malformed("a record ends too early"));
    }
    (0..count).map(|_| take(input)).collect()
}

/// A will as bytes, for a column of SQLite.
pub(crate) fn will_to_bytes(will: &Will) -> Vec<u8> {
    let mut out = Vec::new();
    put_will(will, &mut out);
    out
}

/// A will from a column of SQLite.
pub(crate) fn will_from_bytes(mut bytes: &[u8]) -> Decoded<Will> {
    take_will(&mut bytes)
}

#[cfg(test)]
mod tests;
