//! What carries a connection: a TCP socket, with TLS and WebSocket on top where the URL of the broker wants them.
//!
//! It reads and writes like the socket below, blocking or not as that does. Relates to:
//! [`websocket`](super::websocket), the frames; rustls, which does TLS for our libraries as well, because nobody
//! measures how well a generator encrypts. Leaves out: what is said.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

#[cfg(feature = "tls")]
use gantline::transport::rustls::ClientConnection;

use super::{failure::Failure, place::Place, websocket::Frames};

/// A connection over a socket of the standard library or of mio.
pub(crate) struct Socket<S> {
    below: Below<S>,
    frames: Option<Box<Frames>>,
}

/// What is below WebSocket.
struct Below<S> {
    tcp: S,
    #[cfg(feature = "tls")]
    tls: Option<Box<ClientConnection>>,
}

impl<S> Socket<S> {
    /// Nothing but TCP.
    pub(crate) const fn plain(tcp: S) -> Self {
        let below = Below {
            tcp,
            #[cfg(feature = "tls")]
            tls: None,
        };
        Self { below, frames: None }
    }

    /// Whether there is nothing but TCP. If there is, a read may give less than has come.
    pub(crate) const fn is_plain(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.below.tls.is_some() {
            return false;
        }
        self.frames.is_none()
    }

    pub(crate) const fn tcp(&self) -> &S {
        &self.below.tcp
    }

    /// The same connection, the socket wrapped up otherwise.
    pub(crate) fn try_map<T>(self, wrap: impl FnOnce(S) -> io::Result<T>) -> io::Result<Socket<T>> {
        let below = Below {
            tcp: wrap(self.below.tcp)?,
            #[cfg(feature = "tls")]
            tls: self.below.tls,
        };
        Ok(Socket { below, frames: self.frames })
    }
}

impl Socket<TcpStream> {
    /// Shakes hands over a connected socket, which blocks, as the scheme of the place wants it.
    pub(crate) fn shake_hands(tcp: TcpStream, place: &Place, client_id: &str) -> Result<Self, Failure> {
        let mut socket = Self::plain(tcp);
        #[cfg(feature = "tls")]
        if let Some(security) = &place.tls {
            let (config, name) = (security.config.clone(), security.server_name.clone());
            let mut tls = ClientConnection::new(config, name).map_err(Failure::tls)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut socket.below.tcp).map_err(Failure::tls)?;
            }
            socket.below.tls = Some(Box::new(tls));
        }
        if place.address.scheme().is_websocket() {
            socket.frames = Some(Box::new(Frames::shake_hands(&mut socket.below, place, client_id)?));
        }
        Ok(socket)
    }
}

impl Socket<mio::net::TcpStream> {
    /// Tells the broker that nothing more comes.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.below.tls {
            tls.send_close_notify();
        }
        self.flush()?;
        self.below.tcp.shutdown(Shutdown::Write)
    }
}

impl<S: Read + Write> Read for Socket<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(frames) = &mut self.frames else { return self.below.read(buffer) };
        loop {
            let count = self.below.read(buffer)?;
            if count == 0 || frames.is_closed() {
                return Ok(0);
            }
            let kept = frames.unwrap(&mut buffer[..count]);
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

impl<S: Read + Write> Write for Socket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(frames) = &mut self.frames else { return self.below.write(bytes) };
        frames.send(&mut self.below)?;
        let taken = frames.wrap(bytes);
        unless_busy(frames.send(&mut self.below))?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(frames) = &mut self.frames {
            frames.send(&mut self.below)?;
        }
        self.below.flush()
    }
}

impl<S: Read + Write> Read for Below<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            loop {
                match tls.reader().read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    // Closed without a word about it in TLS.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                    other => return other,
                }
                if tls.read_tls(&mut self.tcp)? == 0 {
                    return Ok(0);
                }
                tls.process_new_packets().map_err(io::Error::other)?;
            }
        }
        self.tcp.read(buffer)
    }
}

impl<S: Read + Write> Write for Below<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            let taken = tls.writer().write(bytes)?;
            let sent = send(tls, &mut self.tcp);
            if taken > 0 {
                unless_busy(sent)?
            } else {
                sent?
            }
            return Ok(taken);
        }
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            send(tls, &mut self.tcp)?;
        }
        self.tcp.flush()
    }
}

#[cfg(feature = "tls")]
fn send(tls: &mut ClientConnection, tcp: &mut impl Write) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(tcp)?;
    }
    Ok(())
}

/// What was taken is taken, even if the socket wants it later.
fn unless_busy(sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Ok(())
        }
        other => other,
    }
}
