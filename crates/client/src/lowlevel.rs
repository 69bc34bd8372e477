//! A client without a will of its own: packets in, packets out.
//!
//! For tests of servers, for tools, and for protocols on top of MQTT that the [`Client`](crate::Client) is too clever
//! for. Nothing is sent but what you send, no ping, no acknowledgement and no goodbye, and no order of packets is
//! checked; only each packet by itself. Relates to: `gantline_protocol::packet`, whose packets these are. Leaves out:
//! the whole protocol.

use std::io;
use std::sync::Arc;

use gantline_protocol::{EncodeError, Packet, ProtocolVersion, Violation};
use gantline_transport::{Framed, FramedError, PeerInfo, Stream};

use crate::connecting;
use crate::error::ConnectError;
use crate::options::ConnectOptions;

/// A connection on which you send and receive packets yourself.
///
/// ```no_run
/// use gantline_client::ConnectOptions;
/// use gantline_client::lowlevel::LowLevelClient;
/// use gantline_protocol::packet::{Connect, Packet};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = LowLevelClient::connect(&ConnectOptions::new("mqtt://localhost")?).await?;
/// let connect = Connect { client_id: "probe".into(), clean_start: true, ..Connect::default() };
/// client.send(&Packet::Connect(Box::new(connect))).await?;
/// let Packet::ConnAck(connack) = client.receive().await? else { return Err("no CONNACK".into()) };
/// println!("{}", connack.reason);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct LowLevelClient {
    framed: Framed,
    version: ProtocolVersion,
}

/// Why a packet was not sent or received.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LowLevelError {
    /// The packet cannot be expressed in the version of the connection. Nothing was sent.
    #[error("{packet} cannot be written: {cause}")]
    Unwritable {
        /// Its type.
        packet: &'static str,
        /// Why not.
        cause: EncodeError,
    },
    /// What came is no packet, or one that breaks a rule by itself. Where the next one begins may be unknown then.
    #[error(transparent)]
    Violation(Violation),
    /// The server closed the connection between two packets.
    #[error("the server closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection failed: {0}")]
    Network(Arc<io::Error>),
}

impl LowLevelClient {
    /// Opens the transport to the address of the options, with their TLS, WebSocket, proxy and TCP options, their
    /// connect time-out and maximum packet size, and their packet inspector. Nothing of MQTT is sent: that, CONNECT
    /// included, is up to you. Cancel safe: dropped, it leaves nothing behind.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`], of which those about the transport can occur.
    pub async fn connect(options: &ConnectOptions) -> Result<Self, ConnectError> {
        options.check()?;
        Ok(Self::new(connecting::open(options).await?, options))
    }

    /// Takes a stream that is open already.
    pub fn over(stream: Stream) -> Self {
        Self::new(stream, &ConnectOptions::default())
    }

    fn new(stream: Stream, options: &ConnectOptions) -> Self {
        Self { framed: Framed::new(stream, options.maximum_packet_size), version: options.version }
    }

    /// The version in which packets are written and read: the one of the last CONNECT that was sent, before that the
    /// one of the options.
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// What is known of the connection.
    pub fn info(&self) -> &PeerInfo {
        self.framed.info()
    }

    /// Sends a packet; resolves when it is written to the network. Cancel safe in this sense: once polled, the packet
    /// is sent in whole, by the next call if not by this one.
    ///
    /// # Errors
    ///
    /// The packet cannot be written, or the connection failed.
    pub async fn send(&mut self, packet: &Packet) -> Result<(), LowLevelError> {
        if let Packet::Connect(connect) = packet {
            self.version = connect.version;
        }
        let unwritable = |cause| LowLevelError::Unwritable { packet: packet.packet_type().name(), cause };
        packet.encode(self.version, self.framed.out()).map_err(unwritable)?;
        self.flush().await
    }

    /// Sends bytes as they are, to see what a server makes of them. Cancel safe as [`send`](Self::send) is.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), LowLevelError> {
        self.framed.out().extend_from_slice(bytes);
        self.flush().await
    }

    /// The next packet. Cancel safe: a packet is taken only when it is returned.
    ///
    /// # Errors
    ///
    /// What came is no packet, or larger than the maximum; the connection ended or failed.
    pub async fn receive(&mut self) -> Result<Packet, LowLevelError> {
        let mut frame = Vec::new();
        self.framed.next_frame(&mut frame).await.map_err(|error| match error {
            FramedError::Closed => LowLevelError::Closed,
            FramedError::Io(error) => LowLevelError::Network(Arc::new(error)),
            FramedError::Violation(violation) => LowLevelError::Violation(violation),
        })?;
        Packet::decode(&frame, self.version).map_err(LowLevelError::Violation)
    }

    /// Closes the connection, without a goodbye: that is a packet. Cancel safe; dropping the client closes it too, at
    /// once.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn close(mut self) -> Result<(), LowLevelError> {
        self.framed.close().await.map_err(|error| LowLevelError::Network(Arc::new(error)))
    }

    async fn flush(&mut self) -> Result<(), LowLevelError> {
        self.framed.flush().await.map_err(|error| LowLevelError::Network(Arc::new(error)))
    }
}
