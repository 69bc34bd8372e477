//! The client's part of the handshake.
//!
//! Relates to: [`connect`](crate::connect()), which brings the stream. Leaves out: redirections and authentication in
//! several steps; time-outs, which belong to the caller.

use std::io;

use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::http::{HeaderMap, Response, header};

use super::client::WebSocketClientOptions;
use super::failure::WebSocketFailure;
use super::frame::Side;
use super::head::Head;
use super::info::WebSocketInfo;
use super::socket::WebSocket;
use crate::address::Address;
use crate::error::TransportError;
use crate::peer::PeerInfo;
use crate::stream::Stream;
use crate::tls::TlsFailure;

/// Checks the options, gets a stream with `socket`, and upgrades it.
pub(crate) async fn connect(
    address: &Address,
    options: &WebSocketClientOptions,
    socket: impl Future<Output = Result<Stream, TransportError>>,
) -> Result<Stream, TransportError> {
    let request = options.request(address).await?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let stream = socket.await?;
    let info = PeerInfo::clone(stream.info()).with_scheme(address.scheme());
    let mut head = Head::new(stream, Side::Client, options.max_head_size);
    // What it makes of the stream is not used: our own frames need no buffers.
    let shaken = client_async_with_config(request, &mut head, Some(super::no_buffers())).await;
    let agreed = shaken.map(|(_, response)| response).map_err(|error| failure_of(error, &mut head, options));
    let shown = || address.clone().without_credentials();
    match agreed.and_then(|response| agreed_on(&response)) {
        Ok(sub_protocol) => {
            let (stream, early) = head.into_parts();
            let agreed = WebSocketInfo::new(&path, sub_protocol.as_deref());
            let socket = WebSocket::new(stream, Side::Client, early, options.max_message_size);
            Ok(Stream::from_websocket(socket, info.with_websocket(agreed)))
        }
        // In TLS 1.3 the server judges our certificate after our part of the handshake.
        Err(WebSocketFailure::Io(error)) if TlsFailure::of(&error).is_some() => {
            let failure = TlsFailure::of(&error).cloned().unwrap_or(TlsFailure::Closed);
            Err(TransportError::Handshake { address: shown(), failure: Box::new(failure) })
        }
        Err(failure) => Err(TransportError::WebSocket { address: shown(), failure: Box::new(failure) }),
    }
}

/// The sub-protocol that the server chose; tungstenite has seen that it was offered.
fn agreed_on(response: &Response<Option<Vec<u8>>>) -> Result<Option<String>, WebSocketFailure> {
    let headers = response.headers();
    if let Some(extension) = text(headers, &header::SEC_WEBSOCKET_EXTENSIONS) {
        let why = format!("the server uses the extension {extension:?}, which was not offered");
        return Err(WebSocketFailure::NotWebSocket(why));
    }
    Ok(text(headers, &header::SEC_WEBSOCKET_PROTOCOL))
}

fn failure_of(error: Error, head: &mut Head, options: &WebSocketClientOptions) -> WebSocketFailure {
    if let Some(failure) = head.failure.take() {
        return failure;
    }
    match error {
        Error::Http(response) => refused(&response),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => WebSocketFailure::Closed,
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(error)) => match error {
            SubProtocolError::NoSubProtocol => {
                WebSocketFailure::SubProtocolMissing { offered: options.offered() }
            }
            SubProtocolError::InvalidSubProtocol | SubProtocolError::ServerSentSubProtocolNoneRequested => {
                WebSocketFailure::SubProtocolNotOffered {
                    chosen: head.header(header::SEC_WEBSOCKET_PROTOCOL.as_str()),
                }
            }
        },
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => WebSocketFailure::Io(error.into()),
        Error::Io(error) => WebSocketFailure::of_io(error),
        error => WebSocketFailure::NotWebSocket(error.to_string()),
    }
}

fn refused(response: &Response<Option<Vec<u8>>>) -> WebSocketFailure {
    let status = response.status();
    if status.is_redirection()
        && let Some(location) = text(response.headers(), &header::LOCATION)
    {
        return WebSocketFailure::Moved { status: status.as_u16(), location };
    }
    let reason = status.canonical_reason().unwrap_or_default().to_owned();
    WebSocketFailure::Refused { status: status.as_u16(), reason }
}

/// What may be shown of a header that a stranger sent.
fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    let shown = String::from_utf8_lossy(value.as_bytes());
    Some(shown.chars().filter(|shown| !shown.is_control()).take(LONGEST_SHOWN).collect())
}

const LONGEST_SHOWN: usize = 200;
