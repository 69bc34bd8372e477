//! Byte streams that carry MQTT, the packets in them, and the mailboxes between connection tasks.
//!
//! An [`Address`] picks the transport. [`connect()`] and [`bind`] give [`Stream`]s, which look the same whatever carries
//! them; [`Framed`] finds whole packets in a stream and writes them to it. What packets mean is left to
//! `gantline_protocol`, and who talks to whom to the client and the server.
//!
//! ```
//! use gantline_transport::{AcceptBackoff, Address, Framed, TcpOptions, accept, bind, connect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = TcpOptions::default();
//! let mut listener = bind(&Address::new("memory://hall")?, &options).await?;
//! let mut client = Framed::new(connect(&listener.local_address(), &options).await?, 1024);
//! let mut server = Framed::new(accept(&mut *listener, &mut AcceptBackoff::new()).await?, 1024);
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
//! `mqtt://` and `memory://` work in every build; the other schemes can be written but not used yet.

mod address;
mod buffers;
mod connect;
mod error;
mod framed;
mod listen;
mod mailbox;
pub mod memory;
mod stream;
pub mod sync;
mod tcp;

pub use self::address::{Address, AddressError, AddressProblem, Credentials, Scheme};
pub use self::connect::connect;
pub use self::error::{Attempts, FramedError, TransportError};
pub use self::framed::{Framed, ReadTurn, Turn};
pub use self::listen::{AcceptBackoff, AcceptVerdict, Listener, accept, bind};
pub use self::mailbox::{Budget, Late, Load, Mailbox, MailboxLimits, Overflow, Pushed, Taken, Want};
pub use self::stream::{Detached, Endpoint, PeerInfo, Stream};
pub use self::tcp::TcpOptions;
