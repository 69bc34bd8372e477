//! Listening: what accepts connections, and what to do when accepting fails.
//!
//! Relates to: [`connect`](crate::connect()), the other direction. Leaves out: limits on the number of connections,
//! which the server counts itself.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::address::{Address, Scheme};
use crate::connect::check_built;
use crate::error::TransportError;
use crate::memory;
use crate::proxy_protocol::ProxyProtocol;
use crate::stream::Stream;
use crate::tcp::{self, TcpOptions};
#[cfg(feature = "tls")]
use crate::tls::TlsAcceptor;
#[cfg(unix)]
use crate::unix;
use crate::upgrade::Upgrade;
#[cfg(feature = "websocket")]
use crate::websocket::WebSocketServerOptions;

/// Something that accepts connections. Implement it to let a server listen on a transport of your own.
pub trait Listener: Send {
    /// The next connection. Handshakes of the transport are not awaited here: they would hold up all others. Who
    /// accepts the stream awaits [`Stream::handshake`].
    ///
    /// # Errors
    ///
    /// One connection failed, the system is short of something, or the listener is broken; [`AcceptBackoff`] tells
    /// these apart.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>>;

    /// The address to connect to, with the true port where the system chose it.
    fn local_address(&self) -> Address;
}

/// Options for listening, of all transports. What the transport of an address cannot honour is an error; only `tcp` is
/// passed over by transports without TCP.
#[derive(Clone, Debug, Default)]
pub struct BindOptions {
    tcp: TcpOptions,
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
    #[cfg(feature = "websocket")]
    websocket: Option<WebSocketServerOptions>,
    socket_mode: Option<u32>,
    proxy_protocol: Option<ProxyProtocol>,
}

impl BindOptions {
    /// The options of TCP.
    #[must_use]
    pub const fn tcp(mut self, options: TcpOptions) -> Self {
        self.tcp = options;
        self
    }

    /// TLS, which `mqtts://` and `wss://` need and other schemes do not have.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// The options of WebSocket, for `ws://` and `wss://` only. Default: those of [`WebSocketServerOptions::default`].
    /// A path of the address is served beside those of the options.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket(mut self, options: WebSocketServerOptions) -> Self {
        self.websocket = Some(options);
        self
    }

    /// The permissions of the socket file of `unix://`, as in `0o660`. Default `None`: what the process gives to new
    /// files.
    #[must_use]
    pub const fn socket_mode(mut self, mode: Option<u32>) -> Self {
        self.socket_mode = mode;
        self
    }

    /// Takes headers of the PROXY protocol from load balancers in front of the listener, whatever the scheme puts on
    /// top of TCP. Default: none are taken, and a connection that begins with one is refused as no MQTT.
    #[must_use]
    pub fn proxy_protocol(mut self, options: ProxyProtocol) -> Self {
        self.proxy_protocol = Some(options);
        self
    }

    /// Refuses options that the scheme cannot honour, and schemes that this build does not have.
    fn check(&self, address: &Address) -> Result<(), TransportError> {
        let scheme = address.scheme();
        check_built(scheme)?;
        if self.socket_mode.is_some() && scheme != Scheme::Unix {
            return Err(TransportError::OptionUnused { option: "socket_mode", scheme });
        }
        if self.proxy_protocol.is_some() && matches!(scheme, Scheme::Unix | Scheme::Memory) {
            return Err(TransportError::OptionUnused { option: "proxy_protocol", scheme });
        }
        #[cfg(feature = "tls")]
        match (&self.tls, scheme.is_secure()) {
            (Some(_), false) => return Err(TransportError::OptionUnused { option: "tls", scheme }),
            (None, true) => {
                return Err(TransportError::TlsMissing { address: address.clone().without_credentials() });
            }
            _ => {}
        }
        #[cfg(feature = "websocket")]
        if scheme.is_websocket() {
            self.websocket_at(address).check()?;
        } else if self.websocket.is_some() {
            return Err(TransportError::OptionUnused { option: "websocket", scheme });
        }
        Ok(())
    }

    /// The options of WebSocket, and the path of the address.
    #[cfg(feature = "websocket")]
    fn websocket_at(&self, address: &Address) -> WebSocketServerOptions {
        self.websocket.clone().unwrap_or_default().at(address.path())
    }

    /// What connections have to do before MQTT.
    fn upgrade(&self, address: &Address) -> Option<Upgrade> {
        let scheme = address.scheme();
        let upgrade = Upgrade {
            scheme,
            proxy_protocol: self.proxy_protocol.clone(),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
            #[cfg(feature = "websocket")]
            websocket: scheme.is_websocket().then(|| Arc::new(self.websocket_at(address))),
        };
        (scheme != Scheme::Mqtt || self.proxy_protocol.is_some()).then_some(upgrade)
    }
}

