//! Whole packets out of a stream and into it, without a buffer while nothing happens.
//!
//! Reading: [`Framed::poll_read_turn`] reads once into a buffer that all connections of the thread share and hands out
//! whole frames in place. Only what is left over stays with the connection, in its *tail*: an incomplete frame, or
//! frames beyond the bounds of the turn. Writing: bytes are appended to [`Framed::out`], and [`Framed::poll_flush`]
//! writes them.
//!
//! No byte is trusted before it has come: the tail grows with what arrived, at most to twice that and never beyond its
//! frame, and a frame that is announced above the maximum is refused from its header alone.
//!
//! Relates to: [`Stream`], which it owns, and the connection tasks of server and client, its two users. Leaves out:
//! what packets mean; `gantline_protocol` reads the frames.

mod output;
mod turn;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes};
use gantline_protocol::Violation;
use tokio::io::AsyncReadExt;

use self::output::Output;
use self::turn::{Frames, frame_len};
pub use self::turn::{ReadTurn, Turn};
use crate::buffers::{self, SCRATCH};
use crate::error::FramedError;
use crate::peer::PeerInfo;
use crate::stream::Stream;

/// A [`Stream`] of MQTT packets.
///
/// # Cancellation
///
/// Nothing is lost when a future of this type is dropped: bytes that came are in the tail, bytes that were not written
/// are still in the output. `poll_` functions may be stopped being called at any time.
pub struct Framed {
    stream: Stream,
    /// Bytes that came and are not handled: from `tail_start` on.
    tail: Vec<u8>,
    tail_start: usize,
    output: Output,
    max_packet: u32,
    /// Whether bytes may still wait inside the stream.
    unflushed: bool,
    /// Whether large payloads are copied into the output.
    copies: bool,
}

impl Framed {
    /// Finds packets of at most `max_packet` bytes, fixed header included, in `stream`.
    pub const fn new(stream: Stream, max_packet: u32) -> Self {
        Self {
            stream,
            tail: Vec::new(),
            tail_start: 0,
            output: Output::new(),
            max_packet,
            unflushed: false,
            copies: false,
        }
    }

    /// Changes the largest packet in bytes, fixed header included. Counts from the next packet that is handled.
    pub const fn set_max_packet(&mut self, max_packet: u32) {
        self.max_packet = max_packet;
    }

    /// Copies large payloads into the [output](Self::out) from now on, so that whole packets are found there.
    pub const fn copy_payloads(&mut self) {
        self.copies = true;
    }

    /// Who is at the other end.
    pub const fn info(&self) -> &Arc<PeerInfo> {
        self.stream.info()
    }

