//! TCP both ways: socket options, listening, connecting.
//!
//! Relates to: [`connect`](crate::connect()) and [`bind`](crate::bind), which pick it for `mqtt://`, and below the
//! layers of the other schemes with hosts; `race.rs`, which tries the addresses of a host. Leaves out: the resolver,
//! which is the system's.

mod race;

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
use crate::tcp::race::{interleaved, race};
use crate::upgrade::Upgrade;

/// Options of TCP sockets, for listening and connecting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    nodelay: bool,
    backlog: u32,
    keep_alive: Option<Duration>,
    reuse_address: bool,
    local_address: Option<SocketAddr>,
    attempt_delay: Option<Duration>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            backlog: 1024,
            keep_alive: None,
            reuse_address: cfg!(unix),
            local_address: None,
            attempt_delay: Some(ATTEMPT_DELAY),
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

    /// After how long a silence the system asks whether the peer's machine still answers (`SO_KEEPALIVE`), in whole
    /// seconds: what is less than one is taken for one, what is more than 32,767 (nine hours) for that. Default `None`:
    /// never, because MQTT's own keep alive does that and also notices a peer that hangs.
    #[must_use]
    pub fn keep_alive(mut self, idle: Option<Duration>) -> Self {
        self.keep_alive = idle.map(|idle| idle.clamp(LEAST_KEEP_ALIVE, MOST_KEEP_ALIVE));
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

    /// For how long one address of a host may leave us without an answer before the next one is tried beside it; the
    /// first that answers wins, and the others are given up (RFC 8305, "happy eyeballs"). `None`: one address at a
    /// time, each for as long as the system tries. An address that refuses is followed by the next one at once either
    /// way. Default 250 ms; less than 10 ms is taken for 10 ms. Connecting only.
    #[must_use]
    pub fn attempt_delay(mut self, delay: Option<Duration>) -> Self {
        self.attempt_delay = delay.map(|delay| delay.max(LEAST_ATTEMPT_DELAY));
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
    let host = host_of(address);
    match dial(host, port_of(address), options).await {
        Ok((tcp, peer)) => {
            let info = PeerInfo::new(Scheme::Mqtt, peer, local_of(&tcp));
            Ok(Stream::from_tcp(tcp, info))
        }
        Err(DialError::PortZero) => {
            Err(TransportError::PortZero { address: address.clone().without_credentials() })
        }
        Err(DialError::Unresolved(cause)) => Err(TransportError::Unresolved { host: host.to_owned(), cause }),
        Err(DialError::NoAddress) => Err(TransportError::NoAddress { host: host.to_owned() }),
        Err(DialError::Unreachable(attempts)) => {
            Err(TransportError::Unreachable { address: address.clone().without_credentials(), attempts })
        }
    }
}

/// Where an address leads if nothing is in between: without a host, to this machine.
pub(crate) fn host_of(address: &Address) -> &str {
    if address.host().is_empty() { "localhost" } else { address.host() }
}

pub(crate) fn local_of(tcp: &TcpStream) -> Endpoint {
    tcp.local_addr().map_or_else(|_| Endpoint::from(""), Endpoint::from)
}

/// Why no TCP connection came about, whatever it was for.
#[derive(Debug)]
pub(crate) enum DialError {
    PortZero,
    Unresolved(Arc<io::Error>),
    NoAddress,
    Unreachable(Attempts),
}

/// Connects to the first address of `host` that answers.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    options: &TcpOptions,
) -> Result<(TcpStream, SocketAddr), DialError> {
    if port == 0 {
        return Err(DialError::PortZero);
    }
    let found = resolve(host, port).await.map_err(|cause| DialError::Unresolved(Arc::new(cause)))?;
    let fits = |candidate: &SocketAddr| {
        options.local_address.is_none_or(|local| candidate.is_ipv4() == local.is_ipv4())
    };
    let candidates = interleaved(found.into_iter().filter(fits));
    if candidates.is_empty() {
        return Err(DialError::NoAddress);
    }
    let attempt = |&candidate: &SocketAddr| async move {
        connect_to(candidate, options).await.map(|tcp| (tcp, candidate))
    };
    let raced = race(candidates, options.attempt_delay, attempt).await;
    raced.map_err(|attempts| DialError::Unreachable(Attempts::new(attempts)))
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
        if !ACCEPTED_INHERIT && let Err(error) = self.options.apply(&SockRef::from(&tcp)) {
            tracing::debug!(%peer, %error, "options of an accepted connection could not be set");
        }
        // Only where a listener has many addresses the system has to be asked for that of the connection.
        let local = match self.local.ip().is_unspecified() {
            true => tcp.local_addr().unwrap_or(self.local),
            false => self.local,
        };
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
/// What RFC 8305 recommends, and its least.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
const LEAST_ATTEMPT_DELAY: Duration = Duration::from_millis(10);
/// What Linux takes for `TCP_KEEPIDLE`.
const LEAST_KEEP_ALIVE: Duration = Duration::from_secs(1);
const MOST_KEEP_ALIVE: Duration = Duration::from_secs(32_767);
/// Whether an accepted socket has the options of the listening one, so that they need not be set again: Linux copies
/// them, see tcp(7) and socket(7).
const ACCEPTED_INHERIT: bool = cfg!(target_os = "linux");

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
    let host = address.host();
    let candidates = resolve(host, port).await;
    let candidates = candidates
        .map_err(|cause| TransportError::Unresolved { host: host.to_owned(), cause: Arc::new(cause) })?;
    if candidates.is_empty() {
        return Err(TransportError::NoAddress { host: host.to_owned() });
    }
    Ok(candidates)
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

fn listen(address: SocketAddr, dual: bool, options: &TcpOptions) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if dual && address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if options.reuse_address {
        socket.set_reuse_address(true)?;
    }
    if ACCEPTED_INHERIT {
        options.apply(&SockRef::from(&socket))?;
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Both ends of a connection to a listener at `listening`, reached at `host`.
    async fn connected(listening: &str, host: &str, options: &TcpOptions) -> (Stream, Stream) {
        let mut acceptor = bind(&Address::new(listening).unwrap(), options, None).await.unwrap();
        let port = acceptor.local.port();
        let place = Address::new(format!("mqtt://{host}:{port}")).unwrap();
        let client = connect(&place, &TcpOptions::default()).await.unwrap();
        (client, poll_fn(|cx| acceptor.poll_accept(cx)).await.unwrap())
    }

    #[tokio::test]
    async fn accepted_sockets_have_the_options_of_their_listener() {
        let idle = Duration::from_secs(77);
        for (nodelay, keep_alive) in [(true, Some(idle)), (false, None), (true, None)] {
            let options = TcpOptions::default().nodelay(nodelay).keep_alive(keep_alive);
            let (_client, server) = connected("mqtt://127.0.0.1:0", "127.0.0.1", &options).await;
            let socket = SockRef::from(server.tcp().unwrap());
            assert_eq!(socket.tcp_nodelay().unwrap(), nodelay);
            assert_eq!(socket.keepalive().unwrap(), keep_alive.is_some());
            if let Some(idle) = keep_alive {
                assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
            }
        }
    }

    #[tokio::test]
    async fn a_silence_that_the_system_cannot_measure_is_brought_to_one_that_it_can() {
        for (idle, expected) in
            [(Duration::ZERO, 1), (Duration::from_millis(1_900), 1), (Duration::MAX, 32_767)]
        {
            let options = TcpOptions::default().keep_alive(Some(idle));
            let (_client, server) = connected("mqtt://127.0.0.1:0", "127.0.0.1", &options).await;
            let socket = SockRef::from(server.tcp().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(expected));
        }
    }

    #[tokio::test]
    async fn connections_know_at_which_of_our_addresses_they_are() {
        for listening in ["mqtt://127.0.0.1:0", "mqtt://0.0.0.0:0", "mqtt://:0"] {
            let (client, server) = connected(listening, "127.0.0.1", &TcpOptions::default()).await;
            let ours = server.info().local().socket().unwrap();
            assert_eq!(Some(ours.port()), client.info().peer().socket().map(|peer| peer.port()));
            assert!(ours.ip().to_canonical().is_loopback(), "{listening}: {ours}");
        }
    }
}
