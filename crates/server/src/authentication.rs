//! Extended authentication of one client (section 4.12): its exchange with a method, at CONNECT and again later.
//!
//! The method is user code. The task of its own connection polls it, under no lock and beside everything else, so it
//! may take its time; how much is bounded, by the time-out of the connect and by ten seconds later. If it panics, the
//! client is refused and nobody else notices. Relates to: `handshake.rs` and `exchange.rs`, which send what comes out.
//! Leaves out: the methods.

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gantline_protocol::{
    Auth, AuthProperties, AuthenticationContext, AuthenticationExchange, AuthenticationMethod,
    AuthenticationStep, ClientId, PacketType, ReasonCode, Rule, Violation,
};
use tokio::time::{Sleep, sleep};

/// The method of a client, and the exchange that is under way.
pub(crate) struct Authentication {
    method: Arc<dyn AuthenticationMethod>,
    client_id: ClientId,
    user_name: Option<String>,
    turn: Turn,
    /// When an exchange that the connect time-out does not cover has lasted too long.
    limit: Option<Pin<Box<Sleep>>>,
}

/// Whose turn it is.
enum Turn {
    /// There is no exchange.
    Nobody,
    /// The method makes up its mind.
    Method(Step),
    /// The client has to answer.
    Client(Box<dyn AuthenticationExchange>),
}

/// A step that is under way; it has the exchange meanwhile.
type Step = Pin<Box<dyn Future<Output = (Box<dyn AuthenticationExchange>, AuthenticationStep)> + Send>>;

impl Authentication {
    /// The exchange of CONNECT, which had this data.
    pub(crate) fn new(
        method: Arc<dyn AuthenticationMethod>,
        client_id: ClientId,
        user_name: Option<String>,
        data: Option<Bytes>,
    ) -> Self {
        let mut authentication = Self { method, client_id, user_name, turn: Turn::Nobody, limit: None };
        authentication.begin(data);
        authentication
    }

    /// The name of the method.
    pub(crate) fn method(&self) -> &str {
        self.method.name()
    }

    /// The packet of a step.
    pub(crate) fn packet(&self, reason: ReasonCode, data: Option<Bytes>) -> Auth {
        let authentication_method = Some(self.method().to_owned());
        let properties =
            AuthProperties { authentication_method, authentication_data: data, ..AuthProperties::default() };
        Auth { reason, properties }
    }

    /// The client sent AUTH with its method: to authenticate again, or because it was asked to go on.
    ///
    /// # Errors
    ///
    /// Neither is due: the method has not answered yet, or there is nothing to go on with [MQTT-4.12.0-3].
    pub(crate) fn receive(&mut self, auth: Auth) -> Result<(), Violation> {
        let data = auth.properties.authentication_data;
        match (auth.reason, mem::replace(&mut self.turn, Turn::Nobody)) {
            (ReasonCode::ReAuthenticate, Turn::Nobody) => {
                self.begin(data);
                self.limit = Some(Box::pin(sleep(LONGEST)));
                Ok(())
            }
            (ReasonCode::ContinueAuthentication, Turn::Client(mut exchange)) => {
                self.turn = Turn::Method(Box::pin(async move {
                    let step = exchange.step(data.as_deref()).await;
                    (exchange, step)
                }));
                Ok(())
            }
            (reason, _) => {
                let violation = Violation::new(Rule::UnexpectedPacket).in_packet(PacketType::Auth);
                Err(violation.value(reason.value().into()))
            }
        }
    }

    /// What the method says, once it does. Pending as long as nothing is due from it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<AuthenticationStep> {
        let polled = match &mut self.turn {
            Turn::Nobody => return Poll::Pending,
            Turn::Client(_) => Ok(Poll::Pending),
            // What a panic leaves behind is dropped unseen.
            Turn::Method(step) => catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx))),
        };
        let step = match polled {
            Ok(Poll::Ready((exchange, step))) => {
                if let AuthenticationStep::Continue(_) = step {
                    self.turn = Turn::Client(exchange);
                    return Poll::Ready(step);
                }
                step
            }
            Ok(Poll::Pending) => {
                let Some(limit) = &mut self.limit else { return Poll::Pending };
                ready!(limit.as_mut().poll(cx));
                tracing::info!(
                    name: "authentication.timed_out",
                    client = %self.client_id,
                    "authentication took too long"
                );
                AuthenticationStep::Refuse(ReasonCode::NotAuthorized)
            }
            Err(_) => {
                tracing::error!(
                    name: "authentication.panicked",
                    client = %self.client_id,
                    method = self.method(),
                    "the authentication method panicked"
                );
                AuthenticationStep::Refuse(ReasonCode::UnspecifiedError)
            }
        };
        (self.turn, self.limit) = (Turn::Nobody, None);
        Poll::Ready(match step {
            AuthenticationStep::Refuse(reason) => {
                AuthenticationStep::Refuse(AuthenticationStep::refusal(reason))
            }
            step => step,
        })
    }

    fn begin(&mut self, data: Option<Bytes>) {
        let (method, id, user_name) =
            (Arc::clone(&self.method), self.client_id.clone(), self.user_name.clone());
        self.turn = Turn::Method(Box::pin(async move {
            let context = AuthenticationContext::new(id.as_str(), user_name.as_deref());
            let mut exchange = method.begin(&context);
            let step = exchange.step(data.as_deref()).await;
            (exchange, step)
        }));
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").field("method", &self.method).finish_non_exhaustive()
    }
}

/// How long a client may take to authenticate again, and the method to judge it.
const LONGEST: Duration = Duration::from_secs(10);