    /// The output, to append whole packets to. Its front may be bytes that are written already, so use
    /// [`pending_out`](Self::pending_out) for its length and remove nothing; while it is empty it may be exchanged for
    /// another vector.
    #[inline]
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.output.bytes()
    }

    /// The output as it is: while it is empty it has no memory, which [`out`](Self::out) would get for it. For whoever
    /// most likely adds nothing, or exchanges it for a vector with content.
    #[inline]
    pub const fn bare_out(&mut self) -> &mut Vec<u8> {
        self.output.bare_bytes()
    }

    /// Appends bytes that are written from where they are, behind what is in the [output](Self::out) now: for a payload
    /// that is too large to be copied for each receiver.
    pub fn push_shared(&mut self, bytes: Bytes) {
        self.output.push_shared(bytes);
    }

    /// How many bytes wait to be written.
    #[inline]
    pub fn pending_out(&self) -> usize {
        self.output.pending()
    }

    /// Bytes on the heap that this connection holds besides its stream, shared ones included: 0 while it waits for a
    /// packet and has nothing to write.
    pub fn heap_bytes(&self) -> usize {
        self.tail.capacity() + self.output.heap_bytes()
    }

    /// Handles packets for one turn: those that are left over, or else those of one read.
    ///
    /// `handle` sees each whole packet, fixed header included, and appends its answers to the output. A turn ends after
    /// 256 packets, 64 KiB of answers, or when `handle` says [`Turn::Stop`]; what then is left comes first in the next
    /// turn. After a turn that is [ready](Poll::Ready) nothing will wake the task: call again, at once or after a
    /// yield, until it is pending. That last call costs TCP no system call unless [`ReadTurn::more`] was set.
    ///
    /// # Errors
    ///
    /// [`FramedError::Closed`] if the peer is done, [`FramedError::Io`] if the connection failed or ended inside a
    /// packet. [`FramedError::Violation`] if a header is malformed or its packet larger than the maximum: packets
    /// before it were handled, the error stays, and what waits in the output can still be written.
    pub fn poll_read_turn<F>(
        &mut self,
        cx: &mut Context<'_>,
        handle: F,
    ) -> Poll<Result<ReadTurn, FramedError>>
    where
        F: FnMut(&[u8], &mut Vec<u8>) -> Turn,
    {
        let mut frames = Frames::new(self.max_packet, self.bare_out().len(), handle);
        let result = self.poll_turn(cx, &mut frames);
        self.output.release();
        result
    }

    /// Writes the output and, once it is empty, gives its buffer back. Ready with the number of bytes that this call
    /// wrote; while pending, [`pending_out`](Self::pending_out) tells how far it got.
    ///
    /// # Errors
    ///
    /// The connection failed.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut written = 0;
        while self.output.pending() > 0 {
            let wrote = ready!(self.output.poll_write(cx, &mut self.stream))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = !self.stream.writes_through();
            written += wrote;
        }
        self.output.release();
        if self.unflushed {
            ready!(self.stream.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(written))
    }

    /// Writes the output and tells the peer that nothing more comes. Reading goes on.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Where nothing can be written any more, a layer below may still have a last word.
        let flushed = ready!(self.poll_flush(cx));
        self.stream.poll_shutdown(cx).map(|closed| flushed.and(closed))
    }

    /// Whether [`close`](Self::close) has something to say that would be lost if this were dropped: output that waits,
    /// or the last word of a layer such as TLS.
    pub fn has_last_words(&self) -> bool {
        self.pending_out() > 0 || !self.stream.writes_through()
    }

    /// Waits for the next whole packet and puts it into `frame`, whose content is replaced.
    ///
    /// At most 512 bytes are taken from the stream before the length of the packet is known, and none behind it after
    /// that, so a handshake leaves in the socket what the peer sends too early, but for those. They come first in the
    /// next packet or [turn](Self::poll_read_turn). Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`poll_read_turn`](Self::poll_read_turn).
    pub async fn next_frame(&mut self, frame: &mut Vec<u8>) -> Result<(), FramedError> {
        poll_fn(|cx| self.poll_next_frame(cx, frame)).await
    }

    /// Waits until the output is written. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await.map(drop)
    }

    /// Writes the output and tells the peer that nothing more comes. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    /// Reads and forgets whatever comes, packets or not, until the peer is done: for the end, after a
    /// [`close`](Self::close). Packets that were left over are forgotten too. Has no bound but the caller's time-out.
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn drain(&mut self) -> io::Result<()> {
        (self.tail, self.tail_start) = (Vec::new(), 0);
        let mut read = |cx: &mut Context<'_>| {
            buffers::with_scratch(|scratch| self.stream.poll_read(cx, &mut scratch[..READ]))
        };
        while poll_fn(&mut read).await? > 0 {}
        Ok(())
    }

    fn poll_turn<F>(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Frames<F>,
    ) -> Poll<Result<ReadTurn, FramedError>>
    where
        F: FnMut(&[u8], &mut Vec<u8>) -> Turn,
    {
        if !self.tail.is_empty() {
            let used = frames.run(&self.tail[self.tail_start..], self.output.bytes())?;
            self.drop_front(used);
            if frames.count > 0 {
                // The socket was not asked.
                return Poll::Ready(Ok(ReadTurn { frames: frames.count, bytes: 0, more: true }));
            }
            self.compact();
            if self.tail.len() >= READ
                && let Some(missing) = self.missing()?
                && missing >= READ
            {
                return self.poll_fill_tail(cx, missing, frames);
            }
        }
        // Where packets are large, a read of the usual size would end inside of each.
        let most = if self.tail.len() >= LARGE_TAIL { SCRATCH } else { READ };
        buffers::with_scratch(|scratch| match ready!(self.stream.poll_read(cx, &mut scratch[..most]))? {
            0 => Poll::Ready(Err(self.end())),
            bytes => {
                let full = bytes == most;
                Poll::Ready(self.split(&scratch[..bytes], full, frames).map_err(FramedError::Violation))
            }
        })
    }

    /// Handles the frames in `chunk`, the first of which may have begun in the tail, and keeps the rest.
    fn split<F>(&mut self, chunk: &[u8], full: bool, frames: &mut Frames<F>) -> Result<ReadTurn, Violation>
    where
        F: FnMut(&[u8], &mut Vec<u8>) -> Turn,
    {
        let mut rest = chunk;
        if !self.tail.is_empty() {
            rest = self.complete_tail(chunk)?;
            let used = frames.run(&self.tail, self.output.bytes())?;
            self.drop_front(used);
        }
        let mut more = full;
        if self.tail.is_empty() {
            let used = match frames.run(rest, self.output.bytes()) {
                Ok(used) => used,
                Err(violation) => {
                    // The header that is wrong stays, so that the next turn finds it wrong too.
                    self.tail = rest[..rest.len().min(LONGEST_HEADER)].to_vec();
                    return Err(violation);
                }
            };
            rest = &rest[used..];
            if !rest.is_empty() {
                self.tail = kept(rest);
                // What ended the turn may have left a whole frame, or one that is to be refused.
                more |= frames.is_full()
                    && frame_len(rest, self.max_packet)
                        .map_or(true, |len| len.is_some_and(|len| len <= rest.len()));
            }
        }
        Ok(ReadTurn { frames: frames.count, bytes: chunk.len(), more })
    }

    /// Moves the front of `chunk` to the tail until its first frame is whole; returns the rest of `chunk`.
    fn complete_tail<'a>(&mut self, chunk: &'a [u8]) -> Result<&'a [u8], Violation> {
        let mut rest = chunk;
        loop {
            let (wanted, longest) = match frame_len(&self.tail, self.max_packet)? {
                Some(len) => (len - self.tail.len(), len),
                None => (1, LONGEST_HEADER),
            };
            let (front, back) = rest.split_at(wanted.min(rest.len()));
            if front.is_empty() {
                return Ok(rest);
            }
            grow(&mut self.tail, front.len(), longest);
            self.tail.extend_from_slice(front);
            rest = back;
        }
    }

    /// Reads the body of a large packet where it belongs.
    fn poll_fill_tail<F>(
        &mut self,
        cx: &mut Context<'_>,
        missing: usize,
        frames: &mut Frames<F>,
    ) -> Poll<Result<ReadTurn, FramedError>>
    where
        F: FnMut(&[u8], &mut Vec<u8>) -> Turn,
    {
        if self.tail.len() == self.tail.capacity() {
            // As much again as has come: the growth stays proportional to what the peer really sends.
            self.tail.reserve_exact(missing.min(self.tail.len()));
        }
        let room = missing.min(self.tail.capacity() - self.tail.len());
        let mut spare = (&mut self.tail).limit(room);
        let bytes = ready!(pin!(self.stream.read_buf(&mut spare)).poll(cx))?;
        if bytes == 0 {
            return Poll::Ready(Err(self.end()));
        }
        if bytes == missing {
            let used = frames.run(&self.tail, self.output.bytes())?;
            self.drop_front(used);
        }
        Poll::Ready(Ok(ReadTurn { frames: frames.count, bytes, more: bytes == room }))
    }

    fn poll_next_frame(
        &mut self,
        cx: &mut Context<'_>,
        frame: &mut Vec<u8>,
    ) -> Poll<Result<(), FramedError>> {
        loop {
            let tail = &self.tail[self.tail_start..];
            let wanted = match frame_len(tail, self.max_packet)? {
                Some(len) if len <= tail.len() => {
                    frame.clear();
                    frame.extend_from_slice(&tail[..len]);
                    self.drop_front(len);
                    return Poll::Ready(Ok(()));
                }
                Some(len) => len - tail.len(),
                None => AHEAD,
            };
            self.compact();
            let bytes = buffers::with_scratch(|scratch| {
                let scratch = &mut scratch[..wanted.min(SCRATCH)];
                let bytes = ready!(self.stream.poll_read(cx, scratch))?;
                let longest = self.tail.len() + wanted;
                grow(&mut self.tail, bytes, longest);
                self.tail.extend_from_slice(&scratch[..bytes]);
                Poll::Ready(Ok::<_, io::Error>(bytes))
            });
            if ready!(bytes)? == 0 {
                return Poll::Ready(Err(self.end()));
            }
        }
    }

    /// How many bytes the frame in the tail still lacks, if its header is whole.
    fn missing(&self) -> Result<Option<usize>, Violation> {
        Ok(frame_len(&self.tail, self.max_packet)?.map(|len| len.saturating_sub(self.tail.len())))
    }

    /// Forgets bytes at the front of the tail.
    fn drop_front(&mut self, used: usize) {
        self.tail_start += used;
        if self.tail_start == self.tail.len() {
            let tail = std::mem::take(&mut self.tail);
            if tail.capacity() >= LARGE_TAIL {
                // Where one packet was large the next one is, and memory from the system is dear.
                buffers::give(tail);
            }
            self.tail_start = 0;
        }
    }

    /// Moves the tail into a buffer of its own size once the frames before it are handled.
    fn compact(&mut self) {
        if self.tail_start > 0 {
            self.tail = self.tail[self.tail_start..].to_vec();
            self.tail_start = 0;
        }
    }

    fn end(&self) -> FramedError {
        if self.tail.is_empty() {
            FramedError::Closed
        } else {
            io::Error::from(io::ErrorKind::UnexpectedEof).into()
        }
    }
}

