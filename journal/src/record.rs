//! How one fact lies on disk: a byte for its kind, then its fields in order.
//!
//! Numbers are little endian or, where they are mostly small, varints of 7 bits a byte; text is its
//! length as a varint and then UTF-8. The numbers for kinds, protocols, systems and reasons are
//! written down here and never change their meaning; they do not follow the order of any enum.
//! Checksums and lengths of records are the block's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::fact::{Ended, Fact, Opened, Os, SessionId};
use crate::wire::{
    DecodeError, put_text, put_varint, take, take_text, take_u8, take_varint, unknown,
};
use presence::{EndReason, Protocol};

const KIND_OPENED: u8 = 1;
const KIND_ENDED: u8 = 2;

const PEER_NONE: u8 = 0;
const PEER_V4: u8 = 4;
const PEER_V6: u8 = 6;
/// IPv6 with a flow label or a scope.
const PEER_V6_SCOPED: u8 = 7;

/// What a log keeps: facts, or whatever else is made durable in the same way.
///
/// The first byte of a record says what kind it is. Kinds of different logs differ, so that a file
/// of one is never taken for a file of another: those below 64 are the journal's.
pub trait Record: Sized {
    /// Appends the record to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes one record off the front of `input`.
    ///
    /// # Errors
    /// When the bytes are no record, or one of a later version.
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError>;

    /// When it happened, in Unix milliseconds: what retention by age goes by. 0 where that does
    /// not matter.
    fn at_ms(&self) -> u64;
}

impl Record for Fact {
    fn encode(&self, out: &mut Vec<u8>) {
        encode(self, out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        decode(input)
    }

    fn at_ms(&self) -> u64 {
        Fact::at_ms(self)
    }
}

/// Appends the record of `fact` to `out`.
pub(crate) fn encode(fact: &Fact, out: &mut Vec<u8>) {
    match fact {
        Fact::Opened(opened) => encode_opened(opened, out),
        Fact::Ended(ended) => encode_ended(ended, out),
    }
}

/// Takes one record off the front of `input`.
pub(crate) fn decode(input: &mut &[u8]) -> Result<Fact, DecodeError> {
    match take_u8(input)? {
        KIND_OPENED => decode_opened(input).map(Fact::Opened),
        KIND_ENDED => decode_ended(input).map(Fact::Ended),
        number => Err(unknown("the kind of fact", number)),
    }
}

fn encode_opened(opened: &Opened, out: &mut Vec<u8>) {
    out.push(KIND_OPENED);
    out.extend_from_slice(&opened.session.0);
    put_text(&opened.org, out);
    put_text(&opened.username, out);
    put_text(&opened.client_id, out);
    out.push(protocol_number(opened.protocol));
    put_peer(opened.peer, out);
    out.push(os_number(opened.os));
    put_varint(opened.at_ms, out);
    put_varint(u64::from(opened.node), out);
}

fn decode_opened(input: &mut &[u8]) -> Result<Opened, DecodeError> {
    // Fields of a struct expression are evaluated in the order written: the order on disk.
    Ok(Opened {
        session: SessionId(take(input)?),
        org: take_text(input)?,
        username: take_text(input)?,
        client_id: take_text(input)?,
        protocol: protocol_of(take_u8(input)?)?,
        peer: take_peer(input)?,
        os: os_of(take_u8(input)?)?,
        at_ms: take_varint(input)?,
        node: u16::try_from(take_varint(input)?)
            .map_err(|_| DecodeError::Malformed("the number of a node is too large"))?,
    })
}

fn encode_ended(ended: &Ended, out: &mut Vec<u8>) {
    out.push(KIND_ENDED);
    out.extend_from_slice(&ended.session.0);
    put_text(&ended.org, out);
    put_text(&ended.username, out);
    put_text(&ended.client_id, out);
    out.push(protocol_number(ended.protocol));
    put_peer(ended.peer, out);
    put_varint(ended.connected_at_ms, out);
    put_varint(ended.at_ms, out);
    out.push(reason_number(ended.reason));
}

fn decode_ended(input: &mut &[u8]) -> Result<Ended, DecodeError> {
    Ok(Ended {
        session: SessionId(take(input)?),
        org: take_text(input)?,
        username: take_text(input)?,
        client_id: take_text(input)?,
        protocol: protocol_of(take_u8(input)?)?,
        peer: take_peer(input)?,
        connected_at_ms: take_varint(input)?,
        at_ms: take_varint(input)?,
        reason: reason_of(take_u8(input)?)?,
    })
}

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::V31 => 3,
        Protocol::V311 => 4,
        Protocol::V5 => 5,
    }
}

