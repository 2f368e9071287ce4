//! Scripted sessions: bytes of a client in, replies and actions out.
//!
//! `script` plays the client, encoding its packets with the codec and decoding
//! what the session answers. Each other file tells one part of the protocol;
//! `bad_input` and `properties` feed what no honest client sends.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop there"
)]

mod alias;
mod bad_input;
mod connect;
mod deliver;
mod disconnect;
mod exactly_once;
mod late_answers;
mod malformed;
mod model;
mod outgoing;
mod properties;
mod publish;
mod refuse;
mod script;
mod stored_message;
mod stored_session;
mod subscribe;
mod will;
