//! Why things are refused or closed, and the codes that say so on the wire.
//!
//! Callers see enums of what they can act on ([`CloseReason`]) or may choose
//! from ([`Refusal`], [`DisconnectReason`], [`SubscribeFailure`]); the numbers of
//! MQTT 5 §2.4 and MQTT 3.1.1 §3.2.2.3 stay in this file. A [`Violation`] is what
//! the session itself objects to: one code and one short text.

use rmqtt_codec::error::DecodeError;
use rmqtt_codec::v3;
use rmqtt_codec::v5::{ConnectAckReason, DisconnectReasonCode, SubscribeAckReason};

use crate::frame::FrameError;

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The client sent DISCONNECT (§3.14), or asked for its logout by a message.
    #[error("client disconnected")]
    ClientDisconnect {
        /// The reason code asks for the will to be published: any but 0x00.
        with_will: bool,
        /// The user property `logout` = `true` was present (MQTT 5 only), or there was a message
        /// to [`crate::LOGOUT_TOPIC`].
        logout: bool,
        /// The Session Expiry Interval that takes the place of the one granted
        /// (§3.14.2.2.2), as asked for; MQTT 3 has none.
        session_expiry_secs: Option<u32>,
    },
    /// The client broke a rule of MQTT (§4.13; also malformed packets).
    #[error("protocol error: {0}")]
    ProtocolError(&'static str),
    /// The client used what this server has announced not to support.
    #[error("not supported: {0}")]
    NotSupported(&'static str),
    /// A packet over [`crate::Limits::packet_bytes_max`].
    #[error("packet is too large")]
    PacketTooLarge,
    /// The CONNECT was refused by the session itself.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// An MQTT 3 client published over its quota, and MQTT 3 has no code to say so.
    #[error("quota exceeded")]
    QuotaExceeded,
    /// A message of an MQTT 3 client could not be taken, and MQTT 3 has no code to say so.
    #[error("message could not be taken")]
    PublishFailed,
}

/// Why the caller refuses a CONNECT (§3.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 0x86; MQTT 3: 4.
    BadUserNameOrPassword,
    /// 0x87; MQTT 3: 5.
    NotAuthorized,
    /// 0x85; MQTT 3: 2.
    ClientIdentifierNotValid,
    /// 0x88; MQTT 3: 3.
    ServerUnavailable,
    /// 0x89; MQTT 3: 3.
    ServerBusy,
    /// 0x97; MQTT 3: 3.
    QuotaExceeded,
    /// 0x9F; MQTT 3: 3.
    ConnectionRateExceeded,
    /// 0x83; MQTT 3: 3.
    ImplementationSpecific,
}

impl Refusal {
    pub(crate) fn v5(self) -> ConnectAckReason {
        match self {
            Self::BadUserNameOrPassword => ConnectAckReason::BadUserNameOrPassword,
            Self::NotAuthorized => ConnectAckReason::NotAuthorized,
            Self::ClientIdentifierNotValid => ConnectAckReason::ClientIdentifierNotValid,
            Self::ServerUnavailable => ConnectAckReason::ServerUnavailable,
            Self::ServerBusy => ConnectAckReason::ServerBusy,
            Self::QuotaExceeded => ConnectAckReason::QuotaExceeded,
            Self::ConnectionRateExceeded => ConnectAckReason::ConnectionRateExceeded,
            Self::ImplementationSpecific => ConnectAckReason::ImplementationSpecificError,
        }
    }

    pub(crate) fn v3(self) -> v3::ConnectAckReason {
        match self {
            Self::BadUserNameOrPassword => v3::ConnectAckReason::BadUserNameOrPassword,
            Self::NotAuthorized => v3::ConnectAckReason::NotAuthorized,
            Self::ClientIdentifierNotValid => v3::ConnectAckReason::IdentifierRejected,
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded
            | Self::ImplementationSpecific => v3::ConnectAckReason::ServiceUnavailable,
        }
    }
}

/// Why the server ends a session (§3.14.2.1). MQTT 3 clients only see the
/// connection close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// 0x00: nothing is wrong, as after a logout.
    Normal,
    /// 0x80.
    UnspecifiedError,
    /// 0x87.
    NotAuthorized,
    /// 0x89.
    ServerBusy,
    /// 0x8B.
    ServerShuttingDown,
    /// 0x8D: nothing was heard for 1.5 times the keep alive (§3.1.2.10).
    KeepAliveTimeout,
    /// 0x8E: the same client, or a newer device of the user, connected.
    SessionTakenOver,
    /// 0x93.
    ReceiveMaximumExceeded,
    /// 0x95.
    PacketTooLarge,
    /// 0x96.
    MessageRateTooHigh,
    /// 0x97.
    QuotaExceeded,
    /// 0x98.
    AdministrativeAction,
    /// 0xA0: the credentials allow no longer session.
    MaximumConnectTime,
}

