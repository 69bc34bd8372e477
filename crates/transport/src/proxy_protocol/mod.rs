//! The PROXY protocol, versions 1 and 2: a load balancer in front of a listener says for whom it connects.
//!
//! A [`ProxyProtocol`] is the outermost layer of an accepted connection, below TLS. Relates to:
//! [`BindOptions::proxy_protocol`](crate::BindOptions::proxy_protocol), which asks for it; `header.rs`, which reads.
//! Leaves out: what else load balancers tell, such as TLS of their own (its lengths are checked, its contents are
//! passed over), and sending such headers.

mod header;
mod network;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

pub use self::network::{Network, NetworkError};
use crate::peer::PeerInfo;
use crate::stream::Stream;
use crate::upgrade::HandshakeError;

/// How a listener takes headers of the PROXY protocol: from which networks.
///
/// A connection from one of them must begin with a header, version 1 or 2, and counts as one from the address in it; a
/// header without an address (`UNKNOWN`, `LOCAL`, as in health checks) changes nothing. A connection from elsewhere is
/// a direct one, whose address is its own; if it begins with a header all the same, it is refused. So nobody can claim
/// an address who is not trusted, and clients that need no load balancer can use the same listener. Name the load
/// balancers only: whoever is in these networks can claim any address.
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    trusted: Arc<[Network]>,
}

impl ProxyProtocol {
    /// Headers are taken from these networks, such as `"10.0.0.0/8".parse()?`. IPv4 addresses that a socket of both IP
    /// versions shows as IPv6 are IPv4 addresses.
    pub fn from_networks(networks: impl IntoIterator<Item = Network>) -> Self {
        Self { trusted: networks.into_iter().collect() }
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(ip))
    }

    /// Reads the header, if there has to be one. Not a byte behind it is taken.
    pub(crate) async fn accept(&self, mut stream: Stream) -> Result<Stream, HandshakeError> {
        // What has no IP address was handed to us together with this option.
        if stream.info().peer().socket().is_some_and(|peer| !self.trusts(peer.ip())) {
            return direct(stream).await;
        }
        let Some(peer) = header::read(&mut stream).await? else { return Ok(stream) };
        let info = PeerInfo::clone(stream.info()).with_peer(peer);
        Ok(stream.described(info))
    }
}

/// A connection that has no business with headers.
async fn direct(stream: Stream) -> Result<Stream, HandshakeError> {
    if let Some(tcp) = stream.tcp() {
        let mut first = [0];
        // Neither MQTT nor TLS nor a request for WebSocket begins so.
        if tcp.peek(&mut first).await? == 1 && header::FIRST_BYTES.contains(&first[0]) {
            return Err(ProxyHeaderError::Untrusted.into());
        }
    }
    Ok(stream)
}

/// What is wrong with the header of the PROXY protocol. The connection is closed without a word, as the protocol wants
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// A load balancer that is trusted sent none: switch it on there, or do not trust that network.
    #[error(
        "it is to begin with a header of the PROXY protocol, because its network is trusted, and does not"
    )]
    Missing,
    /// It came from a network that is not trusted: add it if it is that of a load balancer.
    #[error("it begins with a header of the PROXY protocol, and its network is not trusted")]
    Untrusted,
    /// The header is not one: the load balancer is at fault.
    #[error("its header of the PROXY protocol is malformed: {0}")]
    Malformed(&'static str),
    /// The header is longer than the 4 KiB that are read.
    #[error("its header of the PROXY protocol is too long: {0} bytes")]
    TooLong(usize),
}

impl From<ProxyHeaderError> for io::Error {
    fn from(error: ProxyHeaderError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
