//! One connection as a pair of byte streams, whatever carries it.
//!
//! [`Stream`] hides the transport at the price of one branch for TCP and one virtual call for the others; [`PeerInfo`]
//! says who is at the other end. Relates to: [`Framed`](crate::Framed), which finds packets in it. Leaves out: how
//! connections come about ([`connect`](crate::connect()), [`Listener`](crate::Listener)).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::address::Scheme;
#[cfg(feature = "tls")]
use crate::tls::TlsAcceptor;
use crate::tls::{TlsFailure, TlsInfo};

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

    #[cfg(feature = "tls")]
    pub(crate) fn from_tls(tls: tokio_rustls::TlsStream<TcpStream>, info: PeerInfo) -> Self {
        Self { io: Io::Tls(Box::new(tls)), info: Arc::new(info) }
    }

    /// An accepted connection that has to shake hands first.
    #[cfg(feature = "tls")]
    pub(crate) fn before_tls(tcp: TcpStream, acceptor: TlsAcceptor, info: PeerInfo) -> Self {
        Self { io: Io::BeforeTls(Box::new((tcp, acceptor))), info: Arc::new(info) }
    }

    /// Does what the transport needs before bytes can go: the TLS handshake of a stream that a listener on `mqtts://`
    /// gave. Streams that need nothing, or have it behind them, are returned at once. It takes as long as the peer
    /// likes, so give it a time-out. The [`info`](Self::info) then has what was agreed on.
    ///
    /// # Errors
    ///
    /// The handshake failed. The peer was told as far as possible.
    pub async fn handshake(self) -> Result<Self, TlsFailure> {
        match self.io {
            #[cfg(feature = "tls")]
            Io::BeforeTls(pending) => {
                let (tcp, acceptor) = *pending;
                acceptor.accept(tcp, &self.info).await
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

    /// Takes the connection from its runtime, so that another one can [`attach`](Detached::attach) it. TCP is bound to a
    /// runtime; streams of [`from_io`](Self::from_io) pass through and must work on any. TLS can move before its
    /// [`handshake`](Self::handshake) only.
    ///
    /// # Errors
    ///
    /// The system could not do it, or TLS has shaken hands; the connection is closed then.
    pub fn detach(self) -> io::Result<Detached> {
        let io = match self.io {
            Io::Tcp(tcp) => DetachedIo::Tcp(tcp.into_std()?),
            #[cfg(feature = "tls")]
            Io::BeforeTls(pending) => DetachedIo::BeforeTls(pending.0.into_std()?, pending.1),
            #[cfg(feature = "tls")]
            Io::Tls(_) => return Err(io::Error::new(io::ErrorKind::Unsupported, TLS_STAYS)),
            Io::Other(other) => DetachedIo::Other(other),
        };
        Ok(Detached { io, info: self.info })
    }

    /// Whether written bytes are on their way without a flush.
    #[inline]
    pub(crate) const fn writes_through(&self) -> bool {
        matches!(self.io, Io::Tcp(_))
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
            #[cfg(feature = "tls")]
            Io::Tls(tls) => read_tls(ready!(Pin::new(tls).poll_read(cx, buffer))),
            #[cfg(feature = "tls")]
            Io::BeforeTls(_) => Poll::Ready(Err(no_handshake())),
            Io::Other(other) => Pin::new(other).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Io::BeforeTls(_) => Poll::Ready(Err(no_handshake())),
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
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
            #[cfg(feature = "tls")]
            Io::BeforeTls(_) => Poll::Ready(Err(no_handshake())),
            Io::Other(other) => Pin::new(other).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Tcp(tcp) => tcp.is_write_vectored(),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => tls.is_write_vectored(),
            #[cfg(feature = "tls")]
            Io::BeforeTls(_) => false,
            Io::Other(other) => other.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Pin::new(tls).poll_flush(cx),
            #[cfg(feature = "tls")]
            Io::BeforeTls(_) => Poll::Ready(Err(no_handshake())),
            Io::Other(other) => Pin::new(other).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Io::BeforeTls(pending) => Pin::new(&mut pending.0).poll_shutdown(cx),
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
            #[cfg(feature = "tls")]
            DetachedIo::BeforeTls(tcp, acceptor) => {
                Io::BeforeTls(Box::new((TcpStream::from_std(tcp)?, acceptor)))
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

/// Who is at the other end of a [`Stream`] and what carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    scheme: Scheme,
    peer: Endpoint,
    local: Endpoint,
    tls: Option<Arc<TlsInfo>>,
}

impl PeerInfo {
    /// Describes a connection. For a transport of your own take the scheme that is nearest.
    pub fn new(scheme: Scheme, peer: impl Into<Endpoint>, local: impl Into<Endpoint>) -> Self {
        Self { scheme, peer: peer.into(), local: local.into(), tls: None }
    }

    /// The same connection with what its TLS handshake agreed on.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsInfo) -> Self {
        self.tls = Some(Arc::new(tls));
        self
    }

    #[cfg(feature = "tls")]
    pub(crate) const fn with_scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// What carries the connection.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The other end.
    pub const fn peer(&self) -> &Endpoint {
        &self.peer
    }

    /// Our end.
    pub const fn local(&self) -> &Endpoint {
        &self.local
    }

    /// What TLS agreed on; `None` without TLS, and before its handshake.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_deref()
    }
}

impl fmt::Display for PeerInfo {
    /// The other end as a URL, such as `mqtt://192.0.2.1:52311`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.peer)
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// An IP address and port.
    Socket(SocketAddr),
    /// Something else that has a name; may be empty.
    Name(Arc<str>),
}

impl Endpoint {
    /// The IP address and port, if it has one.
    pub const fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(socket) => Some(*socket),
            Self::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(socket: SocketAddr) -> Self {
        Self::Socket(socket)
    }
}

impl From<&str> for Endpoint {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

impl From<String> for Endpoint {
    fn from(name: String) -> Self {
        Self::Name(name.into())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(socket) => socket.fmt(f),
            Self::Name(name) => f.pad(name),
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

enum Io {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
    #[cfg(feature = "tls")]
    BeforeTls(Box<(TcpStream, TlsAcceptor)>),
    Other(Box<dyn Duplex>),
}

enum DetachedIo {
    Tcp(std::net::TcpStream),
    #[cfg(feature = "tls")]
    BeforeTls(std::net::TcpStream, TlsAcceptor),
    Other(Box<dyn Duplex>),
}

/// What reading from TLS means to us. A peer that closes without saying so in TLS is at its end: packets have lengths, so
/// what is cut off is noticed.
#[cfg(feature = "tls")]
fn read_tls(result: io::Result<()>) -> Poll<io::Result<()>> {
    Poll::Ready(match result {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        result => result.map_err(TlsFailure::explain),
    })
}

#[cfg(feature = "tls")]
fn no_handshake() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the TLS handshake of this stream was not awaited")
}

#[cfg(feature = "tls")]
const TLS_STAYS: &str = "a TLS connection stays on the runtime of its handshake";
