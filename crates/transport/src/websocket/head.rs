//! The head of an HTTP message, read whole before anybody looks at it.
//!
//! [`Head`] stands between a stream and tokio-tungstenite during the handshake: it bounds the head, keeps what came
//! behind it, and knows other protocols by their first byte. Relates to: `accept.rs` and `connect.rs`. Leaves out: what
//! the head says.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::WebSocketFailure;
use super::frame::Side;
use crate::stream::Stream;

/// A stream during the handshake.
pub(super) struct Head {
    pub(super) stream: Stream,
    side: Side,
    most: usize,
    came: Vec<u8>,
    /// How much of it was read from us.
    given: usize,
    /// Where the head ends, once it is whole.
    end: Option<usize>,
    /// What is wrong with it.
    pub(super) failure: Option<WebSocketFailure>,
}

impl Head {
    /// Reads a head of at most this many bytes: a server a request, a client an answer.
    pub(super) const fn new(stream: Stream, side: Side, most: usize) -> Self {
        Self { stream, side, most, came: Vec::new(), given: 0, end: None, failure: None }
    }

    /// The stream, and what came behind the head.
    pub(super) fn into_parts(mut self) -> (Stream, Vec<u8>) {
        self.came.drain(..self.end.unwrap_or(self.given));
        self.came.shrink_to_fit();
        (self.stream, self.came)
    }

    /// The value of this header, for those who were not given the head.
    pub(super) fn header(&self, name: &str) -> String {
        let head = String::from_utf8_lossy(&self.came[..self.end.unwrap_or(0)]);
        let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
        let found = pairs.find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            if let Some(end) = self.end {
                return Poll::Ready(Ok(end));
            }
            let mut chunk = [0; CHUNK];
            let mut buffer = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(self.came.len()));
            }
            let seen = self.came.len().saturating_sub(LONGEST_END);
            self.came.extend_from_slice(buffer.filled());
            self.end = end_of_head(&self.came[seen..]).map(|end| seen + end);
            if let Some(failure) = self.judge() {
                self.failure = Some(failure);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
    }

    fn judge(&self) -> Option<WebSocketFailure> {
        let first = *self.came.first()?;
        match (self.side, first) {
            (Side::Server, CONNECT) => return Some(WebSocketFailure::PlainMqtt),
            (Side::Server, TLS_HANDSHAKE) => return Some(WebSocketFailure::UnwantedTls),
            (Side::Client, TLS_ALERT) => return Some(WebSocketFailure::NeedsTls),
            _ => {}
        }
        let fits = match self.side {
            Side::Server => first.is_ascii_uppercase(),
            Side::Client => self.came.starts_with(&HTTP[..self.came.len().min(HTTP.len())]),
        };
        if !fits {
            let sent = &self.came[..self.came.len().min(SHOWN)];
            return Some(WebSocketFailure::NotHttp { sent: String::from_utf8_lossy(sent).into_owned() });
        }
        (self.end.unwrap_or(self.came.len()) > self.most)
            .then_some(WebSocketFailure::HeadTooLarge { limit: self.most })
    }
}

impl AsyncRead for Head {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let end = ready!(self.poll_head(cx))?;
        let len = (end - self.given).min(buffer.remaining());
        buffer.put_slice(&self.came[self.given..self.given + len]);
        self.given += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Head {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Behind the empty line. Lines may end without a carriage return (RFC 9112, section 2.2).
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').find_map(|(at, _)| match bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Bytes that are read at once.
const CHUNK: usize = 1 << 10;
/// The line break before an empty line, and that line but for its last byte.
const LONGEST_END: usize = 2;
/// Bytes of another protocol that are shown.
const SHOWN: usize = 16;
const HTTP: &[u8] = b"HTTP/";
/// The first byte of MQTT from a client.
const CONNECT: u8 = 0x10;
/// The first byte of TLS from a client.
const TLS_HANDSHAKE: u8 = 0x16;
/// The first byte of what a TLS server answers to HTTP.
const TLS_ALERT: u8 = 0x15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line() {
        for (bytes, end) in [
            (&b"GET / HTTP/1.1\r\nA: b\r\n\r\nmore"[..], Some(24)),
            (b"GET / HTTP/1.1\nA: b\n\nmore", Some(21)),
            (b"GET / HTTP/1.1\r\nA: b\r\n\r", None),
            (b"GET / HTTP/1.1\r\n", None),
            (b"", None),
        ] {
            assert_eq!(end_of_head(bytes), end, "{}", bytes.escape_ascii());
        }
    }
}
