//! What a server wants of WebSocket, and its answer to a request.
//!
//! Relates to: `accept.rs`, which shakes hands. Leaves out: TLS, and who the client is; MQTT asks that.

use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header,
};
use zeroize::Zeroizing;

use super::failure::WebSocketFailure;
use super::info::{KeptHeader, WebSocketInfo};
use super::options_error::WebSocketOptionsError;
use super::{LARGEST_MAX_HEAD_SIZE, MAX_HEAD_SIZE, MAX_MESSAGE_SIZE, MQTT, MQTT_3_1};

/// The options of a server for `ws://` and `wss://`. What is wrong with them is found when it begins to listen.
#[derive(Clone, Debug)]
pub struct WebSocketServerOptions {
    paths: Option<Vec<String>>,
    origins: Option<Vec<String>>,
    kept: Vec<String>,
    pub(super) max_head_size: usize,
    pub(super) max_message_size: u64,
}

impl WebSocketServerOptions {
    /// The paths that are served, such as `/mqtt`; a query does not count. Another one is answered with 404. Default:
    /// that of the address that is listened on, as in `ws://0.0.0.0/mqtt`, and any path if it has none.
    #[must_use]
    pub fn paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.paths = Some(paths.into_iter().map(Into::into).collect());
        self
    }

    /// The sites whose pages may connect, as in `https://app.example`. A page of another site is answered with 403;
    /// clients that are no browsers send no origin and are not concerned. Default: all sites. Name yours if browsers
    /// send something by themselves that lets a client in, such as a cookie or a certificate.
    #[must_use]
    pub fn allowed_origins<S: Into<String>>(mut self, origins: impl IntoIterator<Item = S>) -> Self {
        self.origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// The headers of requests that are kept for as long as a connection is open, for those who judge its client:
    /// [`WebSocketInfo::header`]. Default: none, because they cost memory.
    #[must_use]
    pub fn keep_headers<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.kept = names.into_iter().map(Into::into).collect();
        self
    }

    /// The longest HTTP head of a request, in bytes: what a stranger can make the server hold before it is a client.
    /// Default 16 KiB; more than 64 KiB are taken for that. A longer one is answered with 431.
    #[must_use]
    pub fn max_head_size(mut self, bytes: usize) -> Self {
        self.max_head_size = bytes.min(LARGEST_MAX_HEAD_SIZE);
        self
    }

    /// The longest message of WebSocket that clients may send, over all its frames, in bytes. Default 256 MiB, which
    /// every packet fits into: nothing is collected, so only the size of packets costs memory, and that has a bound of
    /// its own. A longer one ends the connection with code 1009.
    #[must_use]
    pub const fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// The answer to a request for an upgrade, for those who have an HTTP server of their own: with `Ok`, send it,
    /// upgrade, and give the connection and the information to
    /// [`Stream::from_upgraded_websocket`](crate::Stream::from_upgraded_websocket); with `Err`, send that. The types
    /// are those of the crate `http` in version 1.
    ///
    /// # Errors
    ///
    /// What is to be answered instead, and why.
    #[expect(clippy::result_large_err, reason = "it is sent at once")]
    pub fn answer<B>(
        &self,
        request: &Request<B>,
    ) -> Result<(Response<()>, WebSocketInfo), (Response<String>, WebSocketFailure)> {
        let info = self.judge(request).map_err(|failure| (refusal(&failure), failure))?;
        let mut response = create_response_with_body(request, || ()).map_err(|error| {
            let failure = WebSocketFailure::NotWebSocket(error.to_string());
            (not_websocket(&error, &failure), failure)
        })?;
        if let Some(chosen) = info.sub_protocol() {
            // A value that was in the request.
            if let Ok(chosen) = HeaderValue::from_str(chosen) {
                response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
            }
        }
        Ok((response, info))
    }

    /// Whether this may become a connection.
    pub(super) fn judge<B>(&self, request: &Request<B>) -> Result<WebSocketInfo, WebSocketFailure> {
        let (path, headers) = (request.uri().path(), request.headers());
        if self.paths.as_ref().is_some_and(|paths| paths.iter().all(|own| own != path)) {
            return Err(WebSocketFailure::PathUnknown { path: path.to_owned() });
        }
        if let (Some(allowed), Some(origin)) = (&self.origins, headers.get(header::ORIGIN)) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            if allowed.iter().all(|own| !own.eq_ignore_ascii_case(&origin)) {
                return Err(WebSocketFailure::OriginRefused { origin: origin.into_owned() });
            }
        }
        let chosen = match choose(headers) {
            Some(chosen) => chosen,
            // Who does not ask for an upgrade at all is told that first.
            None if !headers.contains_key(header::UPGRADE) => return Ok(WebSocketInfo::default()),
            None => {
                return Err(WebSocketFailure::SubProtocolUnknown {
                    offered: offered(headers).collect::<Vec<_>>().join(", "),
                });
            }
        };
        let path = request.uri().path_and_query().map_or(path, |path| path.as_str());
        Ok(WebSocketInfo::new(path, Some(chosen)).with_headers(self.kept_of(headers)))
    }

    fn kept_of(&self, headers: &HeaderMap) -> Vec<KeptHeader> {
        let kept = self.kept.iter().flat_map(|name| {
            let values = headers.get_all(name.as_str()).iter();
            values.map(|value| (name.as_str().into(), Zeroizing::new(value.as_bytes().into())))
        });
        kept.collect()
    }

    /// The same options with the path of an address.
    pub(crate) fn at(mut self, path: &str) -> Self {
        if path != "/" {
            self.paths.get_or_insert_default().push(path.to_owned());
        }
        self
    }

    /// Whether the options can be used. Listening begins with it; for those who [answer](Self::answer) requests
    /// themselves.
    ///
    /// # Errors
    ///
    /// The first option that cannot be meant, by its value.
    pub fn check(&self) -> Result<(), WebSocketOptionsError> {
        if let Some(path) =
            self.paths.iter().flatten().find(|path| !path.starts_with('/') || path.contains('?'))
        {
            return Err(WebSocketOptionsError::Path { path: path.clone() });
        }
        let is_origin = |origin: &String| {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            origin == "null" || (!host.is_empty() && !host.contains('/'))
        };
        if let Some(origin) = self.origins.iter().flatten().find(|origin| !is_origin(origin)) {
            return Err(WebSocketOptionsError::Origin { origin: origin.clone() });
        }
        if let Some(name) = self.kept.iter().find(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
            return Err(WebSocketOptionsError::Header { name: name.clone() });
        }
        Ok(())
    }
}