fn protocol_of(number: u8) -> Result<Protocol, DecodeError> {
    match number {
        3 => Ok(Protocol::V31),
        4 => Ok(Protocol::V311),
        5 => Ok(Protocol::V5),
        _ => Err(unknown("the protocol", number)),
    }
}

fn os_number(os: Option<Os>) -> u8 {
    match os {
        None => 0,
        Some(Os::Ios) => 1,
        Some(Os::Android) => 2,
        Some(Os::Websocket) => 3,
    }
}

fn os_of(number: u8) -> Result<Option<Os>, DecodeError> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(Os::Ios)),
        2 => Ok(Some(Os::Android)),
        3 => Ok(Some(Os::Websocket)),
        _ => Err(unknown("the operating system", number)),
    }
}

fn reason_number(reason: EndReason) -> u8 {
    match reason {
        EndReason::ClientDisconnect => 1,
        EndReason::ConnectionLost => 2,
        EndReason::KeepAliveTimeout => 3,
        EndReason::TakenOver => 4,
        EndReason::KickedByDevice => 5,
        EndReason::Terminated => 6,
        EndReason::LoggedOut => 7,
        EndReason::CredentialsExpired => 8,
        EndReason::ProtocolError => 9,
        EndReason::ServerStopped => 10,
        EndReason::ServerCrashed => 11,
    }
}

fn reason_of(number: u8) -> Result<EndReason, DecodeError> {
    match number {
        1 => Ok(EndReason::ClientDisconnect),
        2 => Ok(EndReason::ConnectionLost),
        3 => Ok(EndReason::KeepAliveTimeout),
        4 => Ok(EndReason::TakenOver),
        5 => Ok(EndReason::KickedByDevice),
        6 => Ok(EndReason::Terminated),
        7 => Ok(EndReason::LoggedOut),
        8 => Ok(EndReason::CredentialsExpired),
        9 => Ok(EndReason::ProtocolError),
        10 => Ok(EndReason::ServerStopped),
        11 => Ok(EndReason::ServerCrashed),
        _ => Err(unknown("the reason of an ending", number)),
    }
}

fn put_peer(peer: Option<SocketAddr>, out: &mut Vec<u8>) {
    match peer {
        None => out.push(PEER_NONE),
        Some(SocketAddr::V4(address)) => {
            out.push(PEER_V4);
            out.extend_from_slice(&address.ip().octets());
            out.extend_from_slice(&address.port().to_le_bytes());
        }
        Some(SocketAddr::V6(address)) => {
            let scoped = address.flowinfo() != 0 || address.scope_id() != 0;
            out.push(if scoped { PEER_V6_SCOPED } else { PEER_V6 });
            out.extend_from_slice(&address.ip().octets());
            out.extend_from_slice(&address.port().to_le_bytes());
            if scoped {
                out.extend_from_slice(&address.flowinfo().to_le_bytes());
                out.extend_from_slice(&address.scope_id().to_le_bytes());
            }
        }
    }
}

fn take_peer(input: &mut &[u8]) -> Result<Option<SocketAddr>, DecodeError> {
    let tag = take_u8(input)?;
    let ip: IpAddr = match tag {
        PEER_NONE => return Ok(None),
        PEER_V4 => Ipv4Addr::from(take::<4>(input)?).into(),
        PEER_V6 | PEER_V6_SCOPED => Ipv6Addr::from(take::<16>(input)?).into(),
        number => return Err(unknown("the kind of address", number)),
    };
    let port = u16::from_le_bytes(take(input)?);
    Ok(Some(match ip {
        IpAddr::V6(ip) if tag == PEER_V6_SCOPED => {
            let flow = u32::from_le_bytes(take(input)?);
            let scope = u32::from_le_bytes(take(input)?);
            SocketAddrV6::new(ip, port, flow, scope).into()
        }
        _ => SocketAddr::new(ip, port),
    }))
}

#[cfg(test)]
mod tests;