impl gantline_protocol::Output for Framed {
    #[inline]
    fn bytes(&mut self) -> &mut Vec<u8> {
        self.out()
    }

    fn share(&mut self, payload: &Bytes) {
        if self.copies {
            return self.out().extend_from_slice(payload);
        }
        self.push_shared(payload.clone());
    }
}

impl fmt::Debug for Framed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed")
            .field("info", self.info())
            .field("tail", &(self.tail.len() - self.tail_start))
            .field("pending_out", &self.pending_out())
            .finish_non_exhaustive()
    }
}

/// A copy of bytes that wait for the rest of their frame, with room for no more than 64 KiB that have not come.
fn kept(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() < LARGE_TAIL {
        return bytes.to_vec();
    }
    let mut tail = buffers::take_up_to(bytes.len() + READ);
    tail.reserve_exact(bytes.len());
    tail.extend_from_slice(bytes);
    tail
}

/// Makes room for `additional` bytes: at most twice what is needed now, and not beyond `longest`.
fn grow(buffer: &mut Vec<u8>, additional: usize, longest: usize) {
    let needed = buffer.len() + additional;
    if needed > buffer.capacity() && needed >= LARGE_TAIL {
        let mut larger = buffers::take_up_to(needed + READ);
        if larger.capacity() >= needed {
            larger.extend_from_slice(buffer);
            *buffer = larger;
        }
    }
    if needed > buffer.capacity() {
        buffer.reserve_exact((2 * needed).min(longest).max(needed) - buffer.len());
    }
}

/// The most that one read takes from a stream: 64 KiB.
const READ: usize = 64 << 10;
/// An incomplete frame of this size lets the next read take as much as the scratch holds: 16 KiB.
const LARGE_TAIL: usize = 16 << 10;
/// The longest fixed header in bytes.
const LONGEST_HEADER: usize = 5;
/// What a handshake reads to learn how long a packet is: enough for most of them, because a read that finds less than
/// it may take saves two system calls, the one for the rest and the one that finds nothing.
const AHEAD: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framed_stream_is_small() {
        assert!(size_of::<Framed>() <= 200, "{}", size_of::<Framed>());
    }
}
