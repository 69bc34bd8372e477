//! A stream of bytes in binary frames over a stream of bytes.
//!
//! Reading decodes in the buffer of the reader, and writing goes from the buffer of the writer: a server puts the head
//! of a frame before it, a client masks a piece of it in a buffer of the thread. So a connection that waits holds no
//! buffer, and what is written without a pause is one frame. That has a price: a frame that is begun has to be filled,
//! so who was told that a part of its bytes is written has to go on with the rest before it waits for an answer, as
//! [`Framed`](crate::Framed) does.
//!
//! Relates to: `decoder.rs`, which knows the rules of frames. Leaves out: time-outs; who closes waits for the peer as
//! long as it likes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::decoder::{Decoder, End};
use super::failure::Breach;
use super::frame::{HeadBytes, LONGEST_CONTROL, LONGEST_HEAD, Mask, Opcode, Side};
use crate::buffers;
use crate::stream::Stream;

/// An open connection.
pub(crate) struct WebSocket {
    stream: Stream,
    side: Side,
    decoder: Decoder,
    /// What came behind the handshake and is not read yet.
    early: Vec<u8>,
    /// What is not written of the head of the frame that is being written.
    head: HeadBytes,
    /// Bytes that the frame being written still has to get. Its head is written before them.
    left: usize,
    mask: Mask,
    /// Control frames that wait for the end of that frame.
    control: Vec<u8>,
    control_written: u16,
    /// Whether we have said that we close. Nothing is written behind that.
    closing: bool,
    /// Whether bytes may wait inside the stream because of a control frame.
    unflushed: bool,
    /// Whether a writer waits: then it is woken, and sends the control frames too.
    writer_waits: bool,
}

impl WebSocket {
    pub(super) const fn new(stream: Stream, side: Side, early: Vec<u8>, max_message: u64) -> Self {
        Self {
            stream,
            side,
            decoder: Decoder::new(side, max_message),
            early,
            head: HeadBytes::NONE,
            left: 0,
            mask: Mask([0; 4]),
            control: Vec::new(),
            control_written: 0,
            closing: false,
            unflushed: false,
            writer_waits: false,
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..READS {
            self.answer(cx);
            match &self.decoder.end {
                Some(End::Closed(_)) => return Poll::Ready(Ok(())),
                Some(End::Broken(breach)) => return Poll::Ready(Err(self.fail(*breach, cx))),
                None => {}
            }
            let before = buffer.filled().len();
            ready!(self.poll_read_raw(cx, buffer))?;
            let came = &mut buffer.filled_mut()[before..];
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let decoded = self.decoder.decode(came);
            buffer.set_filled(before + decoded);
            self.react();
            if decoded > 0 {
                self.answer(cx);
                return Poll::Ready(Ok(()));
            }
        }
        // Who sends nothing but heads and PINGs does not keep the others waiting.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read_raw(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let len = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..len]);
        self.early.drain(..len);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Queues the answer to what came last.
    fn react(&mut self) {
        match self.decoder.end {
            // A PING waits in the decoder: of several, the last is enough (RFC 6455, section 5.5.3).
            None => {}
            Some(End::Closed(code)) => {
                tracing::debug!(?code, "the peer closes the WebSocket connection");
                self.close(code);
            }
            Some(End::Broken(breach)) => self.close(Some(breach.code())),
        }
    }

    /// Queues CLOSE, once.
    fn close(&mut self, code: Option<u16>) {
        if !self.closing {
            self.closing = true;
            let bytes = code.map(u16::to_be_bytes);
            self.queue(Opcode::Close, bytes.as_ref().map_or(&[], |bytes| &bytes[..]));
        }
    }

    fn queue(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = self.new_mask();
        self.control.reserve_exact(LONGEST_HEAD + LONGEST_CONTROL);
        self.control.extend_from_slice(HeadBytes::new(opcode, payload.len(), mask).left());
        let start = self.control.len();
        self.control.extend_from_slice(payload);
        if let Some(mask) = mask {
            mask.apply(&mut self.control[start..]);
        }
    }

    fn new_mask(&self) -> Option<Mask> {
        match self.side {
            Side::Client => Some(Mask(rand::random())),
            Side::Server => None,
        }
    }

    /// Writes as many of the answers as can be written now. An error is left to the next read or write.
    fn answer(&mut self, cx: &mut Context<'_>) {
        // A stream remembers one waker for writing, and a writer that waits needs it.
        if !self.writer_waits
            && self.left == 0
            && (self.unflushed || !self.control.is_empty() || self.decoder.ping.is_some())
            && self.poll_control(cx).is_ready()
            && let Poll::Ready(Ok(())) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            self.unflushed = false;
        }
    }

    /// Writes the control frames that wait. Only between two frames.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // A PONG and a CLOSE at most.
            while let bytes @ [_, ..] = &self.control[usize::from(self.control_written)..] {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    wrote => self.control_written += wrote as u16,
                }
                self.unflushed = true;
            }
            if self.control_written > 0 {
                (self.control, self.control_written) = (Vec::new(), 0);
            }
            match self.decoder.ping.take() {
                Some(said) if !self.closing => self.queue(Opcode::Pong, &said),
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads away what came, because a socket that is closed while something is unread may take our CLOSE back.
    fn fail(&mut self, breach: Breach, cx: &mut Context<'_>) -> io::Error {
        let mut unread = [0; UNREAD];
        for _ in 0..READS {
            let mut buffer = ReadBuf::new(&mut unread);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                _ => break,
            }
        }
        breach.error()
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.poll_write_frame(cx, slices);
        self.writer_waits = result.is_pending();
        result
    }