/// Listens on `address`.
///
/// A host with several addresses is listened on at the first that can be had. The listener must be polled in the
/// runtime in which it was bound.
///
/// # Errors
///
/// The host is not known, the address is taken or not ours, an option is missing or cannot be honoured, or this build
/// has no such transport.
pub async fn bind(address: &Address, options: &BindOptions) -> Result<Box<dyn Listener>, TransportError> {
    options.check(address)?;
    match address.scheme() {
        Scheme::Mqtt | Scheme::Mqtts | Scheme::Ws | Scheme::Wss => {
            Ok(Box::new(tcp::bind(address, &options.tcp, options.upgrade(address)).await?))
        }
        Scheme::Memory => Ok(Box::new(memory::bind(address.host(), options.tcp.memory_backlog())?)),
        #[cfg(unix)]
        Scheme::Unix => Ok(Box::new(unix::bind(address, options.socket_mode)?)),
        #[cfg(not(unix))]
        scheme @ Scheme::Unix => Err(TransportError::Unsupported { scheme }),
    }
}

/// Puts on a connection that you have accepted yourself what the scheme of `address` puts on a socket, TLS say, as a
/// listener at that address would: [`Stream::handshake`] does it. With [`BindOptions::proxy_protocol`], a stream whose
/// peer has no IP address is trusted.
///
/// # Errors
///
/// As [`bind`]; also if the options have a socket mode, which is that of a listener's file.
pub fn accept_over(
    stream: Stream,
    address: &Address,
    options: &BindOptions,
) -> Result<Stream, TransportError> {
    options.check(address)?;
    if options.socket_mode.is_some() {
        return Err(TransportError::OptionOverStream { option: "socket_mode" });
    }
    Ok(match address.scheme() {
        Scheme::Unix | Scheme::Memory => stream,
        _ => match options.upgrade(address) {
            Some(upgrade) => stream.before(Arc::new(upgrade)),
            None => stream,
        },
    })
}

/// The next connection of `listener`; what [`AcceptBackoff`] would try again is tried again.
///
/// Cancel-safe: dropped while it waits, it has taken no connection.
///
/// # Errors
///
/// The listener is broken and will accept nothing more.
pub async fn accept(listener: &mut dyn Listener, backoff: &mut AcceptBackoff) -> io::Result<Stream> {
    loop {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok(stream) => {
                backoff.succeeded();
                return Ok(stream);
            }
            Err(error) => match backoff.failed(&error) {
                AcceptVerdict::Retry => tracing::debug!(%error, "a connection failed before it was accepted"),
                AcceptVerdict::Wait(delay) => {
                    tracing::warn!(%error, ?delay, "no connection can be accepted for now");
                    tokio::time::sleep(delay).await;
                }
                AcceptVerdict::Fail => return Err(error),
            },
        }
    }
}

/// How a listener goes on after accepting failed: a policy without a clock.
///
/// An error of the one connection is forgotten. Where the system is short of something, such as file descriptors,
/// waiting is all that helps: 5 ms, doubled each time in a row up to 1 s. Everything else is the end of the listener.
#[derive(Clone, Debug, Default)]
pub struct AcceptBackoff {
    /// What was waited last; zero after a success.
    last: Duration,
}

impl AcceptBackoff {
    /// A policy that has seen no error.
    pub const fn new() -> Self {
        Self { last: Duration::ZERO }
    }

