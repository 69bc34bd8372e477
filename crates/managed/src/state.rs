//! What a managed client is doing, and why it stopped.
//!
//! Relates to: `supervisor.rs`, which moves from one [`State`] to the next. Leaves out: what happens in between, which
//! is told as events.

use std::sync::Arc;
use std::time::Duration;

use gantline_client::{ConnectError, ConnectionInfo, DisconnectCause};
use gantline_protocol::ReasonCode;

/// What a managed client is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Nothing, until it is started. Publishes end as dropped.
    Stopped(StopCause),
    /// It tries to connect.
    Connecting,
    /// There is a connection.
    Connected(Arc<ConnectionInfo>),
    /// It waits before it tries again.
    Waiting {
        /// For how long.
        delay: Duration,
    },
}

impl State {
    /// Whether there is a connection.
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }

    /// Whether it is stopped, for whatever reason.
    pub const fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }
}

/// Why a managed client is stopped.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopCause {
    /// It was not started yet.
    #[error("the managed client was not started")]
    NotStarted,
    /// It was told to.
    #[error("the managed client was stopped")]
    Requested,
    /// Trying again would not help: see [`ManagedOptions::stop_when`](crate::ManagedOptions::stop_when). Change the
    /// options and start it again.
    #[error("the managed client has given up: {0}")]
    GaveUp(Failure),
}

/// Why there is no connection: what a managed client decides by whether it tries again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// An attempt failed.
    #[error(transparent)]
    Connect(ConnectError),
    /// The connection ended.
    #[error(transparent)]
    Lost(DisconnectCause),
}

impl Failure {
    /// The reason that the server gave, in CONNACK or DISCONNECT.
    pub fn reason(&self) -> Option<ReasonCode> {
        match self {
            Self::Connect(ConnectError::Refused(refusal)) => Some(refusal.reason),
            Self::Lost(DisconnectCause::ByServer(goodbye)) => Some(goodbye.reason),
            Self::Connect(_) | Self::Lost(_) => None,
        }
    }

    /// The other servers that the server named.
    pub fn server_reference(&self) -> Option<&str> {
        match self {
            Self::Connect(ConnectError::Refused(refusal)) => refusal.properties.server_reference.as_deref(),
            Self::Lost(DisconnectCause::ByServer(goodbye)) => goodbye.properties.server_reference.as_deref(),
            Self::Connect(_) | Self::Lost(_) => None,
        }
    }

    /// Whether only a person can help. That is: the options contradict themselves, name a port that wants TLS, or have
    /// the session store of another client id; the server refuses because of the version, the client id, the
    /// credentials or the authentication method, or has banned us; or another client has taken our session over, which
    /// two clients would do to each other for ever.
    ///
    /// A connection that ends as not authorized is none of these: it may have been for one message, and the next
    /// attempt tells.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Connect(
                ConnectError::Options(_)
                | ConnectError::Unwritable(_)
                | ConnectError::SessionOfAnother { .. }
                | ConnectError::NeedsTls,
            ) => true,
            Self::Connect(_) => matches!(
                self.reason(),
                Some(
                    ReasonCode::UnsupportedProtocolVersion
                        | ReasonCode::ClientIdentifierNotValid
                        | ReasonCode::BadUserNameOrPassword
                        | ReasonCode::NotAuthorized
                        | ReasonCode::Banned
                        | ReasonCode::BadAuthenticationMethod
                )
            ),
            Self::Lost(_) => self.reason() == Some(ReasonCode::SessionTakenOver),
        }
    }

    /// Whether the server found fault with what we sent.
    pub(crate) fn blames_a_packet(cause: &DisconnectCause) -> Option<ReasonCode> {
        let DisconnectCause::ByServer(goodbye) = cause else { return None };
        matches!(
            goodbye.reason,
            ReasonCode::MalformedPacket
                | ReasonCode::ProtocolError
                | ReasonCode::ImplementationSpecificError
                | ReasonCode::NotAuthorized
                | ReasonCode::TopicNameInvalid
                | ReasonCode::PacketTooLarge
                | ReasonCode::QuotaExceeded
                | ReasonCode::PayloadFormatInvalid
                | ReasonCode::RetainNotSupported
                | ReasonCode::QoSNotSupported
        )
        .then_some(goodbye.reason)
    }
}
