//! Options that cannot be used: found before anything is sent.
//!
//! Relates to: [`ConnectOptions::check`](crate::ConnectOptions::check), which finds what contradicts something else.

use gantline_protocol::{ClientIdError, ProtocolVersion};
use gantline_transport::AddressError;

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
    #[error("tls needs an address of TLS: write mqtts:// instead of mqtt://, or leave the TLS options out")]
    TlsWithoutAddress,
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
    /// The version does not allow a password alone.
    #[error("a password needs a user name in MQTT {version}")]
    PasswordWithoutUserName {
        /// The version.
        version: ProtocolVersion,
    },
}
