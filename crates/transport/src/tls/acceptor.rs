//! A server's TLS, ready for use and replaceable while it is used.
//!
//! A [`TlsAcceptor`] is one `Arc` of a rustls configuration behind a lock that is held for a clone. A reload changes
//! what later handshakes get; connections that are open, and handshakes that have begun, keep what they have. Relates
//! to: [`Stream::handshake`](crate::Stream::handshake), which runs in the task of the connection; `watch.rs`, which
//! tells whether files have changed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;

use super::provider::info_of;
use super::watch::Contents;
use super::{HTTP, TlsFailure, TlsOptionsError, TlsServerOptions};
use crate::address::Scheme;
use crate::linger::linger;
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
    present: Mutex<Present>,
}

struct Present {
    options: TlsServerOptions,
    /// What was in the files when they were last read, if somebody wants to know.
    seen: Option<Contents>,
}

impl Present {
    /// Looks at the files before they are read, so that what changes in between counts as changed.
    fn new(options: TlsServerOptions) -> Self {
        let seen = options.watched_every().map(|_| Contents::of(options.files()));
        Self { options, seen }
    }
}

impl TlsAcceptor {
    /// Reads certificates and keys and checks that they fit. Reads files and blocks for that.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the options.
    pub fn new(options: TlsServerOptions) -> Result<Self, TlsOptionsError> {
        let present = Present::new(options);
        let current = RwLock::new(Arc::new(present.options.build()?));
        Ok(Self { shared: Arc::new(Shared { current, present: Mutex::new(present) }) })
    }

    /// Uses other options from now on, for new connections. Open ones are not touched. Reads files and blocks for that.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the options; then everything stays as it was.
    pub fn reload(&self, options: TlsServerOptions) -> Result<(), TlsOptionsError> {
        let mut present = self.shared.present.lock();
        let next = Present::new(options);
        self.use_from_now_on(&next.options)?;
        *present = next;
        Ok(())
    }

    /// Reads the files of the present options again, after their certificates were renewed, and uses what is in them
    /// from now on. As [`reload`](Self::reload) otherwise.
    ///
    /// # Errors
    ///
    /// What is wrong with the files, which may be half written; then everything stays as it was.
    pub fn reload_from_files(&self) -> Result<(), TlsOptionsError> {
        let mut present = self.shared.present.lock();
        *present = Present::new(present.options.clone());
        self.use_from_now_on(&present.options)
    }

    /// Reads the files again whenever they have changed, as often as
    /// [`watch_files`](TlsServerOptions::watch_files) says; drop it to end that. Ends by itself once the options do not
    /// want it. A server does this itself; with a listener of your own, spawn it. Needs a runtime with time.
    pub async fn watch(self) {
        let mut every = self.shared.present.lock().options.watched_every();
        while let Some(interval) = every {
            tokio::time::sleep(interval).await;
            let acceptor = self.clone();
            // It fails only if the runtime ends, or with a panic, which is reported elsewhere.
            every = tokio::task::spawn_blocking(move || acceptor.look()).await.unwrap_or(every);
        }
    }

    /// Reads the files again if they have changed, and says when to look the next time. A folder on the network can
    /// make it wait, and everybody who wants the lock.
    fn look(&self) -> Option<Duration> {
        let mut present = self.shared.present.lock();
        let every = present.options.watched_every()?;
        let contents = Contents::of(present.options.files());
        if present.seen.as_ref() != Some(&contents) {
            present.seen = Some(contents);
            match self.use_from_now_on(&present.options) {
                Ok(()) => tracing::info!("the files of TLS have changed and were read again"),
                Err(error) => {
                    tracing::error!(%error, "the files of TLS have changed, TLS goes on with what it had");
                }
            }
        }
        Some(every)
    }

    fn use_from_now_on(&self, options: &TlsServerOptions) -> Result<(), TlsOptionsError> {
        let config = Arc::new(options.build()?);
        *self.shared.current.write() = config;
        Ok(())
    }

    /// The server's part of the handshake.
    pub(crate) async fn accept(&self, stream: Stream, scheme: Scheme) -> Result<Stream, TlsFailure> {
        if let Some(tcp) = stream.tcp() {
            // TLS begins with 22; MQTT with 16, which rustls would take for a broken record, and WebSocket with GET.
            let mut first = [0];
            tcp.peek(&mut first).await.map_err(|error| TlsFailure::Io(Arc::new(error)))?;
            let plain = match first[0] {
                CONNECT => Some(TlsFailure::PlainMqtt),
                GET => Some(TlsFailure::PlainHttp),
                _ => None,
            };
            if let Some(failure) = plain {
                linger(stream, &UNEXPECTED_MESSAGE).await;
                return Err(failure);
            }
        }
        let info = PeerInfo::clone(stream.info());
        let config = for_scheme(Arc::clone(&self.shared.current.read()), scheme);
        match tokio_rustls::TlsAcceptor::from(config).accept(stream).into_fallible().await {
            Ok(stream) => {
                let info = info.with_scheme(scheme).with_tls(info_of(stream.get_ref().1));
                Ok(Stream::from_tls(stream.into(), info))
            }
            Err((error, stream)) => {
                linger(stream, &[]).await;
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

/// Browsers offer HTTP only, so a server that wants other application protocols takes HTTP too where WebSocket is what
/// follows.
fn for_scheme(config: Arc<ServerConfig>, scheme: Scheme) -> Arc<ServerConfig> {
    let wanted = &config.alpn_protocols;
    if !scheme.is_websocket() || wanted.is_empty() || wanted.iter().any(|name| name == HTTP) {
        return config;
    }
    let mut config = ServerConfig::clone(&config);
    config.alpn_protocols = vec![HTTP.to_vec()];
    Arc::new(config)
}

/// The first byte of MQTT from a client.
const CONNECT: u8 = 0x10;
/// The first byte of an upgrade to WebSocket.
const GET: u8 = b'G';
/// The alert of TLS for it, by which a client of ours knows that TLS is wanted.
const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];
