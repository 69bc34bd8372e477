//! WebSocket: options for both ends, what can go wrong with it, and what a handshake agreed on.
//!
//! [`WebSocketClientOptions`] and [`WebSocketServerOptions`] say what is wanted, [`WebSocketInfo`] is what became of
//! it, in the [`PeerInfo`](crate::PeerInfo). tokio-tungstenite shakes hands; the frames are ours, because a connection
//! that waits shall hold no buffer and what is written shall not be copied more than once (docs/adr/0016-websocket.md).
//! Relates to: [`connect`](crate::connect()) and [`Stream::handshake`](crate::Stream::handshake), which shake hands.
//! Leaves out: TLS, which lies below; compression, which is never offered. Without the feature `websocket` only the
//! types are left that tell about it.

mod failure;
mod info;
mod options_error;

#[cfg(feature = "websocket")]
mod accept;
#[cfg(feature = "websocket")]
mod client;
#[cfg(feature = "websocket")]
mod connect;
#[cfg(feature = "websocket")]
mod decoder;
#[cfg(feature = "websocket")]
mod frame;
#[cfg(feature = "websocket")]
mod head;
#[cfg(feature = "websocket")]
mod request;
#[cfg(feature = "websocket")]
mod server;
#[cfg(feature = "websocket")]
mod socket;

#[cfg(feature = "websocket")]
pub(crate) use self::accept::accept;
#[cfg(feature = "websocket")]
pub use self::client::WebSocketClientOptions;
#[cfg(feature = "websocket")]
pub(crate) use self::connect::connect;
pub use self::failure::WebSocketFailure;
pub use self::info::WebSocketInfo;
pub use self::options_error::WebSocketOptionsError;
#[cfg(feature = "websocket")]
pub use self::request::WebSocketRequest;
#[cfg(feature = "websocket")]
pub use self::server::WebSocketServerOptions;
#[cfg(feature = "websocket")]
pub(crate) use self::socket::WebSocket;

#[cfg(feature = "websocket")]
mod shared {
    use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

    use super::WebSocket;
    use super::frame::Side;
    use super::server::WebSocketServerOptions;
    use crate::stream::Stream;

    impl WebSocket {
        /// The server's end of a connection whose hands were shaken by somebody else.
        pub(crate) fn upgraded(stream: Stream, options: &WebSocketServerOptions) -> Self {
            Self::new(stream, Side::Server, Vec::new(), options.max_message_size)
        }
    }

    /// Of a connection that ends when the handshake does.
    pub(super) fn no_buffers() -> WebSocketConfig {
        WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0)
    }

    /// The sub-protocol of MQTT [MQTT-6.0.0-3].
    pub(super) const MQTT: &str = "mqtt";
    /// What clients of MQTT 3.1 ask for.
    pub(super) const MQTT_3_1: &str = "mqttv3.1";
    /// The longest HTTP head by default: 16 KiB.
    pub(super) const MAX_HEAD_SIZE: usize = 16 << 10;
    /// The longest HTTP head that may be asked for: tungstenite takes no more.
    pub(super) const LARGEST_MAX_HEAD_SIZE: usize = 64 << 10;
    /// The longest message by default: that of the largest packet.
    pub(super) const MAX_MESSAGE_SIZE: u64 = gantline_protocol::MAXIMUM_PACKET_SIZE as u64;
}
#[cfg(feature = "websocket")]
use self::shared::{LARGEST_MAX_HEAD_SIZE, MAX_HEAD_SIZE, MAX_MESSAGE_SIZE, MQTT, MQTT_3_1, no_buffers};