    /// A connection was accepted.
    pub const fn succeeded(&mut self) {
        self.last = Duration::ZERO;
    }

    /// Accepting failed with `error`.
    pub fn failed(&mut self, error: &io::Error) -> AcceptVerdict {
        if is_shortage(error) {
            self.last = (self.last * 2).clamp(FIRST_DELAY, LONGEST_DELAY);
            return AcceptVerdict::Wait(self.last);
        }
        if is_of_connection(error) { AcceptVerdict::Retry } else { AcceptVerdict::Fail }
    }
}

/// What to do after accepting failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptVerdict {
    /// Accept again at once.
    Retry,
    /// Accept again after this time.
    Wait(Duration),
    /// Give the listener up.
    Fail,
}

const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

fn is_shortage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || error.raw_os_error().is_some_and(|code| SHORTAGES.contains(&code))
}

/// Errors that belong to the connection which waited first, not to the listener.
fn is_of_connection(error: &io::Error) -> bool {
    let by_kind = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::Interrupted
    );
    by_kind || error.raw_os_error().is_some_and(|code| CONNECTION_ERRORS.contains(&code))
}

/// ENFILE, EMFILE, ENOBUFS and ENOMEM; the numbers differ between systems and the standard library does not name them.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SHORTAGES: &[i32] = &[23, 24, 105, 12];
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const SHORTAGES: &[i32] = &[23, 24, 55, 12];
/// WSAEMFILE and WSAENOBUFS.
#[cfg(not(unix))]
const SHORTAGES: &[i32] = &[10024, 10055];

/// Linux hands network errors of a waiting connection to accept: EPERM (a firewall said no), EPROTO, ENOPROTOOPT,
/// EHOSTDOWN, ENONET and EOPNOTSUPP, see accept(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
const CONNECTION_ERRORS: &[i32] = &[1, 71, 92, 112, 64, 95];
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CONNECTION_ERRORS: &[i32] = &[];

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// EMFILE, or its like on other systems.
    fn out_of_files() -> io::Error {
        io::Error::from_raw_os_error(SHORTAGES[1])
    }

    #[test]
    fn an_error_of_one_connection_is_forgotten() {
        let mut backoff = AcceptBackoff::new();
        for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset] {
            assert_eq!(backoff.failed(&kind.into()), AcceptVerdict::Retry);
        }
    }

    #[test]
    fn a_shortage_is_waited_out_longer_each_time() {
        let mut backoff = AcceptBackoff::new();
        let mut waited = Vec::new();
        for _ in 0..10 {
            // An error of a connection in between says nothing about the shortage.
            assert_eq!(backoff.failed(&io::ErrorKind::ConnectionAborted.into()), AcceptVerdict::Retry);
            let AcceptVerdict::Wait(delay) = backoff.failed(&out_of_files()) else { panic!() };
            waited.push(delay.as_millis());
        }
        assert_eq!(waited, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(&out_of_files()), AcceptVerdict::Wait(FIRST_DELAY));
    }

    #[test]
    fn everything_else_ends_the_listener() {
        for kind in [io::ErrorKind::InvalidInput, io::ErrorKind::NotConnected, io::ErrorKind::Other] {
            assert_eq!(AcceptBackoff::new().failed(&kind.into()), AcceptVerdict::Fail);
        }
    }

    struct Scripted(VecDeque<io::Result<Stream>>);

    impl Listener for Scripted {
        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Stream>> {
            self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
        }

        fn local_address(&self) -> Address {
            Address::memory("scripted").unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_goes_on_until_the_listener_is_broken() {
        let (stream, _peer) = memory::pair();
        let mut listener = Scripted(VecDeque::from([
            Err(io::ErrorKind::ConnectionAborted.into()),
            Err(out_of_files()),
            Err(out_of_files()),
            Ok(stream),
            Err(io::ErrorKind::InvalidInput.into()),
        ]));
        let (mut backoff, start) = (AcceptBackoff::new(), tokio::time::Instant::now());
        accept(&mut listener, &mut backoff).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(15));
        let error = accept(&mut listener, &mut backoff).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