impl Default for WebSocketServerOptions {
    fn default() -> Self {
        Self {
            paths: None,
            origins: None,
            kept: Vec::new(),
            max_head_size: MAX_HEAD_SIZE,
            max_message_size: MAX_MESSAGE_SIZE,
        }
    }
}

/// The sub-protocols of a request, in whichever of its headers.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim)
}

/// The sub-protocol of the answer [MQTT-6.0.0-4]: the first that is ours, in the order of the client.
fn choose(headers: &HeaderMap) -> Option<&'static str> {
    offered(headers).find_map(|offered| [MQTT, MQTT_3_1].into_iter().find(|own| *own == offered))
}

/// What a client is told that asks for something that we do not have.
pub(super) fn refusal(failure: &WebSocketFailure) -> Response<String> {
    let status = match failure {
        WebSocketFailure::PathUnknown { .. } => StatusCode::NOT_FOUND,
        WebSocketFailure::OriginRefused { .. } => StatusCode::FORBIDDEN,
        WebSocketFailure::HeadTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    response(status, failure)
}

/// What a client is told that does not do as RFC 6455 says.
pub(super) fn not_websocket(error: &Error, failure: &WebSocketFailure) -> Response<String> {
    let Error::Protocol(error) = error else { return refusal(failure) };
    let (status, hint) = match error {
        ProtocolError::WrongHttpMethod => (StatusCode::METHOD_NOT_ALLOWED, Some((header::ALLOW, "GET"))),
        ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader => {
            (StatusCode::UPGRADE_REQUIRED, Some((header::UPGRADE, "websocket")))
        }
        ProtocolError::MissingSecWebSocketVersionHeader => {
            (StatusCode::UPGRADE_REQUIRED, Some((header::SEC_WEBSOCKET_VERSION, "13")))
        }
        _ => return refusal(failure),
    };
    let mut response = response(status, failure);
    if let Some((name, value)) = hint {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn response(status: StatusCode, failure: &WebSocketFailure) -> Response<String> {
    let text = format!("{failure}\n");
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, more: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::get(path)
            .header("Host", "localhost")
            .header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn status(options: &WebSocketServerOptions, request: &Request<()>) -> u16 {
        match options.answer(request) {
            Ok((response, _)) => response.status().as_u16(),
            Err((response, _)) => response.status().as_u16(),
        }
    }

    const MQTT_OFFERED: (&str, &str) = ("Sec-WebSocket-Protocol", "mqtt");

    #[test]
    fn the_first_offered_sub_protocol_that_is_ours_is_chosen() {
        let options = WebSocketServerOptions::default();
        for (offers, chosen) in [
            (&["mqtt"][..], "mqtt"),
            (&["chat, mqttv3.1 , mqtt"], "mqttv3.1"),
            (&["chat", "mqtt, mqttv3.1"], "mqtt"),
        ] {
            let offers: Vec<_> = offers.iter().map(|offer| (MQTT_OFFERED.0, *offer)).collect();
            let (response, info) = options.answer(&request("/any?x=1", &offers)).unwrap();
            assert_eq!(response.status(), 101);
            assert_eq!(Vec::from_iter(response.headers().get_all("sec-websocket-protocol")), [chosen]);
            assert_eq!((info.path(), info.sub_protocol()), ("/any?x=1", Some(chosen)));
        }
        for offers in [&[][..], &[(MQTT_OFFERED.0, "MQTT, mqttv3.1.1")]] {
            assert_eq!(status(&options, &request("/", offers)), 400);
        }
    }

    #[test]
    fn paths_and_origins_are_those_of_the_options() {
        let options =
            WebSocketServerOptions::default().paths(["/mqtt", "/"]).allowed_origins(["https://app.example"]);
        options.clone().at("/").check().unwrap();
        assert_eq!(status(&options.clone().at("/more"), &request("/more", &[MQTT_OFFERED])), 101);
        assert_eq!(
            status(&WebSocketServerOptions::default().at("/more"), &request("/mqtt", &[MQTT_OFFERED])),
            404
        );
        for (path, origin, expected) in [
            ("/mqtt?token=1", None, 101),
            ("/", Some("https://App.example"), 101),
            ("/mqtt/", None, 404),
            ("/mqtt", Some("https://evil.example"), 403),
            ("/mqtt", Some("null"), 403),
        ] {
            let mut headers = vec![MQTT_OFFERED];
            headers.extend(origin.map(|origin| ("Origin", origin)));
            assert_eq!(status(&options, &request(path, &headers)), expected, "{path} {origin:?}");
        }
    }

    #[test]
    fn headers_are_kept_on_demand_and_not_shown() {
        let request = request("/?secret=1", &[MQTT_OFFERED, ("Cookie", "secret"), ("X-Other", "secret")]);
        let (_, info) = WebSocketServerOptions::default().keep_headers(["cookie"]).answer(&request).unwrap();
        assert_eq!(info.header("Cookie"), Some(&b"secret"[..]));
        assert_eq!(info.header("X-Other"), None);
        assert!(!format!("{info:?}").contains("secret"), "{info:?}");
    }

    #[test]
    fn who_does_not_ask_for_websocket_is_told_what_to_ask_for() {
        let options = WebSocketServerOptions::default();
        let mut plain = request("/", &[]);
        plain.headers_mut().remove("upgrade");
        let (response, _) = options.answer(&plain).unwrap_err();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["upgrade"]),
            (426, &"websocket".parse().unwrap())
        );
        let mut post = request("/", &[MQTT_OFFERED]);
        *post.method_mut() = "POST".parse().unwrap();
        assert_eq!(status(&options, &post), 405);
        let mut old = request("/", &[MQTT_OFFERED]);
        old.headers_mut().insert("sec-websocket-version", "8".parse().unwrap());
        let (response, _) = options.answer(&old).unwrap_err();
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        let mut short = request("/", &[MQTT_OFFERED]);
        short.headers_mut().insert("sec-websocket-key", "abc".parse().unwrap());
        assert_eq!(status(&options, &short), 400);
    }

    #[test]
    fn options_that_cannot_be_meant_are_errors() {
        let options = WebSocketServerOptions::default;
        for (options, named) in [
            (options().paths(["mqtt"]), "\"mqtt\""),
            (options().paths(["/mqtt?x"]), "\"/mqtt?x\""),
            (options().allowed_origins(["app.example"]), "\"app.example\""),
            (options().allowed_origins(["https://app.example/"]), "\"https://app.example/\""),
            (options().keep_headers(["a b"]), "\"a b\""),
        ] {
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
