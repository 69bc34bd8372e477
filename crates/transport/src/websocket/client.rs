//! What a client wants of WebSocket.
//!
//! Relates to: `connect.rs`, which shakes hands. Leaves out: TLS, whose options are the same for every scheme.

use std::fmt;

use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use zeroize::Zeroizing;

use super::options_error::WebSocketOptionsError;
use super::request::{RequestProvider, WebSocketRequest};
use super::{LARGEST_MAX_HEAD_SIZE, MAX_HEAD_SIZE, MAX_MESSAGE_SIZE, MQTT};
use crate::address::Address;
use crate::basic::basic;
use crate::tcp::host_of;

/// The options of a client for `ws://` and `wss://`. What is wrong with them is found when it connects.
///
/// Values of headers and cookies may be secret: `Debug` does not show them, and they are erased from memory at the end.
///
/// ```
/// use gantline_transport::{DialOptions, WebSocketClientOptions};
///
/// let options = WebSocketClientOptions::default().header("X-Device", "kitchen").cookie("session", "41f6");
/// let dial = DialOptions::default().websocket(options);
/// ```
#[derive(Clone)]
pub struct WebSocketClientOptions {
    headers: Vec<(String, Zeroizing<String>)>,
    cookies: Vec<(String, Zeroizing<String>)>,
    basic: Option<(String, Zeroizing<String>)>,
    origin: Option<String>,
    sub_protocols: Vec<String>,
    provider: Option<RequestProvider>,
    pub(super) max_head_size: usize,
    pub(super) max_message_size: u64,
}

impl WebSocketClientOptions {
    /// Adds a header to the request. `Host`, `Origin`, `Authorization` and `Cookie` replace what would be sent
    /// otherwise; those of the handshake itself cannot be set. Default: none.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// Adds a cookie to the request. Default: none. What the server sets is not kept.
    #[must_use]
    pub fn cookie(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.cookies.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// A user name and password for HTTP (Basic), as gateways in front of a server want it. Default: none; the user
    /// name and password of the address go into CONNECT and nowhere else.
    #[must_use]
    pub fn basic_credentials(mut self, user_name: impl Into<String>, password: impl Into<String>) -> Self {
        self.basic = Some((user_name.into(), Zeroizing::new(password.into())));
        self
    }

    /// The site that a browser would name, such as `https://app.example`, for servers that insist on it. Default: none
    /// is sent.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// The sub-protocols to offer, the best first. Default `mqtt`, which MQTT demands [MQTT-6.0.0-3]; old brokers may
    /// want `mqttv3.1`. The server has to choose one of them, unless none is offered.
    #[must_use]
    pub fn sub_protocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.sub_protocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Asks for path and headers at each connect: a signed URL that lasts for minutes, a token that expires. It counts
    /// against the connect time-out; its error ends the attempt. Default: nobody is asked.
    ///
    /// ```
    /// use gantline_transport::{WebSocketClientOptions, WebSocketRequest};
    ///
    /// let options = WebSocketClientOptions::default().request_provider(|| async {
    ///     let token = std::env::var("TOKEN")?;
    ///     Ok::<_, std::env::VarError>(WebSocketRequest::default().header("Authorization", format!("Bearer {token}")))
    /// });
    /// ```
    #[must_use]
    pub fn request_provider<F, R, E>(mut self, provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<WebSocketRequest, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.provider = Some(RequestProvider::new(provider));
        self
    }

    /// The longest HTTP head that the server may answer with, in bytes. Default 16 KiB; more than 64 KiB are taken for
    /// that.
    #[must_use]
    pub fn max_head_size(mut self, bytes: usize) -> Self {
        self.max_head_size = bytes.min(LARGEST_MAX_HEAD_SIZE);
        self
    }

    /// The longest message of WebSocket that the server may send, over all its frames, in bytes. Default 256 MiB, which
    /// every packet fits into: nothing is collected, so only the size of packets costs memory.
    #[must_use]
    pub const fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// The sub-protocols as they are offered.
    pub(super) fn offered(&self) -> String {
        self.sub_protocols.join(", ")
    }

    /// The request for the handshake with the server at `address`.
    pub(super) async fn request(&self, address: &Address) -> Result<Request<()>, WebSocketOptionsError> {
        match &self.provider {
            None => self.request_with(address, &WebSocketRequest::default()),
            Some(provider) => self.request_with(address, &provider.ask().await?),
        }
    }

    fn request_with(
        &self,
        address: &Address,
        asked: &WebSocketRequest,
    ) -> Result<Request<()>, WebSocketOptionsError> {
        let (host, path) = (authority_of(address), asked.path_or(address.path()));
        // As it stands in the request; what is to be hidden of it is in the query.
        let wrong = || {
            let path = path.split('?').next().unwrap_or_default().to_owned();
            WebSocketOptionsError::Request { path }
        };
        if !path.starts_with('/') {
            return Err(wrong());
        }
        if !host.is_ascii() {
            return Err(WebSocketOptionsError::Host { host: address.host().to_owned() });
        }
        let mut request =
            Request::get(format!("{}://{host}{path}", address.scheme())).body(()).map_err(|_| wrong())?;
        let headers = request.headers_mut();
        let mut set = |name: HeaderName, value: &str| put(headers, name, value);
        set(header::HOST, &host)?;
        set(header::CONNECTION, "Upgrade")?;
        set(header::UPGRADE, "websocket")?;
        set(header::SEC_WEBSOCKET_VERSION, "13")?;
        set(header::SEC_WEBSOCKET_KEY, &generate_key())?;
        if let Some(name) = self.sub_protocols.iter().find(|name| !is_token(name)) {
            return Err(WebSocketOptionsError::SubProtocol { name: name.clone() });
        }
        if !self.sub_protocols.is_empty() {
            set(header::SEC_WEBSOCKET_PROTOCOL, &self.offered())?;
        }
        if let Some(origin) = &self.origin {
            set(header::ORIGIN, origin)
                .map_err(|_| WebSocketOptionsError::Origin { origin: origin.clone() })?;
        }
        if let Some((user_name, password)) = &self.basic {
            let wrong = || WebSocketOptionsError::UserName { user_name: user_name.clone() };
            set(header::AUTHORIZATION, &basic(user_name, password).ok_or_else(wrong)?)?;
        }
        if !self.cookies.is_empty() {
            set(header::COOKIE, &self.cookie_header()?)?;
        }
        extend(headers, &self.headers)?;
        extend(headers, &asked.headers)?;
        Ok(request)
    }

    fn cookie_header(&self) -> Result<Zeroizing<String>, WebSocketOptionsError> {
        let mut line = Zeroizing::new(String::with_capacity(
            self.cookies.iter().map(|(name, value)| name.len() + value.len() + 3).sum(),
        ));
        for (name, value) in &self.cookies {
            let fits = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
            if !is_token(name) || !value.bytes().all(fits) {
                return Err(WebSocketOptionsError::Cookie { name: name.clone() });
            }
            if !line.is_empty() {
                line.push_str("; ");
            }
            line.push_str(name);
            line.push('=');
            line.push_str(value);
        }
        Ok(line)
    }
}

impl Default for WebSocketClientOptions {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            cookies: Vec::new(),
            basic: None,
            origin: None,
            sub_protocols: vec![MQTT.to_owned()],
            provider: None,
            max_head_size: MAX_HEAD_SIZE,
            max_message_size: MAX_MESSAGE_SIZE,
        }
    }
}

