//! Proxies that a client connects through: SOCKS5 and HTTP CONNECT.
//!
//! A [`Proxy`] makes a tunnel to the server, over which everything else runs as over TCP: TLS and WebSocket speak to
//! the server, not to the proxy. Relates to: [`DialOptions::proxy`](crate::DialOptions::proxy). Leaves out: proxies
//! that are reached over TLS themselves, chains of proxies, and what the environment says about proxies.

mod failure;
mod http;
mod socks5;

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};

pub use self::failure::{ProxyFailure, SocksRefusal};
use crate::address::{
    Address, AddressError, AddressProblem, Authority, Credentials, Scheme, authority, has_bare_slash, masked,
};
use crate::error::TransportError;
use crate::peer::PeerInfo;
use crate::stream::Stream;
use crate::tcp::{self, DialError, TcpOptions};

/// A proxy to connect through.
///
/// | written | means |
/// |---|---|
/// | `socks5://host` | SOCKS5 (RFC 1928), port 1080; `socks5h` means the same |
/// | `http://host:3128` | HTTP CONNECT, port 80 unless there is another one |
/// | `socks5://user:password@host` | with a user name and password (RFC 1929; with HTTP, Basic) |
///
/// The name of the server is always resolved by the proxy. `Display` and `Debug` do not show credentials, which go to
/// the proxy as they are: nobody on the way to it should be able to listen.
///
/// ```
/// use gantline_transport::{DialOptions, Proxy};
///
/// let options = DialOptions::default().proxy(Proxy::new("socks5://ada:secret@proxy.example:1080")?);
/// # Ok::<(), gantline_transport::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Socks5,
    Http,
}

impl Proxy {
    /// Reads the URL of a proxy. User name and password are percent-encoded where a character would be ambiguous.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text, and shows it without its password.
    pub fn new(url: impl AsRef<str>) -> Result<Self, AddressError> {
        let text = url.as_ref();
        Self::parsed(text).map_err(|problem| AddressError::new(masked(text), problem))
    }

    /// With this user name and password, instead of those of the URL. Default: none.
    #[must_use]
    pub fn credentials(mut self, user_name: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::new(user_name, Some(password.into())));
        self
    }

    /// The host of the proxy.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port of the proxy.
    pub const fn port(&self) -> u16 {
        self.port
    }

    fn parsed(text: &str) -> Result<Self, AddressProblem> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressProblem::SchemeMissing)?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "socks5" | "socks5h" => Kind::Socks5,
            "http" => Kind::Http,
            _ => return Err(AddressProblem::ProxySchemeUnknown),
        };
        if has_bare_slash(rest) {
            return Err(AddressProblem::CredentialsInvalid);
        }
        let Authority { credentials, host, port, path } = authority(rest)?;
        if host.is_empty() {
            return Err(AddressProblem::HostMissing);
        }
        if !matches!(path, "" | "/") {
            return Err(AddressProblem::PathNotAllowed);
        }
        Ok(Self {
            kind,
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(kind.default_port()),
            credentials,
        })
    }

    /// Asks for a tunnel over a fresh connection to the proxy.
    async fn tunnel(&self, tcp: &mut Stream, target: &Target<'_>) -> Result<(), ProxyFailure> {
        match self.kind {
            Kind::Socks5 => socks5::tunnel(tcp, target, self.credentials.as_ref()).await,
            Kind::Http => http::tunnel(tcp, target, self.credentials.as_ref()).await,
        }
    }

    async fn reach(&self, address: &Address, options: &TcpOptions) -> Result<Stream, ProxyFailure> {
        let target = Target::new(address)?;
        let (tcp, _) = tcp::dial(&self.host, self.port, options).await.map_err(|error| match error {
            DialError::PortZero => ProxyFailure::PortZero,
            DialError::Unresolved(cause) => ProxyFailure::Unresolved(cause),
            DialError::NoAddress => ProxyFailure::NoAddress,
            DialError::Unreachable(attempts) => ProxyFailure::Unreachable(attempts),
        })?;
        let info = PeerInfo::new(Scheme::Mqtt, target.to_string(), tcp::local_of(&tcp));
        let mut stream = Stream::from_tcp(tcp, info);
        self.tunnel(&mut stream, &target).await?;
        Ok(stream)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = Target { host: &self.host, port: self.port };
        write!(f, "{}://{target}", self.kind.name())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = if self.credentials.is_some() { ", with credentials" } else { "" };
        write!(f, "Proxy({self}{credentials})")
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Socks5 => "socks5",
            Self::Http => "http",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Socks5 => 1080,
            Self::Http => 80,
        }
    }
}

