//! Options that cannot be used: found before anything is sent.
//!
//! Relates to: [`ConnectOptions::check`](crate::ConnectOptions::check), which finds what contradicts something else.

use gantline_protocol::{ClientIdError, ProtocolVersion};
use gantline_transport::{AddressError, Scheme};

/// Options that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The URL cannot be understood.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// There is no address to connect to, nor a stream.
    #[error("the options have no address")]
    NoAddress,
    /// The client id is not allowed in any version.
    #[error(transparent)]
    ClientId(#[from] ClientIdError),
    /// TLS options are given and the address is not one of TLS, or a stream is given instead of an address.
    #[error(
        "tls needs an address of TLS: write mqtts:// instead of mqtt://, wss:// instead of ws://, or leave the TLS options out"
    )]
    TlsWithoutAddress,
    /// WebSocket options are given and the address is not one of WebSocket, or a stream is given instead of an address.
    #[error(
        "websocket_options need an address of WebSocket, ws:// or wss://: write that, or leave the options out"
    )]
    WebSocketWithoutAddress,
    /// The URL is to be one of WebSocket and is not.
    #[error("the address is to be one of WebSocket, ws:// or wss://, and is {scheme}://")]
    NotOfWebSocket {
        /// Its scheme.
        scheme: Scheme,
    },
    /// Credentials are given, and also something to ask for them.
    #[error("user_name or password are set, and credentials_provider too: leave one of them out")]
    CredentialsTwice,
    /// An option that the version does not have.
    #[error("{option} does not exist in MQTT {version}")]
    NotInVersion {
        /// The name of the setter.
        option: &'static str,
        /// The version.
        version: ProtocolVersion,
    },
    /// The version allows 23 characters only.
    #[error("the client id is too long for MQTT {version}, which allows 23 characters")]
    ClientIdTooLong {
        /// The version.
        version: ProtocolVersion,
    },
    /// A session that outlives its connection needs an id by which it is found again.
    #[error("clean_start(false) needs a client id in MQTT {version}")]
    SessionWithoutClientId {
        /// The version.
        version: ProtocolVersion,
    },
    /// A session store has the session of one client id, which must be known.
    #[error("session_store needs a client id that stays: set client_id")]
    StoreWithoutClientId,
    /// A session that ends with its connection is not worth a store.
    #[error("session_store needs a session that outlives its connection: set {option}")]
    StoreWithoutSession {
        /// The setter that makes it so.
        option: &'static str,
    },
    /// The version does not allow a password alone.
    #[error("a password needs a user name in MQTT {version}")]
    PasswordWithoutUserName {
        /// The version.
        version: ProtocolVersion,
    },
}