impl fmt::Debug for WebSocketClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, Zeroizing<String>)]| -> Vec<String> {
            pairs.iter().map(|(name, _)| name.clone()).collect()
        };
        f.debug_struct("WebSocketClientOptions")
            .field("headers", &names(&self.headers))
            .field("cookies", &names(&self.cookies))
            .field("basic_credentials", &self.basic.is_some())
            .field("origin", &self.origin)
            .field("sub_protocols", &self.sub_protocols)
            .field("request_provider", &self.provider.is_some())
            .field("max_head_size", &self.max_head_size)
            .field("max_message_size", &self.max_message_size)
            .finish()
    }
}

/// Adds the headers of the user; they replace those of the same name.
fn extend(
    headers: &mut HeaderMap,
    more: &[(String, Zeroizing<String>)],
) -> Result<(), WebSocketOptionsError> {
    let mut own = HeaderMap::new();
    for (name, value) in more {
        let wrong = |_| WebSocketOptionsError::Header { name: name.clone() };
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(()))?;
        if RESERVED.contains(&parsed) {
            return Err(WebSocketOptionsError::HeaderReserved { name: name.clone() });
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong(()))?;
        value.set_sensitive(true);
        own.append(parsed, value);
    }
    for name in own.keys() {
        headers.remove(name);
    }
    headers.extend(own);
    Ok(())
}