impl DisconnectReason {
    pub(crate) fn code(self) -> DisconnectReasonCode {
        match self {
            Self::Normal => DisconnectReasonCode::NormalDisconnection,
            Self::UnspecifiedError => DisconnectReasonCode::UnspecifiedError,
            Self::NotAuthorized => DisconnectReasonCode::NotAuthorized,
            Self::ServerBusy => DisconnectReasonCode::ServerBusy,
            Self::ServerShuttingDown => DisconnectReasonCode::ServerShuttingDown,
            Self::KeepAliveTimeout => DisconnectReasonCode::KeepAliveTimeout,
            Self::SessionTakenOver => DisconnectReasonCode::SessionTakenOver,
            Self::ReceiveMaximumExceeded => DisconnectReasonCode::ReceiveMaximumExceeded,
            Self::PacketTooLarge => DisconnectReasonCode::PacketTooLarge,
            Self::MessageRateTooHigh => DisconnectReasonCode::MessageRateTooHigh,
            Self::QuotaExceeded => DisconnectReasonCode::QuotaExceeded,
            Self::AdministrativeAction => DisconnectReasonCode::AdministrativeAction,
            Self::MaximumConnectTime => DisconnectReasonCode::MaximumConnectTime,
        }
    }
}

/// Why one topic filter of a SUBSCRIBE is not served (§3.9.3). MQTT 3 has one
/// code for all of them: 0x80.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeFailure {
    /// 0x80.
    Unspecified,
    /// 0x87.
    NotAuthorized,
    /// 0x8F: not a filter, or too many levels.
    TopicFilterInvalid,
    /// 0x97.
    QuotaExceeded,
    /// 0x9E: `$share/…`.
    SharedNotSupported,
    /// 0xA1.
    SubscriptionIdsNotSupported,
    /// 0xA2.
    WildcardNotSupported,
}

impl SubscribeFailure {
    pub(crate) fn code(self) -> SubscribeAckReason {
        match self {
            Self::Unspecified => SubscribeAckReason::UnspecifiedError,
            Self::NotAuthorized => SubscribeAckReason::NotAuthorized,
            Self::TopicFilterInvalid => SubscribeAckReason::TopicFilterInvalid,
            Self::QuotaExceeded => SubscribeAckReason::QuotaExceeded,
            Self::SharedNotSupported => SubscribeAckReason::SharedSubscriptionNotSupported,
            Self::SubscriptionIdsNotSupported => {
                SubscribeAckReason::SubscriptionIdentifiersNotSupported
            }
            Self::WildcardNotSupported => SubscribeAckReason::WildcardSubscriptionsNotSupported,
        }
    }

    /// The Reason String of a SUBACK whose first failure this is.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unspecified => "subscription failed",
            Self::NotAuthorized => "not authorized to subscribe",
            Self::TopicFilterInvalid => "topic filter is not valid or has too many levels",
            Self::QuotaExceeded => "too many subscriptions",
            Self::SharedNotSupported => "shared subscriptions are not supported",
            Self::SubscriptionIdsNotSupported => "subscription identifiers are not supported",
            Self::WildcardNotSupported => "wildcard subscriptions are not supported",
        }
    }
}

/// Why a message was not sent, and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Its Message Expiry Interval was over before it could be sent (MQTT-3.3.2-5).
    Expired,
    /// Over the client's Maximum Packet Size; the standard says to go on as if
    /// it had been sent (MQTT-3.1.2-25).
    PacketTooLarge,
    /// The session is not, or no longer, open.
    NotConnected,
}

impl DropReason {
    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::PacketTooLarge => "packet_too_large",
            Self::NotConnected => "not_connected",
        }
    }
}

/// What the session objects to in a client's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) code: DisconnectReasonCode,
    pub(crate) text: &'static str,
}

impl Violation {
    pub(crate) const fn new(code: DisconnectReasonCode, text: &'static str) -> Self {
        Self { code, text }
    }

    pub(crate) const fn malformed(text: &'static str) -> Self {
        Self::new(DisconnectReasonCode::MalformedPacket, text)
    }

    pub(crate) const fn protocol(text: &'static str) -> Self {
        Self::new(DisconnectReasonCode::ProtocolError, text)
    }

    pub(crate) fn close_reason(self) -> CloseReason {
        match self.code {
            DisconnectReasonCode::PacketTooLarge => CloseReason::PacketTooLarge,
            DisconnectReasonCode::QosNotSupported
            | DisconnectReasonCode::RetainNotSupported
            | DisconnectReasonCode::TopicAliasInvalid
            | DisconnectReasonCode::SubscriptionIdentifiersNotSupported => {
                CloseReason::NotSupported(self.text)
            }
            _ => CloseReason::ProtocolError(self.text),
        }
    }

    /// The same objection as a CONNACK code: the numbers are common (§2.4).
    pub(crate) fn connect_code(self) -> ConnectAckReason {
        ConnectAckReason::try_from(u8::from(self.code))
            .unwrap_or(ConnectAckReason::UnspecifiedError)
    }
}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::InvalidTopicFilter => Self::protocol("no topic filter, or an empty one"),
            DecodeError::InvalidTopicName => Self::new(
                DisconnectReasonCode::TopicNameInvalid,
                "topic name is empty",
            ),
            DecodeError::MaxSizeExceeded { .. } => {
                Self::new(DisconnectReasonCode::PacketTooLarge, "packet is too large")
            }
            DecodeError::Utf8Error => Self::malformed("text is not UTF-8"),
            DecodeError::InvalidLength => Self::malformed("a field is longer or shorter than said"),
            DecodeError::UnsupportedPacketType => Self::malformed("packet type or its flags"),
            _ => Self::malformed("malformed packet"),
        }
    }
}

impl From<FrameError> for Violation {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLarge { .. } => {
                Self::new(DisconnectReasonCode::PacketTooLarge, "packet is too large")
            }
            FrameError::MalformedLength => Self::malformed("packet length has a fifth byte"),
            FrameError::BadType => Self::malformed("packet type 0"),
        }
    }
}
