//! What can go wrong with a server, by operation.
//!
//! Relates to: [`Server::start`](crate::Server::start) and the calls of [`RunningServer`](crate::RunningServer). Leaves
//! out: what clients do wrong, which ends their connections and is counted and logged.

use gantline_protocol::{EncodeError, ReasonCode, StoreError};
use gantline_transport::{AddressError, TransportError};

use crate::broker::retaining::NoRoom;

/// Why a server did not start. Nothing is left running.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address to listen on is not one; the error names it and says what is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An address cannot be listened on; the error names it.
    #[error(transparent)]
    Listen(#[from] TransportError),
    /// TLS options are given and no address to listen on is one of TLS.
    #[error("there are TLS options, but no mqtts:// or wss:// address to listen on")]
    TlsUnused,
    /// WebSocket options are given and no address to listen on is one of WebSocket.
    #[error("there are WebSocket options, but no ws:// or wss:// address to listen on")]
    WebSocketUnused,
    /// The retained messages cannot be loaded. See that the store can be read, or start without it.
    #[error("the retained messages cannot be loaded: {0}")]
    Store(#[from] StoreError),
}

/// Why the server did not publish a message of the application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The message holds something that MQTT cannot carry.
    #[error("the message cannot be sent: {0}")]
    Invalid(#[from] EncodeError),
    /// A hook refused the message, with this reason.
    #[error("a hook of the server refused the message: {0}")]
    Refused(ReasonCode),
    /// It is to be retained, and there are as many retained messages as there may be, or they are as large: raise
    /// [`max_retained_messages`](crate::ServerOptions::max_retained_messages) or
    /// [`max_retained_bytes`](crate::ServerOptions::max_retained_bytes), or clear some. Nobody has got it.
    #[error("there is no room for another retained message")]
    RetainedFull,
    /// The server has been shut down.
    #[error("the server has been shut down")]
    Stopped,
}

impl From<NoRoom> for PublishError {
    fn from(NoRoom: NoRoom) -> Self {
        Self::RetainedFull
    }
}
