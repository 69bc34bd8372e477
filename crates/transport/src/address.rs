//! Where to connect or listen: one URL picks the transport and says the place.
//!
//! Relates to: [`connect`](crate::connect()) and [`bind`](crate::bind), which take an [`Address`]; [`Scheme`] is also
//! how a [`Stream`](crate::Stream) says what carries it. Leaves out: resolving names, and whether this build supports
//! the scheme.

mod credentials;
mod parse;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

pub use self::credentials::Credentials;
pub(crate) use self::parse::{Authority, authority, has_bare_slash, masked};

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// TCP: `mqtt://`, also written `tcp://`.
    Mqtt,
    /// TLS over TCP: `mqtts://`.
    Mqtts,
    /// WebSocket: `ws://`.
    Ws,
    /// WebSocket over TLS: `wss://`.
    Wss,
    /// A Unix socket: `unix://`.
    Unix,
    /// A stream inside this process: `memory://`.
    Memory,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 6] = [Self::Mqtt, Self::Mqtts, Self::Ws, Self::Wss, Self::Unix, Self::Memory];

    /// The scheme as it is written in a URL, without `://`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
            Self::Memory => "memory",
        }
    }

    /// The port that an address without one means: 1883, 8883, 80 and 443. `None` for schemes without ports.
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Mqtt => Some(1883),
            Self::Mqtts => Some(8883),
            Self::Ws => Some(80),
            Self::Wss => Some(443),
            Self::Unix | Self::Memory => None,
        }
    }

    /// Whether WebSocket carries the bytes.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Whether the bytes are encrypted on their way.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("tcp") {
            return Some(Self::Mqtt);
        }
        Self::ALL.into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.name()))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The place of a server or a listener, as a URL.
///
/// | written | means |
/// |---|---|
/// | `mqtt://host`, `tcp://host` | TCP, port 1883 |
/// | `mqtt://[::1]:1884` | TCP, an IPv6 address |
/// | `mqtt://:1883` | TCP: this machine for connecting, all its interfaces for listening |
/// | `mqtt://0.0.0.0:0` | TCP, listening on a port that the system chooses |
/// | `mqtts://host` | TLS, port 8883 |
/// | `ws://host/path`, `wss://host/path` | WebSocket, port 80 or 443, path `/` if there is none |
/// | `unix:///run/mqtt.sock` | a Unix socket |
/// | `memory://name` | inside this process |
///
/// All but `unix` may carry `user:password@`, percent-encoded where a character would be ambiguous. `Display` gives the
/// canonical URL, fit for logs: the port is always there, credentials never are, and instead of the query of `ws://`
/// and `wss://` it shows `?***`, because there stand tokens and signatures; [`path`](Self::path) has it. Two addresses
/// are equal if they mean the same, credentials and query included.
///
/// ```
/// use gantline_transport::Address;
///
/// let address: Address = "tcp://Broker.example".parse()?;
/// assert_eq!(address.to_string(), "mqtt://broker.example:1883");
/// # Ok::<(), gantline_transport::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
    path: String,
    /// Boxed, because few addresses have them and every error holds an address.
    credentials: Option<Box<Credentials>>,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text, and shows it without its password and query.
    pub fn new(text: impl AsRef<str>) -> Result<Self, AddressError> {
        let text = text.as_ref();
        parse::address(text).map_err(|problem| AddressError { text: masked(text), problem })
    }

    /// The address `memory://name`, if `name` is one: letters, digits and `-._~`.
    ///
    /// # Errors
    ///
    /// The name is empty or contains another character.
    pub fn memory(name: &str) -> Result<Self, AddressError> {
        Self::new(format!("memory://{name}"))
    }

    pub(crate) const fn from_memory_name(name: String) -> Self {
        Self { scheme: Scheme::Memory, host: name, port: None, path: String::new(), credentials: None }
    }

    /// The same host and port for another transport.
    pub(crate) fn with_scheme(mut self, scheme: Scheme, path: &str) -> Self {
        (self.scheme, self.path) = (scheme, path.to_owned());
        self
    }

    /// What carries the bytes.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case, an IPv6 address without brackets; of `memory://` the name. Empty for `unix://`, and
    /// where the URL has none: that means `localhost` for connecting and all interfaces for listening.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the default one of the scheme if the URL has none. `None` for `unix://` and `memory://`.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The path: of `ws://` and `wss://` with its query, at least `/`; of `unix://` the file. Empty for the others.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The user name and password of the URL, for CONNECT.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_deref()
    }

    /// The same host at another port. `unix://` and `memory://` have none and stay as they are.
    #[must_use]
    pub const fn with_port(mut self, port: u16) -> Self {
        if self.port.is_some() {
            self.port = Some(port);
        }
        self
    }

    /// The same place without credentials.
    #[must_use]
    pub fn without_credentials(mut self) -> Self {
        self.credentials = None;
        self
    }
}

