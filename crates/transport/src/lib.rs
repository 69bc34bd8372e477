//! Byte streams that carry MQTT, the packets in them, and the mailboxes between connection tasks.
//!
//! An [`Address`] picks the transport. [`connect()`] and [`bind`] give [`Stream`]s, which look the same whatever
//! carries them; [`Framed`] finds whole packets in a stream and writes them to it. What packets mean is left to
//! `gantline_protocol`, and who talks to whom to the client and the server.
//!
//! ```
//! use gantline_transport::{AcceptBackoff, Address, BindOptions, DialOptions, Framed, accept, bind, connect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut listener = bind(&Address::new("memory://hall")?, &BindOptions::default()).await?;
//! let client = connect(&listener.local_address(), &DialOptions::default()).await?;
//! let server = accept(&mut *listener, &mut AcceptBackoff::new()).await?.handshake().await?;
//! let (mut client, mut server) = (Framed::new(client, 1024), Framed::new(server, 1024));
//!
//! client.out().extend_from_slice(&[0xC0, 0x00]);
//! client.flush().await?;
//! let mut packet = Vec::new();
//! server.next_frame(&mut packet).await?;
//! assert_eq!(packet, [0xC0, 0x00], "a PINGREQ");
//! # Ok(())
//! # }
//! ```
//!
//! `mqtt://` and `memory://` work in every build, `unix://` on Unix, `mqtts://` with the feature `tls`, to which
//! `pfx` adds PKCS#12 files and keys with a password, and `system-roots` the CAs of the system, `ws://` with the
//! feature `websocket`, and `wss://` with both.

mod address;
mod basic;
mod buffers;
mod clock;
mod connect;
mod error;
mod framed;
#[cfg(any(feature = "tls", feature = "websocket"))]
mod linger;
mod listen;
mod mailbox;
pub mod memory;
mod peer;
mod proxy;
mod proxy_protocol;
mod stream;
pub mod sync;
mod tcp;
mod tls;
#[cfg(unix)]
mod unix;
mod upgrade;
mod websocket;

#[cfg(feature = "tls")]
pub use rustls;
#[cfg(feature = "websocket")]
pub use tokio_tungstenite::tungstenite::http;

pub use self::address::{Address, AddressError, AddressProblem, Credentials, Scheme};
pub use self::clock::Clock;
pub use self::connect::{DialOptions, connect, connect_over};
pub use self::error::{Attempts, FramedError, TransportError};
pub use self::framed::{Framed, ReadTurn, Turn};
pub use self::listen::{AcceptBackoff, AcceptVerdict, BindOptions, Listener, accept, accept_over, bind};
pub use self::mailbox::{Budget, Late, Load, Mailbox, MailboxLimits, Overflow, Pushed, Taken, Want};
pub use self::peer::{Endpoint, PeerInfo};
pub use self::proxy::{Proxy, ProxyFailure, SocksRefusal};
pub use self::proxy_protocol::{Network, NetworkError, ProxyHeaderError, ProxyProtocol};
pub use self::stream::{Detached, Stream};
pub use self::tcp::TcpOptions;
#[cfg(feature = "pfx")]
pub use self::tls::KeyPassword;
#[cfg(feature = "tls")]
pub use self::tls::{
    Certificates, ClientCertificates, ClientVerification, PrivateKey, ServerVerification, TlsAcceptor,
    TlsClientOptions, TlsIdentity, TlsServerOptions,
};
pub use self::tls::{TlsFailure, TlsInfo, TlsOptionsError, TlsVersion};
pub use self::upgrade::HandshakeError;
#[cfg(feature = "websocket")]
pub use self::websocket::{WebSocketClientOptions, WebSocketRequest, WebSocketServerOptions};
pub use self::websocket::{WebSocketFailure, WebSocketInfo, WebSocketOptionsError};
