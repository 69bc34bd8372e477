//! Looking at the packets of a connection as they go over the wire.
//!
//! An inspected connection has a layer over its stream that finds packets in what passes; without an inspector there is
//! no such layer. Relates to: [`ConnectOptions::packet_inspector`](crate::ConnectOptions::packet_inspector), which asks
//! for it. Leaves out: changing packets, and what they mean; `Packet::decode` of the protocol crate reads them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gantline_protocol::FixedHeader;
use gantline_transport::{PeerInfo, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketDirection {
    /// From the server to us.
    Received,
    /// From us to the server.
    Sent,
}

/// The function that sees the packets.
#[derive(Clone)]
pub(crate) struct Inspector(Arc<Inspect>);

type Inspect = dyn Fn(PacketDirection, &[u8]) + Send + Sync;

impl Inspector {
    pub(crate) fn new(inspect: impl Fn(PacketDirection, &[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(inspect))
    }

    /// The same stream, with this function looking on.
    pub(crate) fn watch(&self, stream: Stream) -> Stream {
        let info = PeerInfo::clone(stream.info());
        let watch = |direction| Watch { inspector: self.clone(), direction, begun: Vec::new() };
        let (received, sent) = (watch(PacketDirection::Received), watch(PacketDirection::Sent));
        Stream::from_io(Inspected { stream, received, sent }, info)
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inspector")
    }
}

struct Inspected {
    stream: Stream,
    received: Watch,
    sent: Watch,
}

/// One direction.
struct Watch {
    inspector: Inspector,
    direction: PacketDirection,
    /// A packet that has not passed completely.
    begun: Vec<u8>,
}

impl Watch {
    /// These bytes pass.
    fn pass(&mut self, bytes: &[u8]) {
        let mut joined = std::mem::take(&mut self.begun);
        let bytes = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = match FixedHeader::parse(rest) {
                Ok(Some(header)) if header.frame_len() <= rest.len() => header.frame_len(),
                Ok(_) => break,
                // No packet any more: shown as it came, and the connection will end.
                Err(_) => rest.len(),
            };
            let (frame, behind) = rest.split_at(length);
            (self.inspector.0)(self.direction, frame);
            rest = behind;
        }
        self.begun = if rest.len() == joined.len() { joined } else { rest.to_vec() };
    }
}

impl AsyncRead for Inspected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.received.pass(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Inspected {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream.poll_write(cx, bytes))?;
        self.sent.pass(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}
