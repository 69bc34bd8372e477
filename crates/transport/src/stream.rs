//! One connection as a pair of byte streams, whatever carries it.
//!
//! [`Stream`] hides the transport at the price of one branch for TCP and one virtual call for the others. Layers such
//! as TLS hold another stream inside. Relates to: [`Framed`](crate::Framed), which finds packets in it;
//! [`PeerInfo`], which says who is at the other end. Leaves out: how connections come about
//! ([`connect`](crate::connect()), [`Listener`](crate::Listener)).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::peer::PeerInfo;
#[cfg(feature = "tls")]
use crate::tls::TlsFailure;
use crate::upgrade::{HandshakeError, Upgrade};
#[cfg(feature = "websocket")]
use crate::websocket::{WebSocket, WebSocketServerOptions};

/// A connection: bytes in order, both ways.
///
/// Made by [`connect`](crate::connect()) and [`Listener`](crate::Listener)s, or with [`Stream::from_io`] from anything
/// that reads and writes. Dropping it closes the connection at once; see [`poll_shutdown`](Self::poll_shutdown).
pub struct Stream {
    io: Io,
    info: Arc<PeerInfo>,
}

impl Stream {
    /// A connection over `io`.
    pub fn from_io(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, info: PeerInfo) -> Self {
        Self { io: Io::Other(Box::new(io)), info: Arc::new(info) }
    }

    pub(crate) fn from_tcp(tcp: TcpStream, info: PeerInfo) -> Self {
        Self { io: Io::Tcp(tcp), info: Arc::new(info) }
    }

    #[cfg(unix)]
    pub(crate) fn from_unix(unix: UnixStream, info: PeerInfo) -> Self {
        Self { io: Io::Unix(unix), info: Arc::new(info) }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn from_tls(tls: tokio_rustls::TlsStream<Self>, info: PeerInfo) -> Self {
        Self { io: Io::Tls(Box::new(tls)), info: Arc::new(info) }
    }

    #[cfg(feature = "websocket")]
    pub(crate) fn from_websocket(socket: WebSocket, info: PeerInfo) -> Self {
        Self { io: Io::WebSocket(Box::new(socket)), info: Arc::new(info) }
    }

    /// The server's end of a WebSocket connection over `io`, an HTTP connection that was upgraded by an HTTP server of
    /// your own: [`WebSocketServerOptions::answer`] is the answer to its request. Of the options, the largest message
    /// counts; put what `answer` gives into the [`PeerInfo`] with [`PeerInfo::with_websocket`].
    #[cfg(feature = "websocket")]
    pub fn from_upgraded_websocket(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        info: PeerInfo,
        options: &WebSocketServerOptions,
    ) -> Self {
        let below = Self::from_io(io, info.clone());
        Self::from_websocket(WebSocket::upgraded(below, options), info)
    }

    /// The same connection, of which more is known by now.
    pub(crate) fn described(self, info: PeerInfo) -> Self {
        Self { info: Arc::new(info), ..self }
    }

    /// The same connection, which has to shake hands first.
    pub(crate) fn before(self, upgrade: Arc<Upgrade>) -> Self {
        let info = Arc::new(PeerInfo::clone(&self.info).with_scheme(upgrade.scheme));
        Self { io: Io::Before(Box::new((self, upgrade))), info }
    }

    /// Does what the transport needs before MQTT can go, such as the TLS handshake of a stream that a listener on
    /// `mqtts://` gave. Streams that need nothing, or have it behind them, are returned at once. It takes as long as
    /// the peer likes, so give it a time-out. The [`info`](Self::info) then has what was agreed on.
    ///
    /// # Errors
    ///
    /// The handshake failed. The peer was told as far as possible.
    pub async fn handshake(self) -> Result<Self, HandshakeError> {
        match self.io {
            Io::Before(pending) => {
                let (stream, upgrade) = *pending;
                // Boxed, so that nobody else carries the room that it takes.
                Box::pin(upgrade.run(stream)).await
            }
            io => Ok(Self { io, info: self.info }),
        }
    }

    /// Who is at the other end.
    pub const fn info(&self) -> &Arc<PeerInfo> {
        &self.info
    }

    /// Reads some bytes into `buffer` and says how many; 0 means that the peer will send no more.
    ///
    /// # Errors
    ///
    /// The connection failed.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(self).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes some of `bytes` and says how many.
    ///
    /// # Errors
    ///
    /// The connection failed.
    #[inline]
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, bytes)
    }

    /// Brings everything that was written on its way. TCP needs it not.
    ///
    /// # Errors
    ///
    /// The connection failed.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_flush(cx)
    }

    /// Tells the peer that nothing more comes, after everything that was written. Reading goes on until the peer says
    /// the same.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(cx)
    }

    /// Takes the connection from its runtime, so that another one can [`attach`](Detached::attach) it. Sockets are
    /// bound to a runtime; streams of [`from_io`](Self::from_io) pass through and must work on any. Layers such as TLS
    /// can move before the [`handshake`](Self::handshake) only.
    ///
    /// # Errors
    ///
    /// The system could not do it, or hands were shaken already; the connection is closed then.
    pub fn detach(self) -> io::Result<Detached> {
        let io = match self.io {
            Io::Tcp(tcp) => DetachedIo::Tcp(tcp.into_std()?),
            #[cfg(unix)]
            Io::Unix(unix) => DetachedIo::Unix(unix.into_std()?),
            #[cfg(feature = "tls")]
            Io::Tls(_) => return Err(io::Error::new(io::ErrorKind::Unsupported, LAYERS_STAY)),
            #[cfg(feature = "websocket")]
            Io::WebSocket(_) => return Err(io::Error::new(io::ErrorKind::Unsupported, LAYERS_STAY)),
            Io::Before(pending) => {
                let (stream, upgrade) = *pending;
                DetachedIo::Before(Box::new((stream.detach()?, upgrade)))
            }
            Io::Other(other) => DetachedIo::Other(other),
        };
        Ok(Detached { io, info: self.info })
    }

    /// Whether written bytes are on their way without a flush.
    #[inline]
    pub(crate) const fn writes_through(&self) -> bool {
        match self.io {
            Io::Tcp(_) => true,
            #[cfg(unix)]
            Io::Unix(_) => true,
            _ => false,
        }
    }

    /// The TCP socket, if there is nothing in between.
    pub(crate) const fn tcp(&self) -> Option<&TcpStream> {
        match &self.io {
            Io::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            #[cfg(unix)]
            Io::Unix(unix) => Pin::new(unix).poll_read(cx, buffer),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => read_tls(ready!(Pin::new(tls).poll_read(cx, buffer))),
            #[cfg(feature = "websocket")]
            Io::WebSocket(socket) => socket.poll_read(cx, buffer),
            Io::Before(_) => Poll::Ready(Err(no_handshake())),
            Io::Other(other) => Pin::new(other).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            #[cfg(unix)]
            Io::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            #[cfg(feature = "websocket")]
            Io::WebSocket(socket) => socket.poll_write(cx, &[io::IoSlice::new(bytes)]),
            Io::Before(_) => Poll::Ready(Err(no_handshake())),
            Io::Other(other) => Pin::new(other).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            #[cfg(unix)]
            Io::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, slices),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
            #[cfg(feature = "websocket")]
            Io::WebSocket(socket) => socket.poll_write(cx, slices),
            Io::Before(_) => Poll::Ready(Err(no_handshake())),
            Io::Other(other) => Pin::new(other).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Tcp(tcp) => tcp.is_write_vectored(),
            #[cfg(unix)]
            Io::Unix(unix) => unix.is_write_vectored(),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => tls.is_write_vectored(),
            #[cfg(feature = "websocket")]
            Io::WebSocket(_) => true,
            Io::Before(_) => false,
            Io::Other(other) => other.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            #[cfg(unix)]
            Io::Unix(unix) => Pin::new(unix).poll_flush(cx),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Pin::new(tls).poll_flush(cx),
            #[cfg(feature = "websocket")]
            Io::WebSocket(socket) => socket.poll_flush(cx),
            Io::Before(_) => Poll::Ready(Err(no_handshake())),
            Io::Other(other) => Pin::new(other).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            #[cfg(unix)]
            Io::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            #[cfg(feature = "websocket")]
            Io::WebSocket(socket) => socket.poll_shutdown(cx),
            Io::Before(pending) => Pin::new(&mut pending.0).poll_shutdown(cx),
            Io::Other(other) => Pin::new(other).poll_shutdown(cx),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("info", &self.info).finish_non_exhaustive()
    }
}

