//! The server's part of the handshake.
//!
//! Relates to: `upgrade.rs`, which runs it behind TLS. Leaves out: time-outs, which belong to the caller.

use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response, write_response};
use tokio_tungstenite::tungstenite::http::{self, HeaderValue, header};

use super::failure::WebSocketFailure;
use super::frame::Side;
use super::head::Head;
use super::info::WebSocketInfo;
use super::server::{WebSocketServerOptions, not_websocket, refusal};
use super::socket::WebSocket;
use crate::address::Scheme;
use crate::linger::linger;
use crate::peer::PeerInfo;
use crate::stream::Stream;

/// Upgrades an accepted connection; whoever is refused is told why.
pub(crate) async fn accept(
    stream: Stream,
    options: &WebSocketServerOptions,
    scheme: Scheme,
) -> Result<Stream, WebSocketFailure> {
    let peer = PeerInfo::clone(stream.info()).with_scheme(scheme);
    let mut head = Head::new(stream, Side::Server, options.max_head_size);
    let mut judged = None;
    let result = {
        let callback = Callback { options, judged: &mut judged };
        // What it makes of the stream is not used: our own frames need no buffers.
        accept_hdr_async_with_config(&mut head, callback, Some(super::no_buffers())).await.map(drop)
    };
    let (error, failure) = match (result, judged) {
        (Ok(()), Some(Ok(info))) => {
            // Who sends frames before the answer does not wait as it should; they are not lost.
            let (stream, early) = head.into_parts();
            let socket = WebSocket::new(stream, Side::Server, early, options.max_message_size);
            return Ok(Stream::from_websocket(socket, peer.with_websocket(info)));
        }
        (_, Some(Err(failure))) => {
            // It was answered already.
            linger(head.stream, &[]).await;
            return Err(failure);
        }
        (Err(error), _) => {
            let failure = head.failure.take().unwrap_or_else(|| failure_of(&error));
            (error, failure)
        }
        // It cannot succeed without having been judged.
        (Ok(()), None) => return Err(WebSocketFailure::Closed),
    };
    if !matches!(failure, WebSocketFailure::Closed | WebSocketFailure::Io(_)) {
        let response = match failure {
            WebSocketFailure::NotWebSocket(_) => not_websocket(&error, &failure),
            _ => refusal(&failure),
        };
        linger(head.stream, &bytes_of(&response)).await;
    }
    Err(failure)
}

struct Callback<'a> {
    options: &'a WebSocketServerOptions,
    judged: &'a mut Option<Result<WebSocketInfo, WebSocketFailure>>,
}

impl tokio_tungstenite::tungstenite::handshake::server::Callback for Callback<'_> {
    fn on_request(self, request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        match self.options.judge(request) {
            Ok(info) => {
                if let Some(Ok(chosen)) = info.sub_protocol().map(HeaderValue::from_str) {
                    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
                }
                *self.judged = Some(Ok(info));
                Ok(response)
            }
            Err(failure) => {
                let response = refusal(&failure);
                *self.judged = Some(Err(failure));
                Err(response.map(Some))
            }
        }
    }
}

fn failure_of(error: &Error) -> WebSocketFailure {
    match error {
        Error::Io(error) => WebSocketFailure::of_io(std::io::Error::new(error.kind(), error.to_string())),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => WebSocketFailure::Closed,
        error => WebSocketFailure::NotWebSocket(error.to_string()),
    }
}

fn bytes_of(response: &http::Response<String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Our own headers are text; if they were not, the peer would be told nothing.
    let _ = write_response(&mut bytes, response);
    bytes.extend_from_slice(response.body().as_bytes());
    bytes
}
