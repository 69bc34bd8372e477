//! WebSocket options that cannot be used: found before anything is sent.
//!
//! Relates to: `WebSocketClientOptions` and `WebSocketServerOptions`. Leaves out: options that another scheme does not
//! have, which are an error of [`connect`](crate::connect()) and [`bind`](crate::bind).

/// Options of WebSocket that cannot be used. Values of headers may be secret, so none is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketOptionsError {
    /// A header has a name that HTTP does not allow, or its value has a line break or another control character.
    #[error("the header {name:?} cannot be sent: its name or value has a character that HTTP does not allow")]
    Header {
        /// The name.
        name: String,
    },
    /// A header is one that the handshake sets.
    #[error(
        "the header {name:?} belongs to the handshake and cannot be set: use the option for it, if there is one"
    )]
    HeaderReserved {
        /// The name.
        name: String,
    },
    /// A cookie has a name or value with a character that cookies do not have: white space, quotes, commas, semicolons,
    /// backslashes.
    #[error(
        "the cookie {name:?} cannot be sent: its name or value has a character that a cookie must not have"
    )]
    Cookie {
        /// The name.
        name: String,
    },
    /// The user name of basic credentials has a colon, at which HTTP would end it.
    #[error("the user name {user_name:?} cannot be used for basic credentials: it has a colon")]
    UserName {
        /// The user name.
        user_name: String,
    },
    /// A sub-protocol is empty or has a character other than visible ASCII without separators.
    #[error("the sub-protocol {name:?} is none: write it as in mqtt")]
    SubProtocol {
        /// The name.
        name: String,
    },
    /// The host of the address is a name that is not ASCII, which HTTP cannot say.
    #[error("the host {host:?} cannot be asked for: a name that is not ASCII has to be written with xn--")]
    Host {
        /// The host.
        host: String,
    },
    /// The path of the address or of a [`WebSocketRequest`](super::WebSocketRequest) does not begin with `/`, or has a
    /// character that HTTP does not allow there; percent-encode it.
    #[error(
        "the path {path:?} cannot be asked for: it has to begin with /, and the rest may need percent-encoding"
    )]
    Request {
        /// The path, without the query.
        path: String,
    },
    /// The callback that path and headers come from has none; it says why.
    #[error("the request provider of the WebSocket options failed: {problem}")]
    RequestProvider {
        /// What it said.
        problem: String,
    },
    /// A path to serve does not begin with `/`, or has a query.
    #[error("the path {path:?} cannot be served: it has to begin with / and has no query")]
    Path {
        /// The path.
        path: String,
    },
    /// An origin is not as browsers send it.
    #[error("the origin {origin:?} is none: write it as in https://app.example, without a path")]
    Origin {
        /// The origin.
        origin: String,
    },
}