/// The host, with the port unless it is the usual one, as browsers do.
fn authority_of(address: &Address) -> String {
    let host = host_of(address);
    // A zone is ours to know.
    let host = host.split_once('%').map_or(host, |(ip, _)| ip);
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match address.port() {
        Some(port) if address.scheme().default_port() != Some(port) => format!("{host}:{port}"),
        _ => host,
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), WebSocketOptionsError> {
    let wrong = |_| WebSocketOptionsError::Header { name: name.to_string() };
    let mut value = HeaderValue::from_str(value).map_err(wrong)?;
    value.set_sensitive(SECRET.contains(&name));
    headers.insert(name, value);
    Ok(())
}

/// Whether this is a token of HTTP.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// What the handshake sets.
const RESERVED: [HeaderName; 8] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
];
const SECRET: [HeaderName; 2] = [header::AUTHORIZATION, header::COOKIE];

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, options: &WebSocketClientOptions) -> Request<()> {
        options.request_with(&Address::new(url).unwrap(), &WebSocketRequest::default()).unwrap()
    }

    fn failure(
        url: &str,
        options: &WebSocketClientOptions,
        asked: &WebSocketRequest,
    ) -> WebSocketOptionsError {
        options.request_with(&Address::new(url).unwrap(), asked).unwrap_err()
    }

    #[test]
    fn the_request_names_host_path_and_sub_protocol() {
        for (url, host, path) in [
            ("ws://Broker.example", "broker.example", "/"),
            ("ws://broker.example:80/mqtt", "broker.example", "/mqtt"),
            ("ws://broker.example:8000/mqtt?a=b%20c&d", "broker.example:8000", "/mqtt?a=b%20c&d"),
            ("wss://broker.example:443?x=1", "broker.example", "/?x=1"),
            ("wss://[::1]:80/", "[::1]:80", "/"),
            ("ws://[fe80::1%eth0]/", "[fe80::1]", "/"),
            ("ws://:8080/", "localhost:8080", "/"),
        ] {
            let request = request(url, &WebSocketClientOptions::default());
            assert_eq!(request.headers()[header::HOST], host, "{url}");
            assert_eq!(request.uri().path_and_query().unwrap(), path, "{url}");
            assert_eq!(request.headers()[header::SEC_WEBSOCKET_PROTOCOL], "mqtt");
            assert!(!request.headers().contains_key(header::ORIGIN));
            assert!(!request.headers().contains_key(header::SEC_WEBSOCKET_EXTENSIONS));
        }
    }

    #[test]
    fn headers_cookies_and_credentials_are_sent_and_not_shown() {
        let options = WebSocketClientOptions::default()
            .header("X-Token", "secret-1")
            .header("x-token", "secret-2")
            .header("Host", "other.example")
            .cookie("a", "secret-3")
            .cookie("b", "secret-4")
            .basic_credentials("Aladdin", "open sesame")
            .origin("https://app.example")
            .sub_protocols(["mqtt", "mqttv3.1"]);
        let request = request("ws://u:p@localhost/", &options);
        let headers = request.headers();
        assert_eq!(Vec::from_iter(headers.get_all("x-token")), ["secret-1", "secret-2"]);
        assert_eq!(Vec::from_iter(headers.get_all(header::HOST)), ["other.example"]);
        assert_eq!(headers[header::COOKIE], "a=secret-3; b=secret-4");
        assert_eq!(headers[header::AUTHORIZATION], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(headers[header::ORIGIN], "https://app.example");
        assert_eq!(headers[header::SEC_WEBSOCKET_PROTOCOL], "mqtt, mqttv3.1");
        let shown = format!("{options:?} {request:?}");
        assert!(!shown.contains("secret") && !shown.contains("sesame") && !shown.contains("QWxh"), "{shown}");
    }

    #[test]
    fn what_cannot_be_sent_is_an_error_that_names_it() {
        use WebSocketOptionsError as E;
        let options = WebSocketClientOptions::default;
        let name = |name: &str| name.to_owned();
        for (options, expected) in [
            (options().header("a b", "c"), E::Header { name: name("a b") }),
            (options().header("a", "b\r\nc: d"), E::Header { name: name("a") }),
            (options().header("Upgrade", "h2c"), E::HeaderReserved { name: name("Upgrade") }),
            (options().cookie("a", "b;c"), E::Cookie { name: name("a") }),
            (options().basic_credentials("a:b", "c"), E::UserName { user_name: name("a:b") }),
            (options().sub_protocols(["mq tt"]), E::SubProtocol { name: name("mq tt") }),
            (options().origin("https://a\r\n"), E::Origin { origin: name("https://a\r\n") }),
        ] {
            assert_eq!(failure("ws://localhost/", &options, &WebSocketRequest::default()), expected);
        }
        let nothing = WebSocketRequest::default;
        assert_eq!(
            failure("ws://bücher.example/", &options(), &nothing()),
            E::Host { host: name("bücher.example") }
        );
        let path = |path: &str| E::Request { path: name(path) };
        assert_eq!(failure("ws://localhost/<a>?secret", &options(), &nothing()), path("/<a>"));
        assert_eq!(failure("ws://localhost/", &options(), &nothing().path("b?secret")), path("b"));
        assert_eq!(
            failure("ws://localhost/", &options(), &nothing().header("Upgrade", "h2c")),
            E::HeaderReserved { name: name("Upgrade") }
        );
    }

    #[test]
    fn what_is_asked_for_goes_before_address_and_options() {
        let options =
            WebSocketClientOptions::default().header("X-Token", "old").header("X-Device", "kitchen");
        let asked = WebSocketRequest::default()
            .path("/mqtt?signature=secret")
            .header("x-token", "secret")
            .header("Host", "other.example");
        let address = Address::new("wss://broker.example/else?where").unwrap();
        let request = options.request_with(&address, &asked).unwrap();
        assert_eq!(request.uri().path_and_query().unwrap(), "/mqtt?signature=secret");
        let headers = request.headers();
        assert_eq!(Vec::from_iter(headers.get_all("x-token")), ["secret"]);
        assert_eq!(
            (&headers["x-device"], &headers[header::HOST]),
            (&"kitchen".parse().unwrap(), &"other.example".parse().unwrap())
        );
        assert!(!format!("{asked:?}").contains("secret"), "{asked:?}");
    }
}
