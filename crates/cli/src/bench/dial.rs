//! Opening a TCP connection: from more addresses than one when one has no free ports left, and with small buffers when
//! they shall fill up.
//!
//! Relates to: `link`, which says CONNECT over it. Leaves out: TLS and WebSocket.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
};

use socket2::{Domain, Protocol, Socket, Type};

/// How many of the addresses `127.0.0.x` are tried; each has some 28,000 ports on Linux.
const ADDRESSES: u8 = 32;
/// What a small receive buffer is asked to hold, in bytes. Systems round it up.
const SMALL: usize = 4096;
/// The segment size of Ethernet. Linux makes the send buffer at the other end of a connection forty segments long,
/// which over the loopback interface, with its segments of 64 KiB, would be 2.6 MB.
#[cfg(unix)]
const SEGMENT: u32 = 1460;

/// What the system holds of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffers {
    /// As much as it likes.
    Usual,
    /// As little as it can, at both ends, so that who does not read is soon noticed.
    Small,
}

/// Connects, blocking.
pub(crate) fn dial(broker: SocketAddr, buffers: Buffers) -> io::Result<TcpStream> {
    let first = dial_from(None, broker, buffers);
    match first {
        Err(error) if has_no_port(&error) && is_loopback(broker.ip()) => (2..=ADDRESSES)
            .map(|host| dial_from(Some(Ipv4Addr::new(127, 0, 0, host)), broker, buffers))
            .find(|dialed| !dialed.as_ref().is_err_and(has_no_port))
            .unwrap_or(Err(error)),
        other => other,
    }
}

fn dial_from(source: Option<Ipv4Addr>, broker: SocketAddr, buffers: Buffers) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(broker), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    if buffers == Buffers::Small {
        socket.set_recv_buffer_size(SMALL)?;
        #[cfg(unix)]
        socket.set_tcp_mss(SEGMENT)?;
    }
    socket.connect(&broker.into())?;
    Ok(socket.into())
}

/// Connecting and binding fail differently when all ports are taken.
fn has_no_port(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
}

fn is_loopback(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn small_buffers_hold_less_than_usual_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = listener.local_addr().unwrap();
        let size = |buffers| Socket::from(dial(broker, buffers).unwrap()).recv_buffer_size().unwrap();
        assert!(size(Buffers::Small) < size(Buffers::Usual));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_second_address_has_ports_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = listener.local_addr().unwrap();
        let source = Ipv4Addr::new(127, 0, 0, 2);
        let stream = dial_from(Some(source), broker, Buffers::Usual).unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), source);
    }
}
