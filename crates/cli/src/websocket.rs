//! The flags of WebSocket.
//!
//! Relates to: `gantline::WebSocketServerOptions`, which they set and which says more. Leaves out: where to listen.

use clap::Args;
use gantline::{Server, WebSocketServerOptions};

/// WebSocket of `ws://` and `wss://` listeners.
#[derive(Debug, Args)]
#[command(next_help_heading = "WebSocket")]
pub(crate) struct WebSocket {
    /// A path that is served, such as /mqtt; may be given more than once. For ws:// and wss:// listeners
    /// [default: that of the URL, or any]
    #[arg(long, value_name = "PATH")]
    websocket_path: Vec<String>,

    /// A site whose pages may connect, such as `https://app.example`; may be given more than once [default: all]
    #[arg(long, value_name = "ORIGIN")]
    websocket_origin: Vec<String>,
}

impl WebSocket {
    /// Gives the server what the flags say.
    pub(crate) fn apply(&self, server: Server) -> Server {
        if self.websocket_path.is_empty() && self.websocket_origin.is_empty() {
            return server;
        }
        let mut options = WebSocketServerOptions::default();
        if !self.websocket_path.is_empty() {
            options = options.paths(self.websocket_path.clone());
        }
        if !self.websocket_origin.is_empty() {
            options = options.allowed_origins(self.websocket_origin.clone());
        }
        server.websocket(options)
    }
}
