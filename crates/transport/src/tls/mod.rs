//! TLS: options for both ends, what can go wrong with it, and what a handshake agreed on.
//!
//! [`TlsClientOptions`] and [`TlsServerOptions`] say what is wanted, with [`Certificates`] and [`TlsIdentity`]s from
//! bytes or files. [`TlsAcceptor`] is a server's options ready for use, which can be replaced while the server runs.
//! [`TlsInfo`] is what became of them, in the [`PeerInfo`](crate::PeerInfo). Relates to: [`connect`](crate::connect()),
//! which shakes hands at once, and [`Stream::handshake`](crate::Stream::handshake), which does so for accepted streams.
//! Leaves out: the cryptography, which is rustls with ring, or what the options bring. Without the feature `tls` only
//! the types are left that tell about TLS.

mod failure;
mod info;
mod options_error;

#[cfg(feature = "tls")]
mod acceptor;
#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod identity;
#[cfg(feature = "tls")]
mod material;
#[cfg(feature = "pfx")]
mod password;
#[cfg(feature = "pfx")]
mod pfx;
#[cfg(feature = "tls")]
mod provider;
#[cfg(feature = "tls")]
mod roots;
#[cfg(feature = "tls")]
mod server;
#[cfg(feature = "tls")]
mod source;
#[cfg(feature = "tls")]
mod verify_client;
#[cfg(feature = "tls")]
mod verify_server;
#[cfg(feature = "tls")]
mod watch;

#[cfg(feature = "tls")]
pub use self::acceptor::TlsAcceptor;
#[cfg(feature = "tls")]
pub use self::client::TlsClientOptions;
#[cfg(feature = "tls")]
pub(crate) use self::client::connect;
pub use self::failure::TlsFailure;
#[cfg(feature = "tls")]
pub use self::identity::TlsIdentity;
pub use self::info::{TlsInfo, TlsVersion};
#[cfg(feature = "tls")]
pub use self::material::{Certificates, PrivateKey};
pub use self::options_error::TlsOptionsError;
#[cfg(feature = "pfx")]
pub use self::password::KeyPassword;
#[cfg(feature = "tls")]
pub use self::server::{ClientCertificates, TlsServerOptions};
#[cfg(feature = "tls")]
pub use self::verify_client::ClientVerification;
#[cfg(feature = "tls")]
pub use self::verify_server::ServerVerification;

/// The application protocol below WebSocket.
#[cfg(feature = "tls")]
const HTTP: &[u8] = b"http/1.1";
