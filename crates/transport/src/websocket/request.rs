//! What a client asks for anew at each connect: a path with its query, and headers.
//!
//! Relates to: [`WebSocketClientOptions::request_provider`](super::WebSocketClientOptions::request_provider), which
//! says who is asked. Leaves out: host and port, which are those of the address.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::options_error::WebSocketOptionsError;

/// What one request for an upgrade says beside what the options say. Default: nothing.
///
/// Path and values of headers may be secret: `Debug` does not show the query and the values, and they are erased from
/// memory at the end.
#[derive(Clone, Default)]
pub struct WebSocketRequest {
    path: Option<Zeroizing<String>>,
    pub(super) headers: Vec<(String, Zeroizing<String>)>,
}

impl WebSocketRequest {
    /// The path with its query, such as `/mqtt?token=a1`, instead of that of the address.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(Zeroizing::new(path.into()));
        self
    }

    /// Adds a header, as [`WebSocketClientOptions::header`](super::WebSocketClientOptions::header) does; it replaces
    /// headers of the options that have the same name.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// The path, or this one if there is none.
    pub(super) fn path_or<'a>(&'a self, usual: &'a str) -> &'a str {
        self.path.as_deref().map_or(usual, String::as_str)
    }
}

impl fmt::Debug for WebSocketRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let path = self.path.as_deref().and_then(|path| path.split('?').next());
        f.debug_struct("WebSocketRequest").field("path", &path).field("headers", &names).finish()
    }
}

type BoxError = Box<dyn Error + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Result<WebSocketRequest, BoxError>> + Send>>;

/// Who is asked.
#[derive(Clone)]
pub(super) struct RequestProvider(Arc<dyn Fn() -> Answer + Send + Sync>);

impl RequestProvider {
    pub(super) fn new<F, R, E>(provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<WebSocketRequest, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self(Arc::new(move || {
            let answer = provider();
            Box::pin(async move { answer.await.map_err(Into::into) })
        }))
    }

    pub(super) async fn ask(&self) -> Result<WebSocketRequest, WebSocketOptionsError> {
        self.0().await.map_err(|error| WebSocketOptionsError::RequestProvider { problem: error.to_string() })
    }
}
