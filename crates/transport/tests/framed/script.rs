//! A stream whose peer follows a script, so that a test decides what each read and write meets.
//!
//! Relates to: the tests in `main.rs`. Leaves out: waking; the tests poll when they know that something is there.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use gantline_transport::{Framed, PeerInfo, Scheme, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the peer of a scripted stream does next.
pub(crate) enum Step {
    /// These bytes arrive; none are the end.
    Data(Vec<u8>),
    /// Nothing is there yet.
    Wait,
    /// This fails.
    Fail(io::ErrorKind),
}

/// A stream that does what a script says, and notes what it is asked.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) reads: VecDeque<Step>,
    /// How many bytes each write takes; none is pending. Empty: writes take everything.
    pub(crate) writes: VecDeque<usize>,
    /// Whether a write takes one slice only, as that of many streams does.
    pub(crate) plain: bool,
    pub(crate) asked: Vec<usize>,
    pub(crate) written: Vec<u8>,
    pub(crate) write_calls: usize,
    pub(crate) flushed: usize,
    pub(crate) shut_down: bool,
}

impl Script {
    pub(crate) fn new(reads: impl IntoIterator<Item = Step>) -> Self {
        let script = Self::default();
        script.0.lock().unwrap().reads.extend(reads);
        script
    }

    pub(crate) fn framed(&self, max_packet: u32) -> Framed {
        Framed::new(Stream::from_io(self.clone(), PeerInfo::new(Scheme::Memory, "peer", "")), max_packet)
    }

    /// These bytes arrive; no bytes are nothing rather than the end.
    pub(crate) fn arrive(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.lock().unwrap().reads.push_back(Step::Data(bytes.to_vec()));
        }
    }

    pub(crate) fn state<T>(&self, see: impl FnOnce(&mut State) -> T) -> T {
        see(&mut self.0.lock().unwrap())
    }
}

impl AsyncRead for Script {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(buffer.remaining());
        match state.reads.pop_front() {
            None | Some(Step::Wait) => Poll::Pending,
            Some(Step::Fail(kind)) => Poll::Ready(Err(kind.into())),
            Some(Step::Data(mut data)) => {
                let rest = data.split_off(data.len().min(buffer.remaining()));
                if !rest.is_empty() {
                    state.reads.push_front(Step::Data(rest));
                }
                buffer.put_slice(&data);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().unwrap();
        state.write_calls += 1;
        let takes = match state.writes.pop_front() {
            Some(0) => return Poll::Pending,
            Some(takes) => takes.min(bytes.len()),
            None => bytes.len(),
        };
        state.written.extend_from_slice(&bytes[..takes]);
        Poll::Ready(Ok(takes))
    }

    /// As many of the slices as one write takes, or only the first if the script says that there are no such writes.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let together: Vec<u8> = if self.0.lock().unwrap().plain {
            slices.first().map_or_else(Vec::new, |slice| slice.to_vec())
        } else {
            slices.iter().flat_map(|slice| slice.iter().copied()).collect()
        };
        self.poll_write(cx, &together)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().flushed += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().shut_down = true;
        Poll::Ready(Ok(()))
    }
}