/// Connects to the server at `address` through `proxy`. The options are those of the connection to the proxy.
pub(crate) async fn connect(
    address: &Address,
    proxy: &Proxy,
    options: &TcpOptions,
) -> Result<Stream, TransportError> {
    if address.port() == Some(0) {
        return Err(TransportError::PortZero { address: address.clone().without_credentials() });
    }
    proxy.reach(address, options).await.map_err(|failure| TransportError::Proxy {
        address: address.clone().without_credentials(),
        proxy: Box::new(proxy.clone()),
        failure: Box::new(failure),
    })
}

/// Where a tunnel is to lead, as `host:port`.
#[derive(Clone, Copy, Debug)]
struct Target<'a> {
    host: &'a str,
    port: u16,
}

impl<'a> Target<'a> {
    /// The host of an address, if a proxy can be told of it.
    fn new(address: &'a Address) -> Result<Self, ProxyFailure> {
        let host = address.host();
        let unfit = |why| Err(ProxyFailure::HostUnfit { host: host.to_owned(), why });
        if host.is_empty() {
            return unfit("it means this machine, and the proxy is another one");
        }
        if host.contains('%') {
            return unfit("the zone of an IPv6 address has a meaning on this machine only");
        }
        if !host.is_ascii() {
            return unfit("a name that is not ASCII has to be written with xn--");
        }
        if host.len() > LONGEST_NAME {
            return unfit("a name has at most 255 characters");
        }
        Ok(Self { host, port: address.port().unwrap_or_default() })
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Fills `buffer`; nothing more is taken, because what follows belongs to the server.
async fn read_exact(io: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> Result<(), ProxyFailure> {
    match io.read_exact(buffer).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ProxyFailure::Closed),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: io::Error) -> ProxyFailure {
    ProxyFailure::Io(Arc::new(error))
}

/// The length of a name in SOCKS5 is one byte.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn problem(text: &str) -> AddressProblem {
        Proxy::new(text).unwrap_err().problem()
    }

    #[test]
    fn a_url_says_kind_place_and_credentials() {
        for (text, shown) in [
            ("socks5://Proxy.example", "socks5://proxy.example:1080"),
            ("SOCKS5H://p:1", "socks5://p:1"),
            ("http://p/", "http://p:80"),
            ("http://u:s%40e@[::1]:3128", "http://[::1]:3128"),
        ] {
            assert_eq!(Proxy::new(text).unwrap().to_string(), shown, "{text}");
        }
        let proxy = Proxy::new("http://u%3A:s%40e@p").unwrap();
        let credentials = proxy.credentials.as_ref().unwrap();
        assert_eq!((credentials.user_name(), credentials.password()), ("u:", Some("s@e")));
        assert_eq!(Proxy::new("http://p").unwrap().credentials("u:", "s@e"), proxy);
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for (text, expected) in [
            ("p:1080", AddressProblem::SchemeMissing),
            ("https://p", AddressProblem::ProxySchemeUnknown),
            ("socks4://p", AddressProblem::ProxySchemeUnknown),
            ("http://", AddressProblem::HostMissing),
            ("http://:80", AddressProblem::HostMissing),
            ("http://p/path", AddressProblem::PathNotAllowed),
            ("http://p:99999", AddressProblem::PortInvalid),
            ("http://u:s/ecret@p", AddressProblem::CredentialsInvalid),
            ("http://u:%ff@p", AddressProblem::CredentialsInvalid),
        ] {
            assert_eq!(problem(text), expected, "{text}");
        }
        let error = Proxy::new("ftp://u:secret@p").unwrap_err();
        let proxy = Proxy::new("http://ada:secret@p").unwrap();
        for shown in [format!("{error} {error:?}"), format!("{proxy} {proxy:?}")] {
            assert!(!shown.contains("secret") && !shown.contains("ada"), "{shown}");
        }
    }

    #[test]
    fn a_host_that_only_we_understand_is_not_told() {
        for (text, why) in [
            ("mqtt://:1883", "means this machine"),
            ("mqtt://[fe80::1%eth0]", "zone"),
            ("mqtt://bücher.example", "xn--"),
            (&format!("mqtt://{}", "a".repeat(256)), "255"),
        ] {
            let address = Address::new(text).unwrap();
            let error = Target::new(&address).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
