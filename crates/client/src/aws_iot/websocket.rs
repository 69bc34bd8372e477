//! The ways into AWS IoT Core over WebSocket: signed with keys of AWS, and with a custom authorizer.
//!
//! Relates to: `signature.rs`, which signs. Leaves out: where keys come from; who has an SDK of AWS gives them by
//! [`Endpoint::signed_websocket_with`].

use std::convert::Infallible;
use std::error::Error;
use std::future::ready;
use std::mem::take;
use std::time::SystemTime;

use gantline_transport::{WebSocketClientOptions, WebSocketRequest};

use super::{AwsCredentials, CustomAuthorizer, Endpoint, EndpointError};
use crate::options::ConnectOptions;

impl Endpoint {
    /// What else there is to say about WebSocket, such as more headers. Who is asked for path and headers is set by
    /// [`signed_websocket`](Self::signed_websocket). Default: [`WebSocketClientOptions::default`].
    #[must_use]
    pub fn websocket(mut self, options: WebSocketClientOptions) -> Self {
        self.websocket = options;
        self
    }

    /// Options for WebSocket with keys of AWS (Signature Version 4), port 443. AWS accepts a signature for five
    /// minutes, so each connect signs anew, with the time that it is then.
    ///
    /// # Errors
    ///
    /// The region is not known.
    pub fn signed_websocket(&self, credentials: &AwsCredentials) -> Result<ConnectOptions, EndpointError> {
        let credentials = credentials.clone();
        self.signed_websocket_with(move || ready(Ok::<_, Infallible>(credentials.clone())))
    }

    /// As [`signed_websocket`](Self::signed_websocket), with keys that are asked for at each connect, because those of
    /// a role last for hours only. An error of the provider ends the attempt to connect.
    ///
    /// # Errors
    ///
    /// The region is not known.
    pub fn signed_websocket_with<F, R, E>(&self, provider: F) -> Result<ConnectOptions, EndpointError>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<AwsCredentials, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.known_region()?;
        let endpoint = self.clone();
        let options = self.websocket.clone().request_provider(move || {
            let (endpoint, asked) = (endpoint.clone(), provider());
            async move {
                let credentials = asked.await.map_err(Into::into)?;
                let mut path = endpoint.presigned_path(&credentials, SystemTime::now())?;
                Ok::<_, Box<dyn Error + Send + Sync>>(WebSocketRequest::default().path(take(&mut *path)))
            }
        });
        Ok(self.over_websocket(options))
    }

    /// Options for WebSocket with a custom authorizer, port 443: headers say which one, user name and password stand in
    /// CONNECT.
    pub fn custom_authorizer_websocket(&self, authorizer: &CustomAuthorizer) -> ConnectOptions {
        let mut options = self.websocket.clone();
        for (name, value) in authorizer.websocket_headers() {
            options = options.header(name, value);
        }
        authorizer.say_who(self.over_websocket(options))
    }

    fn over_websocket(&self, options: WebSocketClientOptions) -> ConnectOptions {
        let address = self.websocket_address.clone().with_port(self.port.unwrap_or(443));
        ConnectOptions::to(address).tls(self.tls.clone()).websocket_options(options)
    }
}
