//! TCP both ways: socket options, listening, connecting.
//!
//! Relates to: [`connect`](crate::connect()) and [`bind`](crate::bind), which pick it for `mqtt://`, and below the layers of
//! the other schemes with hosts. Leaves out: racing several addresses of one host; they are tried in the order that the
//! resolver prefers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::address::{Address, Scheme};
use crate::error::{Attempts, TransportError};
use crate::listen::Listener;
use crate::peer::{Endpoint, PeerInfo};
use crate::stream::Stream;
use crate::upgrade::Upgrade;

/// Options of TCP sockets, for listening and connecting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    nodelay: bool,
    backlog: u32,
    keep_alive: Option<Duration>,
    reuse_address: bool,
    local_address: Option<SocketAddr>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            backlog: 1024,
            keep_alive: None,
            reuse_address: cfg!(unix),
            local_address: None,
        }
    }
}

impl TcpOptions {
    /// Whether small writes are sent at once (`TCP_NODELAY`). Default true. Switched off, the system may wait for the
    /// peer's acknowledgement to fill a segment, which costs latency and rarely wins anything: packets are written in
    /// batches already.
    #[must_use]
    pub const fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// How many connections may wait to be accepted; the system may have a lower bound. Default 1,024. Listening only,
    /// also on `memory://`.
    #[must_use]
    pub const fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// After how long a silence the system asks whether the peer's machine still answers (`SO_KEEPALIVE`). Default
    /// `None`: never, because MQTT's own keep alive does that and also notices a peer that hangs.
    #[must_use]
    pub const fn keep_alive(mut self, idle: Option<Duration>) -> Self {
        self.keep_alive = idle;
        self
    }

    /// Whether a listener may take a port on which connections of an earlier process still linger (`SO_REUSEADDR`).
    /// Default true on Unix, and false on Windows, where it would let two programs share the port.
    #[must_use]
    pub const fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// The address to connect from, its port 0 for any. Default `None`: the system chooses. Connecting only; addresses
    /// of the other IP version are then not tried.
    #[must_use]
    pub const fn local_address(mut self, local: Option<SocketAddr>) -> Self {
        self.local_address = local;
        self
    }

    pub(crate) fn memory_backlog(&self) -> usize {
        self.backlog.clamp(1, LARGEST_MEMORY_BACKLOG) as usize
    }

    fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(idle) = self.keep_alive {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
        }
        Ok(())
    }
}

pub(crate) async fn bind(
    address: &Address,
    options: &TcpOptions,
    upgrade: Option<Upgrade>,
) -> Result<TcpAcceptor, TransportError> {
    let upgrade = upgrade.map(Arc::new);
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for candidate in listening_addresses(address).await? {
        match listen(candidate, address.host().is_empty(), options) {
            Ok((listener, local)) => {
                let (path, options) = (address.path().to_owned(), options.clone());
                return Ok(TcpAcceptor { listener, local, path, options, upgrade });
            }
            Err(error) => last = error,
        }
    }
    Err(TransportError::Bind { address: address.clone().without_credentials(), cause: Arc::new(last) })
}

pub(crate) async fn connect(address: &Address, options: &TcpOptions) -> Result<Stream, TransportError> {
    let port = port_of(address);
    if port == 0 {
        return Err(TransportError::PortZero { address: address.clone().without_credentials() });
    }
    let host = if address.host().is_empty() { "localhost" } else { address.host() };
    let mut candidates = resolve(host, port).await?;
    if let Some(local) = options.local_address {
        candidates.retain(|candidate| candidate.is_ipv4() == local.is_ipv4());
    }
    if candidates.is_empty() {
        return Err(TransportError::NoAddress { host: host.to_owned() });
    }
    let mut attempts = Vec::new();
    for candidate in candidates {
        match connect_to(candidate, options).await {
            Ok(tcp) => {
                let local = tcp.local_addr().map_or_else(|_| Endpoint::from(""), Endpoint::from);
                return Ok(Stream::from_tcp(tcp, PeerInfo::new(Scheme::Mqtt, candidate, local)));
            }
            Err(error) => attempts.push((candidate, error)),
        }
    }
    let address = address.clone().without_credentials();
    Err(TransportError::Unreachable { address, attempts: Attempts::new(attempts) })
}

/// A listening TCP socket, and what its connections have to do before MQTT.
#[derive(Debug)]
pub(crate) struct TcpAcceptor {
    listener: TcpListener,
    local: SocketAddr,
    path: String,
    options: TcpOptions,
    upgrade: Option<Arc<Upgrade>>,
}

impl Listener for TcpAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let (tcp, peer) = ready!(self.listener.poll_accept(cx))?;
        // A connection that is gone already refuses options; whoever reads from it will notice, and the others behind
        // it in the queue are none of its business.
        if let Err(error) = self.options.apply(&SockRef::from(&tcp)) {
            tracing::debug!(%peer, %error, "options of an accepted connection could not be set");
        }
        let local = tcp.local_addr().unwrap_or(self.local);
        let stream = Stream::from_tcp(tcp, PeerInfo::new(Scheme::Mqtt, peer, local));
        Poll::Ready(Ok(match &self.upgrade {
            Some(upgrade) => stream.before(Arc::clone(upgrade)),
            None => stream,
        }))
    }

    fn local_address(&self) -> Address {
        let scheme = self.upgrade.as_ref().map_or(Scheme::Mqtt, |upgrade| upgrade.scheme);
        Address::from(self.local).with_scheme(scheme, &self.path)
    }
}

/// More than this the channel behind `memory://` may refuse where machine words are short.
const LARGEST_MEMORY_BACKLOG: u32 = 1 << 16;

fn port_of(address: &Address) -> u16 {
    address.port().unwrap_or_default()
}

async fn listening_addresses(address: &Address) -> Result<Vec<SocketAddr>, TransportError> {
    let port = port_of(address);
    if address.host().is_empty() {
        // One socket for both IP versions where the machine has both.
        let both: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        return Ok(both.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
    }
    let candidates = resolve(address.host(), port).await?;
    if candidates.is_empty() {
        return Err(TransportError::NoAddress { host: address.host().to_owned() });
    }
    Ok(candidates)
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, TransportError> {
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => Ok(found.collect()),
        Err(cause) => Err(TransportError::Unresolved { host: host.to_owned(), cause: Arc::new(cause) }),
    }
}

fn listen(address: SocketAddr, dual: bool, options: &TcpOptions) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if dual && address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if options.reuse_address {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    let listener = TcpListener::from_std(socket.into())?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

async fn connect_to(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    options.apply(&SockRef::from(&socket))?;
    if let Some(local) = options.local_address {
        socket.bind(&local.into())?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}
