//! Connecting: the address picks the transport.
//!
//! Relates to: [`bind`](crate::bind), the other direction. Leaves out: time-outs and retries, which belong to the caller;
//! dropping the future gives the attempt up.

use crate::address::{Address, Scheme};
use crate::error::TransportError;
use crate::memory;
use crate::stream::Stream;
use crate::tcp::{self, TcpOptions};

/// Connects to `address`.
///
/// A host with several addresses is tried address by address, in the order that the resolver prefers.
///
/// # Errors
///
/// The host is not known, no attempt succeeded, or this build has no such transport.
pub async fn connect(address: &Address, options: &TcpOptions) -> Result<Stream, TransportError> {
    match address.scheme() {
        Scheme::Mqtt => tcp::connect(address, options).await,
        Scheme::Memory => memory::connect(address.host()).await,
        scheme @ (Scheme::Mqtts | Scheme::Ws | Scheme::Wss | Scheme::Unix) => {
            Err(TransportError::Unsupported { scheme })
        }
    }
}
