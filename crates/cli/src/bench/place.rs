//! Where the broker is, and what the bytes to it are wrapped in: a URL, resolved once for all connections of a run.
//!
//! Relates to: [`Socket`](super::socket::Socket), which is opened there. Leaves out: what is said to the broker.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(feature = "tls")]
use std::{
    io::{self, Write},
    sync::Arc,
};

#[cfg(feature = "tls")]
use gantline::transport::rustls::{ClientConfig, pki_types::ServerName};
use gantline::{Address, transport::Scheme};

use super::{args::Target, failure::Failure};
#[cfg(feature = "tls")]
use crate::client_tls::ClientTls;

/// A broker that can be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) broker: SocketAddr,
    pub(crate) address: Address,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Security>,
}

/// What TLS needs to know.
#[cfg(feature = "tls")]
#[derive(Clone, Debug)]
pub(crate) struct Security {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

impl Place {
    /// The broker of the command line.
    pub(crate) fn new(target: &Target) -> Result<Self, Failure> {
        let address = target.broker.clone().without_credentials();
        #[cfg(feature = "tls")]
        let tls = security(&address, &target.tls)?;
        #[cfg(not(feature = "tls"))]
        if address.scheme().is_secure() {
            return Err(Failure::Address(format!("{}:// is not supported by this build", address.scheme())));
        }
        Ok(Self {
            broker: reachable(&address)?,
            address,
            #[cfg(feature = "tls")]
            tls,
        })
    }
}

#[cfg(feature = "tls")]
fn security(address: &Address, flags: &ClientTls) -> Result<Option<Security>, Failure> {
    if !address.scheme().is_secure() {
        return match flags.given() {
            Some(flag) => Err(Failure::Address(format!("{flag} needs a broker at mqtts:// or wss://"))),
            None => Ok(None),
        };
    }
    if flags.is_insecure() {
        let warning =
            "gantline: WARNING: --insecure accepts any certificate: nothing protects these connections";
        let _ = writeln!(io::stderr(), "{warning}");
    }
    let mut config = flags.options().rustls_config().map_err(Failure::tls)?;
    if address.scheme().is_websocket() {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    let server_name = ServerName::try_from(host(address).to_owned()).map_err(Failure::tls)?;
    Ok(Some(Security { config: Arc::new(config), server_name }))
}

fn host(address: &Address) -> &str {
    if address.host().is_empty() { "localhost" } else { address.host() }
}

/// The socket addresses of a URL.
pub(crate) fn resolve(address: &Address) -> Result<Vec<SocketAddr>, Failure> {
    let Some(port) = address.port() else {
        let problem = format!("bench connects over TCP, not by {}://", address.scheme());
        return Err(Failure::Address(problem));
    };
    let host = host(address);
    let found = (host, port).to_socket_addrs().map_err(Failure::system(format!("resolving {host}")))?;
    Ok(found.collect())
}

/// The same for who speaks nothing but MQTT.
pub(crate) fn resolve_plain(address: &Address) -> Result<Vec<SocketAddr>, Failure> {
    if address.scheme() != Scheme::Mqtt {
        let problem = format!("a relay speaks mqtt:// only, not {}://", address.scheme());
        return Err(Failure::Address(problem));
    }
    resolve(address)
}

/// The first address of several at which somebody listens; a single one is not tried.
fn reachable(address: &Address) -> Result<SocketAddr, Failure> {
    let found = resolve(address)?;
    let listening = |it: &&SocketAddr| found.len() == 1 || TcpStream::connect(it).is_ok();
    let broker = found.iter().find(listening).or_else(|| found.first());
    broker.copied().ok_or_else(|| Failure::Address(format!("{address} has no socket address")))
}
