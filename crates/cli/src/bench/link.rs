//! One connection: opened and greeted blocking, driven without blocking from then on.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use mio::{Interest, Registry, Token};

use super::{
    dial::{Buffers, dial},
    failure::Failure,
    run::Run,
    socket::Socket,
    wire::{
        self,
        connect::{self, Session},
    },
};

/// How long a broker may take to answer a CONNECT, a SUBSCRIBE or a PINGREQ.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The keep alive of all connections whose pings are not what is measured, in seconds. As long as there is, so that no
/// run needs pings; not 0, which some brokers refuse.
pub(crate) const LONG_KEEP_ALIVE: u16 = u16::MAX;

/// The longest wait for events, so that nobody has to wait long for a loop to end.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A connection whose CONNECT was accepted.
pub(crate) struct Greeted {
    client_id: String,
    stream: Socket<TcpStream>,
    /// How many QoS 1 and 2 messages the broker takes unacknowledged.
    pub(crate) receive_maximum: u32,
}

impl Greeted {
    /// Opens a connection and waits for the CONNACK.
    pub(crate) fn open(
        run: &Run,
        client_id: String,
        keep_alive: u16,
        session: Session,
    ) -> Result<Self, Failure> {
        let stream = connect(run, &client_id, Buffers::Usual)?;
        Self::over(stream, run, client_id, keep_alive, session)
    }

    /// The same over a connection that is open.
    pub(crate) fn over(
        stream: Socket<TcpStream>,
        run: &Run,
        client_id: String,
        keep_alive: u16,
        session: Session,
    ) -> Result<Self, Failure> {
        let mut greeted = Self { stream, client_id, receive_maximum: 0 };
        let mut out = Vec::new();
        let credentials = run.credentials.as_ref();
        connect::connect(&mut out, run.dialect, &greeted.client_id, keep_alive, session, credentials);
        greeted.write(&out)?;
        let body = greeted.answer(wire::CONNACK, "CONNACK")?;
        let client = || greeted.client_id.clone();
        greeted.receive_maximum = match connect::connack(run.dialect, &body) {
            Some(Ok(receive_maximum)) => receive_maximum,
            Some(Err(code)) => return Err(Failure::Refused { client: client(), code }),
            None => return Err(greeted.unexpected("CONNACK", wire::CONNACK)),
        };
        Ok(greeted)
    }

    /// Subscribes to all of `filters` at once, and wants them granted.
    pub(crate) fn subscribe(
        &mut self,
        run: &Run,
        filters: &[impl AsRef<str>],
        qos: u8,
    ) -> Result<(), Failure> {
        let mut out = Vec::new();
        wire::subscribe(&mut out, run.dialect, filters, qos);
        self.write(&out)?;
        let suback = self.answer(wire::SUBACK, "SUBACK")?;
        let granted = &suback[suback.len().saturating_sub(filters.len())..];
        match granted.iter().find(|it| **it != qos) {
            None if granted.len() == filters.len() => Ok(()),
            other => {
                let client = self.client_id.clone();
                Err(Failure::NotGranted { client, asked: qos, granted: other.copied() })
            }
        }
    }

    /// Sends a PINGREQ and waits for the answer.
    pub(crate) fn ping(&mut self) -> Result<(), Failure> {
        self.write(&wire::PINGREQ)?;
        self.answer(wire::PINGRESP, "PINGRESP").map(drop)
    }

    /// Says goodbye. The connection is closed when this is dropped.
    pub(crate) fn disconnect(mut self) -> Result<(), Failure> {
        self.write(&wire::DISCONNECT)
    }

    /// Whether the broker has sent something that nobody has read.
    pub(crate) fn has_unread(&mut self) -> bool {
        let read = self.stream.tcp().set_nonblocking(true).and_then(|()| self.stream.read(&mut [0]));
        matches!(read, Ok(1..))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        written.map_err(|error| Failure::of_connection(&self.client_id, error))
    }

    /// Reads one packet, which has to be of type `kind`, and returns its body.
    fn answer(&mut self, kind: u8, packet: &'static str) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        loop {
            // Byte by byte: nothing of what comes behind the answer may be taken.
            let mut byte = [0];
            if let Err(error) = self.stream.read_exact(&mut byte) {
                return Err(match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        Failure::Silent { client: self.client_id.clone(), packet }
                    }
                    _ => Failure::of_connection(&self.client_id, error),
                });
            }
            bytes.push(byte[0]);
            match wire::first_frame(&bytes) {
                None => {}
                Some((first, body, _)) if first >> 4 == kind => return Ok(body.to_vec()),
                Some((first, body, _)) if first >> 4 == wire::GOODBYE => {
                    let code = body.first().copied();
                    return Err(Failure::Closed { client: self.client_id.clone(), code });
                }
                Some((first, ..)) => return Err(self.unexpected(packet, first >> 4)),
            }
        }
    }

    fn unexpected(&self, packet: &'static str, found: u8) -> Failure {
        Failure::Unexpected { client: self.client_id.clone(), packet, found }
    }
}

