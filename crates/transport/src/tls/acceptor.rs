//! A server's TLS, ready for use and replaceable while it is used.
//!
//! A [`TlsAcceptor`] is one `Arc` of a rustls configuration behind a lock that is held for a clone. A reload changes what
//! later handshakes get; connections that are open, and handshakes that have begun, keep what they have. Relates to:
//! [`Stream::handshake`](crate::Stream::handshake), which runs in the task of the connection. Leaves out: watching files.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::provider::info_of;
use super::{TlsFailure, TlsOptionsError, TlsServerOptions};
use crate::address::Scheme;
use crate::peer::PeerInfo;
use crate::stream::Stream;

/// The TLS of a server. Clones are handles of the same.
#[derive(Clone)]
pub struct TlsAcceptor {
    shared: Arc<Shared>,
}

struct Shared {
    current: RwLock<Arc<ServerConfig>>,
    /// What `current` was made of; locked for the whole of a reload, so that the last one wins.
    options: Mutex<TlsServerOptions>,
}

impl TlsAcceptor {
    /// Reads certificates and keys and checks that they fit. Reads files and blocks for that.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the options.
    pub fn new(options: TlsServerOptions) -> Result<Self, TlsOptionsError> {
        let current = RwLock::new(Arc::new(options.build()?));
        Ok(Self { shared: Arc::new(Shared { current, options: Mutex::new(options) }) })
    }

    /// Uses other options from now on, for new connections. Open ones are not touched. Reads files and blocks for that.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the options; then everything stays as it was.
    pub fn reload(&self, options: TlsServerOptions) -> Result<(), TlsOptionsError> {
        let mut present = self.shared.options.lock();
        let config = Arc::new(options.build()?);
        *self.shared.current.write() = config;
        *present = options;
        Ok(())
    }

    /// Reads the files of the present options again, after their certificates were renewed, and uses what is in them from
    /// now on. As [`reload`](Self::reload) otherwise.
    ///
    /// # Errors
    ///
    /// What is wrong with the files, which may be half written; then everything stays as it was.
    pub fn reload_from_files(&self) -> Result<(), TlsOptionsError> {
        let present = self.shared.options.lock();
        let config = Arc::new(present.build()?);
        *self.shared.current.write() = config;
        Ok(())
    }

    /// The server's part of the handshake.
    pub(crate) async fn accept(&self, stream: Stream) -> Result<Stream, TlsFailure> {
        if let Some(tcp) = stream.tcp() {
            // TLS begins with 22; MQTT with 16, which rustls would take for a broken record.
            let mut first = [0];
            if tcp.peek(&mut first).await.map_err(|error| TlsFailure::Io(Arc::new(error)))? == 1
                && first[0] == CONNECT
            {
                let _ = tokio::time::timeout(LINGER, linger(stream, &UNEXPECTED_MESSAGE)).await;
                return Err(TlsFailure::PlainMqtt);
            }
        }
        let info = PeerInfo::clone(stream.info());
        let config = Arc::clone(&self.shared.current.read());
        match tokio_rustls::TlsAcceptor::from(config).accept(stream).into_fallible().await {
            Ok(stream) => {
                let info = info.with_scheme(Scheme::Mqtts).with_tls(info_of(stream.get_ref().1));
                Ok(Stream::from_tls(stream.into(), info))
            }
            Err((error, stream)) => {
                let _ = tokio::time::timeout(LINGER, linger(stream, &[])).await;
                Err(TlsFailure::of_handshake(error))
            }
        }
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

/// Says a last word and waits until the peer has read why it is refused. To close while its bytes are unread would make the system take our
/// alert back.
async fn linger(mut stream: Stream, last_word: &[u8]) {
    let (mut scratch, mut left) = ([0; 1024], MOST_LINGERED);
    if stream.write_all(last_word).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    while let Ok(read @ 1..) = stream.read(&mut scratch).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}

/// The first byte of MQTT from a client.
const CONNECT: u8 = 0x10;
/// The alert of TLS for it, by which a client of ours knows that TLS is wanted.
const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];
const LINGER: Duration = Duration::from_millis(500);
const MOST_LINGERED: usize = 64 << 10;
