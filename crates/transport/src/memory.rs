//! Streams inside one process, with names that can be listened on and connected to.
//!
//! Relates to: [`connect`](crate::connect()) and [`bind`](crate::bind), which pick it for `memory://name`; tests use
//! [`pair`] directly. Leaves out: other processes; names mean nothing there.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::address::{Address, Scheme};
use crate::error::TransportError;
use crate::listen::Listener;
use crate::peer::PeerInfo;
use crate::stream::Stream;

/// Two connected streams. Each direction holds at most 64 KiB; the writer waits for the reader then.
pub fn pair() -> (Stream, Stream) {
    streams("pair", "pair")
}

pub(crate) fn bind(name: &str, backlog: usize) -> Result<MemoryListener, TransportError> {
    let (sender, incoming) = mpsc::channel(backlog);
    let mut listeners = LISTENERS.lock();
    if listeners.contains_key(name) {
        return Err(TransportError::NameInUse { name: name.to_owned() });
    }
    listeners.insert(name.to_owned(), sender);
    Ok(MemoryListener { name: name.to_owned(), incoming })
}

pub(crate) async fn connect(name: &str) -> Result<Stream, TransportError> {
    let not_bound = || TransportError::NameNotBound { name: name.to_owned() };
    let sender = LISTENERS.lock().get(name).cloned().ok_or_else(not_bound)?;
    // The number tells the connections of one listener apart in logs; it orders nothing.
    let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let (ours, theirs) = streams(name, &format!("{name}#{number}"));
    sender.send(theirs).await.map_err(|_| not_bound())?;
    Ok(ours)
}

/// Owns a name until it is dropped.
#[derive(Debug)]
pub(crate) struct MemoryListener {
    name: String,
    incoming: mpsc::Receiver<Stream>,
}

impl Listener for MemoryListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        // The registry holds a sender for as long as we live, so the channel does not end.
        Poll::Ready(ready!(self.incoming.poll_recv(cx)).ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }

    fn local_address(&self) -> Address {
        Address::from_memory_name(self.name.clone())
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        let sender = LISTENERS.lock().remove(&self.name);
        // Outside the lock: the last sender wakes whoever waits for the channel.
        drop(sender);
    }
}

/// The client's end, the server's end.
fn streams(server: &str, client: &str) -> (Stream, Stream) {
    let (ours, theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(CAPACITY);
    let ours = Stream::from_io(ours, PeerInfo::new(Scheme::Memory, server, client));
    let theirs = Stream::from_io(theirs, PeerInfo::new(Scheme::Memory, client, server));
    (ours, theirs)
}

/// Bytes that each direction of a stream holds.
const CAPACITY: usize = 64 << 10;

static LISTENERS: Mutex<BTreeMap<String, mpsc::Sender<Stream>>> = Mutex::new(BTreeMap::new());
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
