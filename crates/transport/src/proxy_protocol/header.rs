//! The header of the PROXY protocol, read from a stream up to its last byte and no further.
//!
//! Relates to: the specification, `proxy-protocol.txt` of HAProxy, sections 2.1 (version 1) and 2.2 (version 2). Leaves
//! out: the destination, and the checksum, which a receiver may disregard.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::ProxyHeaderError;
use crate::peer::Endpoint;
use crate::upgrade::HandshakeError;

/// With which bytes a header may begin.
pub(super) const FIRST_BYTES: [u8; 2] = [TEXT[0], SIGNATURE[0]];

/// Reads a header; returns the source that it tells, `None` if it tells none.
pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> Result<Option<Endpoint>, HandshakeError> {
    // Every header is longer than that.
    let mut first = [0; SIGNATURE.len()];
    io.read_exact(&mut first).await?;
    if first == SIGNATURE {
        read_binary(io).await
    } else if first.starts_with(TEXT) {
        read_text(io, &first).await
    } else {
        Err(ProxyHeaderError::Missing.into())
    }
}

async fn read_binary(io: &mut (impl AsyncRead + Unpin)) -> Result<Option<Endpoint>, HandshakeError> {
    let mut head = [0; 4];
    io.read_exact(&mut head).await?;
    let [command, family, high, low] = head;
    let command = match command {
        0x20 => Command::Local,
        0x21 => Command::Proxy,
        _ => return Err(malformed("its version or command does not exist")),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(ProxyHeaderError::TooLong(length).into());
    }
    let mut body = vec![0; length];
    io.read_exact(&mut body).await?;
    match command {
        // What it says of addresses is to be disregarded.
        Command::Local => Ok(None),
        Command::Proxy => Ok(source(family, &body)?),
    }
}

async fn read_text(
    io: &mut (impl AsyncRead + Unpin),
    first: &[u8],
) -> Result<Option<Endpoint>, HandshakeError> {
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.contains(&b'\n') {
            return Err(malformed("its line ends without a carriage return"));
        }
        let missing = if line.ends_with(b"\r") { 1 } else { 2 };
        if line.len() + missing > LONGEST_TEXT {
            return Err(malformed("its line does not end"));
        }
        let mut next = [0; 2];
        io.read_exact(&mut next[..missing]).await?;
        line.extend_from_slice(&next[..missing]);
    }
    let line = std::str::from_utf8(&line[..line.len() - 2]);
    Ok(source_in_text(line.map_err(|_| malformed("its line is not ASCII"))?)?)
}

enum Command {
    Local,
    Proxy,
}

/// The source in the body of version 2.
fn source(family: u8, body: &[u8]) -> Result<Option<Endpoint>, ProxyHeaderError> {
    let length = match family {
        UNSPECIFIED => return Ok(None),
        TCP4 => 12,
        TCP6 => 36,
        UNIX => 216,
        _ => return Err(ProxyHeaderError::Malformed("its family is none of TCP and Unix streams")),
    };
    let Some((addresses, extras)) = body.split_at_checked(length) else {
        return Err(ProxyHeaderError::Malformed("it is too short for its addresses"));
    };
    check_extras(extras)?;
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let endpoint = match (family, addresses.first_chunk::<4>(), addresses.first_chunk::<16>()) {
        (TCP4, Some(ip), _) => SocketAddr::from((Ipv4Addr::from(*ip), port(8))).into(),
        (TCP6, _, Some(ip)) => SocketAddr::from((Ipv6Addr::from(*ip), port(32))).into(),
        _ => {
            let path = addresses[..108].split(|&byte| byte == 0).next().unwrap_or_default();
            Endpoint::from(String::from_utf8_lossy(path).into_owned())
        }
    };
    Ok(Some(endpoint))
}

/// Whether type-length-value triples fill the rest to the end.
fn check_extras(mut extras: &[u8]) -> Result<(), ProxyHeaderError> {
    while !extras.is_empty() {
        let value = |extras: &[u8]| {
            let length = u16::from_be_bytes([*extras.get(1)?, *extras.get(2)?]);
            Some(3 + usize::from(length))
        };
        extras = value(extras)
            .and_then(|length| extras.get(length..))
            .ok_or(ProxyHeaderError::Malformed("its extensions do not end where it ends"))?;
    }
    Ok(())
}

/// The source in the line of version 1, `PROXY TCP4 192.0.2.1 192.0.2.2 52311 1883`.
fn source_in_text(line: &str) -> Result<Option<Endpoint>, ProxyHeaderError> {
    let mut words = line.split(' ').skip(1);
    let ipv4 = match words.next() {
        // The rest is to be disregarded.
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(ProxyHeaderError::Malformed("its protocol is none of TCP4, TCP6 and UNKNOWN")),
    };
    let ip = |word: Option<&str>| {
        let ip: Option<IpAddr> = word.and_then(|word| word.parse().ok());
        ip.filter(|ip| ip.is_ipv4() == ipv4)
            .ok_or(ProxyHeaderError::Malformed("its addresses are not of its protocol"))
    };
    let (source, _) = (ip(words.next())?, ip(words.next())?);
    let (port, _) = (port(words.next())?, port(words.next())?);
    match words.next() {
        None => Ok(Some(SocketAddr::new(source, port).into())),
        Some(_) => Err(ProxyHeaderError::Malformed("its line has too many words")),
    }
}

/// A number as the specification wants it: without sign and leading zeros.
fn port(word: Option<&str>) -> Result<u16, ProxyHeaderError> {
    let plain = |word: &&str| {
        word.bytes().all(|byte| byte.is_ascii_digit()) && (*word == "0" || !word.starts_with('0'))
    };
    word.filter(plain)
        .and_then(|word| word.parse().ok())
        .ok_or(ProxyHeaderError::Malformed("its ports are not numbers from 0 to 65535"))
}

fn malformed(why: &'static str) -> HandshakeError {
    ProxyHeaderError::Malformed(why).into()
}

const TEXT: &[u8] = b"PROXY ";
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// With its line end; the specification's number.
const LONGEST_TEXT: usize = 107;
/// Of a body of version 2. Addresses take 216 bytes at most; load balancers add some hundred.
const LONGEST: usize = 4096;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

#[cfg(test)]
mod tests;
