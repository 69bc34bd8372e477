//! Connecting: the address picks the transport.
//!
//! Relates to: [`bind`](crate::bind), the other direction. Leaves out: time-outs and retries, which belong to the caller;
//! dropping the future gives the attempt up.

use crate::address::{Address, Scheme};
use crate::error::TransportError;
use crate::memory;
use crate::stream::Stream;
use crate::tcp::{self, TcpOptions};
#[cfg(feature = "tls")]
use crate::tls::{self, TlsClientOptions};

/// Options for connecting, of all transports. What the transport of an address cannot honour is an error; only `tcp` is
/// passed over by transports without TCP.
#[derive(Clone, Debug, Default)]
pub struct DialOptions {
    tcp: TcpOptions,
    #[cfg(feature = "tls")]
    tls: Option<TlsClientOptions>,
}

impl DialOptions {
    /// The options of TCP.
    #[must_use]
    pub const fn tcp(mut self, options: TcpOptions) -> Self {
        self.tcp = options;
        self
    }

    /// The options of TLS, for `mqtts://` only. Default: those of [`TlsClientOptions::default`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, options: TlsClientOptions) -> Self {
        self.tls = Some(options);
        self
    }
}

/// Connects to `address`.
///
/// A host with several addresses is tried address by address, in the order that the resolver prefers.
///
/// # Errors
///
/// The host is not known, no attempt succeeded, the TLS handshake failed, an option is wrong or cannot be honoured, or this
/// build has no such transport.
pub async fn connect(address: &Address, options: &DialOptions) -> Result<Stream, TransportError> {
    let scheme = address.scheme();
    #[cfg(feature = "tls")]
    if options.tls.is_some() && !scheme.is_secure() {
        return Err(TransportError::OptionUnused { option: "tls", scheme });
    }
    match scheme {
        Scheme::Mqtt => {
            let (tcp, info) = tcp::connect(address, &options.tcp).await?;
            Ok(Stream::from_tcp(tcp, info))
        }
        #[cfg(feature = "tls")]
        Scheme::Mqtts => {
            let tcp = tcp::connect(address, &options.tcp);
            match &options.tls {
                Some(tls) => tls::connect(address, tls, tcp).await,
                None => tls::connect(address, &TlsClientOptions::default(), tcp).await,
            }
        }
        Scheme::Memory => memory::connect(address.host()).await,
        scheme => Err(TransportError::Unsupported { scheme }),
    }
}