/// A [`Stream`] between two runtimes.
pub struct Detached {
    io: DetachedIo,
    info: Arc<PeerInfo>,
}

impl Detached {
    /// Gives the connection to the runtime in which this is called.
    ///
    /// # Errors
    ///
    /// The system could not do it; the connection is closed then.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with IO.
    pub fn attach(self) -> io::Result<Stream> {
        let io = match self.io {
            DetachedIo::Tcp(tcp) => Io::Tcp(TcpStream::from_std(tcp)?),
            #[cfg(unix)]
            DetachedIo::Unix(unix) => Io::Unix(UnixStream::from_std(unix)?),
            DetachedIo::Before(pending) => {
                let (detached, upgrade) = *pending;
                Io::Before(Box::new((detached.attach()?, upgrade)))
            }
            DetachedIo::Other(other) => Io::Other(other),
        };
        Ok(Stream { io, info: self.info })
    }

    /// Who is at the other end.
    pub const fn info(&self) -> &Arc<PeerInfo> {
        &self.info
    }
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").field("info", &self.info).finish_non_exhaustive()
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

enum Io {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::TlsStream<Stream>>),
    #[cfg(feature = "websocket")]
    WebSocket(Box<WebSocket>),
    /// Accepted, and not yet ready for MQTT.
    Before(Box<(Stream, Arc<Upgrade>)>),
    Other(Box<dyn Duplex>),
}

enum DetachedIo {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
    Before(Box<(Detached, Arc<Upgrade>)>),
    Other(Box<dyn Duplex>),
}

/// What reading from TLS means to us. A peer that closes without saying so in TLS is at its end: packets have lengths,
/// so what is cut off is noticed.
#[cfg(feature = "tls")]
fn read_tls(result: io::Result<()>) -> Poll<io::Result<()>> {
    Poll::Ready(match result {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        result => result.map_err(TlsFailure::explain),
    })
}

fn no_handshake() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the handshake of this stream was not awaited")
}

#[cfg(any(feature = "tls", feature = "websocket"))]
const LAYERS_STAY: &str = "a connection stays on the runtime of its handshake";