impl From<SocketAddr> for Address {
    /// The address of a TCP socket, `mqtt://ip:port`.
    fn from(socket: SocketAddr) -> Self {
        let host = match socket {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => socket.ip().to_string(),
        };
        Self { scheme: Scheme::Mqtt, host, port: Some(socket.port()), path: String::new(), credentials: None }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match self.host.split_once('%') {
            Some((ip, zone)) => write!(f, "[{ip}%25{zone}]")?,
            None if self.host.contains(':') => write!(f, "[{}]", self.host)?,
            None => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.path.split_once('?') {
            Some((path, _)) if self.scheme.is_websocket() => write!(f, "{path}?{HIDDEN}"),
            _ => f.write_str(&self.path),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = if self.credentials.is_some() { ", with credentials" } else { "" };
        write!(f, "Address({self}{credentials})")
    }
}

/// A text that is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: {problem}")]
pub struct AddressError {
    text: String,
    problem: AddressProblem,
}

impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl AddressError {
    pub(crate) const fn new(text: String, problem: AddressProblem) -> Self {
        Self { text, problem }
    }

    /// The text, its password and query replaced by `***`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it.
    pub const fn problem(&self) -> AddressProblem {
        self.problem
    }
}

/// What is shown instead of a secret.
const HIDDEN: &str = "***";

/// What can be wrong with the text of an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressProblem {
    /// There is no `://`.
    #[error("it has no scheme, such as mqtt://")]
    SchemeMissing,
    /// The scheme is none of [`Scheme`].
    #[error("the scheme is none of mqtt, tcp, mqtts, ws, wss, unix, memory")]
    SchemeUnknown,
    /// The scheme is none of those that a [`Proxy`](crate::Proxy) may have.
    #[error("the scheme of a proxy is one of socks5, socks5h, http")]
    ProxySchemeUnknown,
    /// There is neither host nor port, or a name is missing.
    #[error("the host is missing")]
    HostMissing,
    /// The host has a character that no host name has.
    #[error("the host has a character other than letters, digits and -._~")]
    HostInvalid,
    /// An IPv6 address stands without brackets.
    #[error("an IPv6 address must stand in brackets, as in [::1]")]
    BracketsMissing,
    /// What stands in brackets is not an IPv6 address, or the brackets are not closed.
    #[error("what stands in brackets is not an IPv6 address")]
    Ipv6Invalid,
    /// The port is not a number from 0 to 65535.
    #[error("the port is not a number from 0 to 65535")]
    PortInvalid,
    /// The scheme has no ports.
    #[error("this scheme has no ports")]
    PortNotAllowed,
    /// The scheme has no paths.
    #[error("this scheme has no path")]
    PathNotAllowed,
    /// The path is missing or not absolute.
    #[error("the path must be absolute, as in unix:///run/mqtt.sock")]
    PathInvalid,
    /// The path of `ws://` or `wss://` has a character that is not visible ASCII.
    #[error("the path has a space or another character that must be percent-encoded")]
    PathCharacterInvalid,
    /// The text goes on with `#`.
    #[error("an address has no fragment (#)")]
    FragmentNotAllowed,
    /// User name or password are not percent-encoded UTF-8, or have a `/`, `?` or `#` that is not percent-encoded.
    #[error("user name and password must be percent-encoded UTF-8")]
    CredentialsInvalid,
}
