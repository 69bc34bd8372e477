//! How a publish ends: exactly once, in one of four ways.
//!
//! Relates to: `publish.rs`, whose futures resolve with an [`Outcome`]. Leaves out: what leads to which, which is
//! decided in `pump.rs` and `shared.rs`.

use gantline_client::{DisconnectCause, PublishResult};
use gantline_protocol::{EncodeError, ProtocolVersion, ReasonCode, StoreError};

/// What became of a message.
#[derive(Clone, Debug)]
#[must_use = "a publish may end otherwise than delivered"]
pub enum Outcome {
    /// The server has it: QoS 0, it was accepted into the output of a connection; QoS 1 and 2, the server acknowledged
    /// it.
    Delivered(PublishResult),
    /// It cannot be delivered, and trying again would not help. The messages behind it go on.
    Rejected(Rejection),
    /// It was given up before it was sent.
    Dropped(DropReason),
    /// It was sent, or may yet be, and nobody will tell whether it arrived.
    Indeterminate(Doubt),
}

impl Outcome {
    /// Whether the server has the message.
    pub const fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered(_))
    }

    /// The acknowledgement, for those who use `?`.
    ///
    /// # Errors
    ///
    /// The message was not delivered, or nobody knows.
    pub fn into_result(self) -> Result<PublishResult, NotDelivered> {
        match self {
            Self::Delivered(result) => Ok(result),
            Self::Rejected(rejection) => Err(rejection.into()),
            Self::Dropped(reason) => Err(reason.into()),
            Self::Indeterminate(doubt) => Err(doubt.into()),
        }
    }
}

/// An [`Outcome`] other than delivered, as an error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotDelivered {
    /// See [`Outcome::Rejected`].
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// See [`Outcome::Dropped`].
    #[error(transparent)]
    Dropped(#[from] DropReason),
    /// See [`Outcome::Indeterminate`].
    #[error(transparent)]
    Indeterminate(#[from] Doubt),
}

/// Why a message can not be delivered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The server refused it with its acknowledgement (5.0 only).
    #[error("the server refused the message: {}", .0.reason)]
    Refused(Box<PublishResult>),
    /// A property of it cannot be expressed.
    #[error("the message cannot be written: {0}")]
    Unwritable(#[from] EncodeError),
    /// It is larger than the server's Maximum Packet Size.
    #[error("the message is larger than the {maximum} bytes that the server accepts")]
    TooLarge {
        /// The server's maximum in bytes.
        maximum: u32,
    },
    /// The server does not offer this QoS, or retained messages.
    #[error("the server does not offer this: {0}")]
    NotOffered(ReasonCode),
    /// It has a property that the version of the connection does not have. See
    /// [`ConnectOptions::validate_features`](crate::ConnectOptions::validate_features).
    #[error("{property} does not exist in MQTT {version}")]
    NotInVersion {
        /// The name of the setter.
        property: &'static str,
        /// The version.
        version: ProtocolVersion,
    },
    /// The server ended one connection after the other because of it (5.0 only).
    #[error("the server ended {times} connections because of the message, the last with: {reason}")]
    EndsConnections {
        /// How many.
        times: u32,
        /// The reason of the last DISCONNECT.
        reason: ReasonCode,
    },
    /// The store of the outbox failed to keep it, so it was not accepted.
    #[error("the message was not stored: {0}")]
    NotStored(#[from] StoreError),
}

/// Why a message was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DropReason {
    /// The outbox is full, and new messages give way, or everything in it is in flight already.
    #[error("the outbox is full")]
    QueueFull,
    /// The outbox is full, and this was the oldest that waited.
    #[error("the message gave way to a newer one, because the outbox is full")]
    Displaced,
    /// Its message expiry interval passed while it waited.
    #[error("the message expired before it could be sent")]
    Expired,
    /// The client is stopped, or was while it waited.
    #[error("the managed client is stopped")]
    Stopped,
}

/// Why nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// A message of QoS 2 was sent, the connection was lost, and the server has forgotten the session: it may have the
    /// message or not, and sending it again could deliver it twice. See [`InDoubt`](crate::InDoubt).
    #[error("the session was lost after the message was sent ({0})")]
    SessionLost(DisconnectCause),
    /// It was sent, the connection was lost, and the server of the next one does not take it, so it could not be sent
    /// again.
    #[error("the message was sent, and could not be sent again after the connection was lost")]
    Resent,
    /// The client was stopped after the message was sent and before it was acknowledged. If the session goes on when
    /// the client is started again, so does the message.
    #[error("the managed client was stopped before the message was acknowledged")]
    Stopped,
    /// The client was stopped while the message waited; the store has it and it is sent when a client is started with
    /// that store.
    #[error("the managed client was stopped; the message waits in the store")]
    Stored,
    /// A message of QoS 2 from the store had been sent by a client that is gone, and the session's store, if there is
    /// one, does not have it any more. See [`InDoubt`](crate::InDoubt).
    #[error("the message had been sent by an earlier client of the same store")]
    Restarted,
}