    fn poll_write_frame(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let slices = &slices[..slices.len().min(SLICES)];
        let offered = slices.iter().map(|slice| slice.len()).sum::<usize>().min(LONGEST_FRAME);
        if offered == 0 {
            return Poll::Ready(Ok(0));
        }
        loop {
            let (head, left, mask) = if self.left > 0 {
                (self.head, self.left, self.mask)
            } else {
                ready!(self.poll_control(cx))?;
                if self.closing {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, CLOSED)));
                }
                let mask = self.new_mask();
                let head = HeadBytes::new(Opcode::Binary, offered, mask);
                (head, offered, mask.unwrap_or(Mask([0; 4])))
            };
            let wrote = ready!(match self.side {
                Side::Server => self.poll_write_plain(cx, &head, slices, left),
                Side::Client => self.poll_write_masked(cx, &head, slices, left, mask),
            })?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            // Not before something of it is written has a frame begun.
            self.head = head;
            let payload = self.head.advance(wrote);
            (self.left, self.mask) = (left - payload, mask.after(payload));
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
    }

    fn poll_write_plain(
        &mut self,
        cx: &mut Context<'_>,
        head: &HeadBytes,
        slices: &[IoSlice<'_>],
        mut left: usize,
    ) -> Poll<io::Result<usize>> {
        let mut all = [IoSlice::new(&[]); SLICES + 1];
        let mut count = 0;
        if !head.left().is_empty() {
            all[0] = IoSlice::new(head.left());
            count = 1;
        }
        for slice in slices {
            let len = slice.len().min(left);
            if len > 0 {
                all[count] = IoSlice::new(&slice[..len]);
                count += 1;
                left -= len;
            }
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, &all[..count])
    }

    /// What the stream does not take is masked once more the next time.
    fn poll_write_masked(
        &mut self,
        cx: &mut Context<'_>,
        head: &HeadBytes,
        slices: &[IoSlice<'_>],
        mut left: usize,
        mask: Mask,
    ) -> Poll<io::Result<usize>> {
        buffers::with_scratch(|scratch| {
            let start = head.left().len();
            scratch[..start].copy_from_slice(head.left());
            let mut end = start;
            for slice in slices {
                let len = slice.len().min(left).min(start + MASKED_AT_ONCE - end);
                scratch[end..end + len].copy_from_slice(&slice[..len]);
                end += len;
                left -= len;
            }
            mask.apply(&mut scratch[start..end]);
            Pin::new(&mut self.stream).poll_write(cx, &scratch[..end])
        })
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.poll_flush_all(cx);
        self.writer_waits = result.is_pending();
        result
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            ready!(self.poll_control(cx))?;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Says CLOSE; reading goes on until the peer says the same. The stream below is closed once both have said it, or
    /// when a frame is left unfinished, behind which nothing can be said.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            self.close(Some(NORMAL));
        }
        self.closing = true;
        ready!(self.poll_flush(cx))?;
        if self.left > 0 || self.decoder.end.is_some() {
            let result = Pin::new(&mut self.stream).poll_shutdown(cx);
            self.writer_waits = result.is_pending();
            return result;
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads of one poll that bring no byte of MQTT before others have their turn.
const READS: usize = 32;
/// Bytes that are read away at once.
const UNREAD: usize = 4 << 10;
/// Bytes of a frame: 16 MiB, which is the most that others may take by default.
const LONGEST_FRAME: usize = 16 << 20;
/// Pieces of a frame that are written at once, besides its head.
const SLICES: usize = 16;
/// Bytes that a client masks and writes at once: 64 KiB.
const MASKED_AT_ONCE: usize = 64 << 10;
/// The code of a connection that has done what it was for.
const NORMAL: u16 = 1000;
const CLOSED: &str = "the WebSocket connection is closed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_connection_is_small() {
        assert!(size_of::<WebSocket>() <= 256, "{}", size_of::<WebSocket>());
    }
}
