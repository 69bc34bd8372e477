//! One connection: opened and greeted blocking, driven without blocking from then on.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use mio::{Interest, Registry, Token};

use crate::wire::{self, Dialect};

/// How long a broker may take to answer a CONNECT, a SUBSCRIBE or a PINGREQ.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens a connection and waits for the CONNACK; the second value is the broker's Receive Maximum.
pub(crate) fn open(
    broker: SocketAddr,
    dialect: Dialect,
    client_id: &str,
    keep_alive: u16,
) -> io::Result<(TcpStream, u32)> {
    let mut stream = TcpStream::connect(broker)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut out = Vec::new();
    wire::connect(&mut out, dialect, client_id, keep_alive);
    stream.write_all(&out)?;
    let receive_maximum = wire::receive_maximum(dialect, &answer(&mut stream, wire::CONNACK)?)?;
    Ok((stream, receive_maximum))
}

/// Reads one packet, which has to be of type `kind`, and returns its body.
pub(crate) fn answer(stream: &mut TcpStream, kind: u8) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut body = None;
    // Byte by byte: nothing of what comes behind the answer may be taken.
    while body.is_none() {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
        wire::frames(&bytes, |first, rest| body = Some((first >> 4, rest.to_vec())));
    }
    match body {
        Some((found, body)) if found == kind => Ok(body),
        other => Err(io::Error::other(format!("expected packet type {kind}, got {other:?}"))),
    }
}

/// A connection in the event loop.
pub(crate) struct Link {
    stream: mio::net::TcpStream,
    /// The incomplete packet at the end of what was read.
    tail: Vec<u8>,
    /// What waits to be written.
    pub(crate) out: Vec<u8>,
    written: usize,
}

impl Link {
    pub(crate) fn new(stream: TcpStream, registry: &Registry, token: Token) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, tail: Vec::new(), out: Vec::new(), written: 0 })
    }

    /// Reads all that is there and hands out whole packets; `each` may append answers to the output.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(u8, &[u8], &mut Vec<u8>),
    ) -> io::Result<()> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(io::Error::other("the broker closed a connection")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let out = &mut self.out;
            if self.tail.is_empty() {
                let used = wire::frames(&scratch[..count], |first, body| each(first, body, out));
                self.tail.extend_from_slice(&scratch[used..count]);
            } else {
                self.tail.extend_from_slice(&scratch[..count]);
                let used = wire::frames(&self.tail, |first, body| each(first, body, out));
                self.tail.drain(..used);
            }
            if count < scratch.len() {
                return Ok(());
            }
        }
    }

    /// Tells the broker that nothing more comes.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Writes as much of the output as the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