/// Opens a connection without a word of MQTT.
pub(crate) fn connect(run: &Run, client_id: &str, buffers: Buffers) -> Result<Socket<TcpStream>, Failure> {
    let place = &run.place;
    let prepare = |stream: TcpStream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    let tcp = dial(place.broker, buffers).and_then(prepare).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => {
            Failure::Unreachable { scheme: place.address.scheme(), broker: place.broker, error }
        }
        _ => Failure::of_connection(client_id, error),
    })?;
    Socket::shake_hands(tcp, place, client_id)
}

/// A connection in the event loop.
pub(crate) struct Link {
    client_id: String,
    stream: Socket<mio::net::TcpStream>,
    /// The incomplete packet at the end of what was read.
    tail: Vec<u8>,
    /// What waits to be written.
    pub(crate) out: Vec<u8>,
    written: usize,
    /// The code of a DISCONNECT.
    goodbye: Option<u8>,
}

impl Link {
    pub(crate) fn new(greeted: Greeted, registry: &Registry, token: Token) -> Result<Self, Failure> {
        Self::from_stream(greeted.stream, greeted.client_id, registry, token)
    }

    /// A connection that nobody has greeted.
    pub(crate) fn from_stream(
        stream: Socket<TcpStream>,
        client_id: String,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, Failure> {
        let register = |tcp: TcpStream| {
            tcp.set_nonblocking(true)?;
            let mut tcp = mio::net::TcpStream::from_std(tcp);
            registry.register(&mut tcp, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(tcp)
        };
        let stream = stream.try_map(register).map_err(|error| Failure::of_connection(&client_id, error))?;
        Ok(Self { client_id, stream, tail: Vec::new(), out: Vec::new(), written: 0, goodbye: None })
    }

    /// Reads all that is there and hands out whole packets; `each` may append answers to the output.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(u8, &[u8], &mut Vec<u8>),
    ) -> Result<(), Failure> {
        let mut code = self.goodbye;
        let read = self.read_bytes(scratch, |bytes, out| {
            wire::frames(bytes, |first, body| {
                if first >> 4 == wire::GOODBYE {
                    code = body.first().copied();
                }
                each(first, body, out);
            })
        });
        self.goodbye = code;
        read.map_err(|error| self.explain(error))
    }

    /// The reason of a closed connection comes before its end.
    fn explain(&self, error: Failure) -> Failure {
        match error {
            Failure::Closed { client, code: None } => Failure::Closed { client, code: self.goodbye },
            other => other,
        }
    }

    /// Reads all that is there; `take` says how many bytes it used, and gets the rest again with what follows.
    pub(crate) fn read_bytes(
        &mut self,
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8], &mut Vec<u8>) -> usize,
    ) -> Result<(), Failure> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(Failure::Closed { client: self.client_id.clone(), code: None }),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::of_connection(&self.client_id, error)),
            };
            let out = &mut self.out;
            if self.tail.is_empty() {
                let used = take(&scratch[..count], out);
                self.tail.extend_from_slice(&scratch[used..count]);
            } else {
                self.tail.extend_from_slice(&scratch[..count]);
                let used = take(&self.tail, out);
                self.tail.drain(..used);
            }
            if count < scratch.len() && self.stream.is_plain() {
                return Ok(());
            }
        }
    }

    /// Tells the broker that nothing more comes.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        let finished = self.stream.finish();
        finished.map_err(|error| Failure::of_connection(&self.client_id, error))
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) const fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    /// As [`flush`](Self::flush); when that fails, the reason of the broker is still to be read.
    pub(crate) fn flush_or_explain(&mut self, scratch: &mut [u8]) -> Result<(), Failure> {
        self.flush().or_else(|error| {
            self.read(scratch, |_, _, _| {})?;
            Err(self.explain(error))
        })
    }

    /// Writes as much of the output as the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::of_connection(&self.client_id, error)),
            }
        }
        self.out.clear();
        self.written = 0;
        match self.stream.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            flushed => flushed.map_err(|error| Failure::of_connection(&self.client_id, error)),
        }
    }
}

/// Waits for events; a signal is none.
pub(crate) fn poll(poll: &mut mio::Poll, events: &mut mio::Events, timeout: Duration) -> Result<(), Failure> {
    match poll.poll(events, Some(timeout)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        other => Ok(other?),
    }
}
