//! Extended authentication (section 4.12): our end of an exchange, at CONNECT or later.
//!
//! The method is user code and runs in the future of whoever connects or authenticates again, never in the driver.
//! Relates to: `connecting.rs` and `reauthenticate.rs`, which carry the packets. Leaves out: the methods.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use gantline_protocol::{
    Auth, AuthProperties, AuthenticationContext, AuthenticationExchange, AuthenticationMethod,
    AuthenticationStep, ClientId, ReasonCode,
};

use crate::error::AuthenticationFailure;
use crate::options::Credentials;

/// What a connection authenticates with.
#[derive(Clone, Debug)]
pub(crate) struct Authentication {
    method: Arc<dyn AuthenticationMethod>,
    credentials: Credentials,
}

impl Authentication {
    pub(crate) fn new(method: Arc<dyn AuthenticationMethod>, credentials: Credentials) -> Self {
        Self { method, credentials }
    }

    pub(crate) fn method(&self) -> &str {
        self.method.name()
    }

    /// Begins an exchange; returns it with the data that the server gets first.
    pub(crate) async fn begin(
        &self,
        client_id: Option<&ClientId>,
    ) -> Result<(Conversation, Option<Bytes>), AuthenticationFailure> {
        let client_id = client_id.map_or("", ClientId::as_str);
        let context = AuthenticationContext::new(client_id, self.credentials.name());
        let mut exchange = self.method.begin(&context);
        match exchange.step(None).await {
            AuthenticationStep::Continue(data) | AuthenticationStep::Done(data) => {
                Ok((Conversation { exchange, method: self.method().to_owned() }, data))
            }
            AuthenticationStep::Refuse(reason) => Err(refused(reason)),
        }
    }
}

/// An exchange that has begun.
pub(crate) struct Conversation {
    exchange: Box<dyn AuthenticationExchange>,
    method: String,
}

impl Conversation {
    /// The packet of a step.
    pub(crate) fn packet(&self, reason: ReasonCode, data: Option<Bytes>) -> Auth {
        let authentication_method = Some(self.method.clone());
        let properties =
            AuthProperties { authentication_method, authentication_data: data, ..AuthProperties::default() };
        Auth { reason, properties }
    }

    /// The answer to an AUTH of the server with which the exchange goes on [MQTT-4.12.0-3].
    pub(crate) async fn answer(&mut self, data: Option<&[u8]>) -> Result<Auth, AuthenticationFailure> {
        match self.exchange.step(data).await {
            AuthenticationStep::Continue(data) | AuthenticationStep::Done(data) => {
                Ok(self.packet(ReasonCode::ContinueAuthentication, data))
            }
            AuthenticationStep::Refuse(reason) => Err(refused(reason)),
        }
    }

    /// The server is content: whether we are.
    pub(crate) async fn conclude(&mut self, data: Option<&[u8]>) -> Result<(), AuthenticationFailure> {
        match self.exchange.step(data).await {
            AuthenticationStep::Done(_) => Ok(()),
            AuthenticationStep::Continue(_) => Err(AuthenticationFailure::Unfinished),
            AuthenticationStep::Refuse(reason) => Err(refused(reason)),
        }
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("method", &self.method).finish_non_exhaustive()
    }
}

const fn refused(reason: ReasonCode) -> AuthenticationFailure {
    AuthenticationFailure::Refused(AuthenticationStep::refusal(reason))
}
