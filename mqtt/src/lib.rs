//! How clients speak: the MQTT session state machine, without I/O.
//!
//! A [`Session`] is fed whole packets and answers with bytes to send and an
//! [`Action`] for its caller. There is no socket, clock or task in this crate:
//! the caller cuts frames out of a byte stream with [`whole_frame`], moves the
//! replies, and keeps the time. The bytes themselves are read and written by
//! `rmqtt-codec`; `packet.rs` adds the checks that it leaves out.
//!
//! Spoken: MQTT 3.1, 3.1.1 and 5, all that binds a server but enhanced
//! authentication, which is refused with the code of the standard. What a server
//! may leave out is switched by [`Limits`] and announced in CONNACK.
//!
//! # Layout
//!
//! - `frame`: where one packet ends and the next begins; the size limit.
//! - `limits`: what one session may use.
//! - `message`: a PUBLISH on its way to subscribers, encoded once for all.
//! - `packet`: decode and encode by the codec, with the missing checks;
//!   `properties` looks for those that must be checked before it decodes.
//! - `reason`: why things are refused or closed, and the codes on the wire.
//! - `session`: the state machine; `session/` has one file per conversation:
//!   `connect`, `publish` (in), `deliver` (out), `alias`, `subscribe`,
//!   `disconnect`, `keep_alive`.

mod frame;
mod limits;
mod message;
mod packet;
mod properties;
mod reason;
mod session;

pub use frame::{FrameError, whole_frame};
pub use limits::Limits;
pub use message::{Message, StoredMessageError};
pub use reason::{CloseReason, DisconnectReason, DropReason, Refusal, SubscribeFailure};
pub use rmqtt_codec::types::QoS;
pub use session::{
    ASSIGNED_CLIENT_ID_BYTES_MAX, Accepted, Action, ConnectRequest, Delivery, Discarded, Inbound,
    LOGOUT_TOPIC, Outgoing, PublishOutcome, Session, StoredDelivery, SubscribeEntry,
    SubscribeRequest, SubscriptionOptions, UnsubscribeRequest, UnsubscribeResult, Version, Will,
};
