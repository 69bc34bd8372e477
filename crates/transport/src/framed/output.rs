//! What waits to be written: bytes of the connection, and shared ones between them that are not copied.
//!
//! Relates to: [`Framed`](super::Framed), which owns it. Leaves out: when to write, and flushing.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::buffers;
use crate::stream::Stream;

/// Bytes to write, in order.
pub(super) struct Output {
    /// From `written` on.
    bytes: Vec<u8>,
    written: usize,
    /// Nothing most of the time, so that a waiting connection pays one word for it.
    shared: Option<Box<Shared>>,
}

/// Shared bytes in order, each with the place in `bytes` that it stands before.
#[derive(Default)]
struct Shared {
    queue: VecDeque<(usize, Bytes)>,
    len: usize,
}

impl Output {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), written: 0, shared: None }
    }

    #[inline]
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers::take();
        }
        &mut self.bytes
    }

    /// The same, without memory unless it holds some.
    #[inline]
    pub(super) const fn bare_bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn push_shared(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            let shared = self.shared.get_or_insert_default();
            shared.len += bytes.len();
            shared.queue.push_back((self.bytes.len(), bytes));
        }
    }

    #[inline]
    pub(super) fn pending(&self) -> usize {
        self.bytes.len() - self.written + self.shared.as_ref().map_or(0, |shared| shared.len)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.shared.as_ref().map_or(0, |shared| shared.len)
    }

    /// Gives the buffer back if nothing is in it.
    #[inline]
    pub(super) fn release(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > 0 {
            buffers::give(mem::take(&mut self.bytes));
        }
    }

    /// Writes once.
    #[inline]
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
    ) -> Poll<io::Result<usize>> {
        let result = if self.shared.is_none() {
            stream.poll_write(cx, &self.bytes[self.written..])
        } else {
            self.poll_write_vectored(cx, stream)
        };
        match result {
            Poll::Ready(Ok(wrote)) if self.shared.is_none() => self.written += wrote,
            Poll::Ready(Ok(wrote)) => self.advance(wrote),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.compact(),
        }
        if self.pending() == 0 {
            self.written = 0;
            self.bytes.clear();
            self.release();
        }
        result
    }

    fn poll_write_vectored(&self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
        let (mut slices, mut count, mut from) = ([IoSlice::new(&[]); SLICES], 0, self.written);
        let mut left = self.shared.iter().flat_map(|shared| &shared.queue);
        while count + 2 < SLICES
            && let Some((place, bytes)) = left.next()
        {
            if *place > from {
                slices[count] = IoSlice::new(&self.bytes[from..*place]);
                count += 1;
                from = *place;
            }
            slices[count] = IoSlice::new(bytes);
            count += 1;
        }
        // Up to what found no slice, or the end.
        let end = left.next().map_or(self.bytes.len(), |(place, _)| *place);
        if end > from {
            slices[count] = IoSlice::new(&self.bytes[from..end]);
            count += 1;
        }
        Pin::new(stream).poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut wrote: usize) {
        while let Some(shared) = &mut self.shared {
            let Some((place, bytes)) = shared.queue.front_mut() else { break };
            let own = wrote.min(*place - self.written);
            self.written += own;
            wrote -= own;
            let others = wrote.min(bytes.len());
            bytes.advance(others);
            shared.len -= others;
            wrote -= others;
            if !bytes.is_empty() {
                return;
            }
            shared.queue.pop_front();
            if shared.queue.is_empty() {
                self.shared = None;
            }
        }
        self.written += wrote;
    }

    /// Forgets what is written once it is at least as long as what is left, so that an output that is never quite
    /// empty does not grow without end, and no byte is moved more than once for one that is written.
    fn compact(&mut self) {
        if self.written > 0 && self.written >= self.bytes.len() - self.written {
            self.bytes.drain(..self.written);
            for (place, _) in self.shared.iter_mut().flat_map(|shared| &mut shared.queue) {
                *place -= self.written;
            }
            self.written = 0;
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        buffers::give(mem::take(&mut self.bytes));
    }
}

/// Pieces that are written at once.
const SLICES: usize = 16;
