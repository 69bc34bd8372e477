//! Authenticating again on a standing connection (section 4.12.1): the caller's part, and the driver's.
//!
//! The exchange runs in the caller's future; the driver only sends its packets and hands back those of the server. Both
//! know the exchange by the number of its [`Ticket`], so that orders which come too late mean nothing to the next
//! connection. Relates to: `authentication.rs`, our end of an exchange. Leaves out: CONNECT.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gantline_protocol::{Auth, EncodeError, PacketType, ReasonCode, Rule, Violation};
use tokio::sync::oneshot;

use crate::command::Command;
use crate::error::{AuthenticationFailure, ConnectionLost, DisconnectCause, Progress, ReauthenticateError};
use crate::shared::Shared;

/// Runs an exchange to its end.
pub(crate) async fn reauthenticate(shared: &Arc<Shared>) -> Result<(), ReauthenticateError> {
    let (authentication, client_id) = {
        let station = shared.station.lock();
        if station.info.is_none() {
            return Err(ReauthenticateError::NotConnected);
        }
        let authentication = station.authentication.clone().ok_or(ReauthenticateError::NoMethod)?;
        (authentication, station.client_id())
    };
    let begun = authentication.begin(client_id.as_ref()).await;
    let (mut conversation, data) = begun.map_err(ReauthenticateError::NotBegun)?;
    let mut ticket = Ticket::new(shared);
    let mut answer = ticket.send(conversation.packet(ReasonCode::ReAuthenticate, data)).await?;
    while answer.reason == ReasonCode::ContinueAuthentication {
        answer = match conversation.answer(answer.properties.authentication_data.as_deref()).await {
            Ok(next) => ticket.send(next).await?,
            Err(failure) => return Err(ticket.fail(failure).await),
        };
    }
    match conversation.conclude(answer.properties.authentication_data.as_deref()).await {
        Ok(()) => {
            ticket.conclude();
            tracing::debug!("authenticated again");
            Ok(())
        }
        Err(failure) => Err(ticket.fail(failure).await),
    }
}

/// The caller's right to the one exchange of a connection. Dropped before the end, it ends the connection: what the
/// server was told cannot be taken back.
#[derive(Debug)]
struct Ticket<'a> {
    shared: &'a Arc<Shared>,
    number: u64,
    begun: bool,
}

impl<'a> Ticket<'a> {
    fn new(shared: &'a Arc<Shared>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        // The number only has to be a new one.
        Self { shared, number: NUMBERS.fetch_add(1, Ordering::Relaxed), begun: false }
    }

    /// Sends a packet and waits for the server's answer.
    async fn send(&mut self, auth: Auth) -> Result<Auth, ReauthenticateError> {
        let (reply, answer) = oneshot::channel();
        let begins = !std::mem::replace(&mut self.begun, true);
        let order = Order::Send { ticket: self.number, auth, reply };
        if self.shared.order(Command::Authenticate(Box::new(order))).is_err() {
            self.begun = false;
            return Err(if begins { ReauthenticateError::NotConnected } else { self.lost() });
        }
        match answer.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Unsent::Busy)) => {
                self.begun = false;
                Err(ReauthenticateError::AlreadyReauthenticating)
            }
            Ok(Err(Unsent::Unwritable(error))) if begins => {
                self.begun = false;
                Err(ReauthenticateError::NotBegun(AuthenticationFailure::Unwritable(error)))
            }
            Ok(Err(Unsent::Unwritable(error))) => {
                Err(self.fail(AuthenticationFailure::Unwritable(error)).await)
            }
            Err(_) => {
                self.begun = false;
                Err(self.lost())
            }
        }
    }

    fn conclude(&mut self) {
        self.begun = false;
        // Without the connection there is nothing to conclude.
        let _ = self.shared.order(Command::Authenticate(Box::new(Order::Conclude { ticket: self.number })));
    }

    /// Ends the connection, and waits until it has ended.
    async fn fail(&mut self, failure: AuthenticationFailure) -> ReauthenticateError {
        self.begun = false;
        let (reply, ended) = oneshot::channel();
        let order = Order::Fail { ticket: self.number, failure: failure.clone(), reply: Some(reply) };
        if self.shared.order(Command::Authenticate(Box::new(order))).is_ok() {
            // Nothing is ever sent.
            let _ = ended.await;
        }
        ReauthenticateError::Unauthenticated(failure)
    }

    fn lost(&self) -> ReauthenticateError {
        // A connection that takes no orders any more and is still there says the goodbye that we asked for.
        let closing = self.shared.station.lock().info.is_some() && !self.shared.is_connected();
        let lost = match closing {
            true => ConnectionLost {
                resent_on_resume: false,
                progress: Progress::Sent,
                cause: DisconnectCause::Requested,
            },
            false => self.shared.lost(),
        };
        match lost.cause {
            DisconnectCause::ByServer(goodbye) => ReauthenticateError::Refused(goodbye),
            _ => ReauthenticateError::ConnectionLost(lost),
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.begun {
            let failure = AuthenticationFailure::Abandoned;
            let order = Order::Fail { ticket: self.number, failure, reply: None };
            let _ = self.shared.order(Command::Authenticate(Box::new(order)));
        }
    }
}

/// What the caller asks of the driver.
#[derive(Debug)]
pub(crate) enum Order {
    /// Send AUTH and hand back what the server answers.
    Send { ticket: u64, auth: Auth, reply: oneshot::Sender<Result<Auth, Unsent>> },
    /// Both ends are content.
    Conclude { ticket: u64 },
    /// End the connection, and drop the reply when that is done.
    Fail { ticket: u64, failure: AuthenticationFailure, reply: Option<oneshot::Sender<()>> },
}

/// Why AUTH was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// Another exchange is under way.
    Busy,
    Unwritable(EncodeError),
}

/// How far the exchange of a connection has come, as its driver knows it.
#[derive(Debug, Default)]
pub(crate) enum Reauthentication {
    #[default]
    None,
    /// The server has to answer.
    Server { ticket: u64, reply: oneshot::Sender<Result<Auth, Unsent>> },
    /// The caller has to.
    Caller { ticket: u64 },
    /// The connection has to end; whoever waits for that is told when this is dropped.
    Failed { failure: AuthenticationFailure, _reply: Option<oneshot::Sender<()>> },
}

impl Reauthentication {
    /// Does what the caller asks; `send` writes the packet.
    pub(crate) fn obey(&mut self, order: Order, send: impl FnOnce(&Auth) -> Result<(), EncodeError>) {
        match order {
            Order::Send { ticket, auth, reply } => {
                let begins = auth.reason == ReasonCode::ReAuthenticate;
                // Given up before it was sent.
                let given_up = begins && reply.is_closed();
                match self {
                    Self::None if given_up => return,
                    Self::None if begins => {}
                    Self::Caller { ticket: present } if *present == ticket => {}
                    _ if begins => {
                        let _ = reply.send(Err(Unsent::Busy));
                        return;
                    }
                    // Of an earlier connection; dropping the reply says so.
                    _ => return,
                }
                match send(&auth) {
                    Ok(()) => *self = Self::Server { ticket, reply },
                    Err(error) => drop(reply.send(Err(Unsent::Unwritable(error)))),
                }
            }
            Order::Conclude { ticket } if self.is_of(ticket) => *self = Self::None,
            Order::Fail { ticket, failure, reply } if self.is_of(ticket) => {
                *self = Self::Failed { failure, _reply: reply };
            }
            Order::Conclude { .. } | Order::Fail { .. } => {}
        }
    }

    /// The server sent AUTH.
    ///
    /// # Errors
    ///
    /// We wait for none: only the client begins (section 4.12.1).
    pub(crate) fn receive(&mut self, auth: Auth) -> Result<(), Violation> {
        match std::mem::take(self) {
            Self::Server { ticket, reply } => {
                *self = Self::Caller { ticket };
                // If the caller has gone, it has ordered the end too.
                let _ = reply.send(Ok(auth));
                Ok(())
            }
            other => {
                *self = other;
                Err(Violation::new(Rule::UnexpectedPacket).in_packet(PacketType::Auth))
            }
        }
    }

    /// Whether the server has to answer.
    pub(crate) const fn awaits_server(&self) -> bool {
        matches!(self, Self::Server { .. })
    }

    /// Why the connection has to end, if it has to.
    pub(crate) fn failure(&self) -> Option<&AuthenticationFailure> {
        match self {
            Self::Failed { failure, .. } => Some(failure),
            Self::None | Self::Server { .. } | Self::Caller { .. } => None,
        }
    }

    const fn is_of(&self, number: u64) -> bool {
        matches!(self, Self::Server { ticket, .. } | Self::Caller { ticket } if *ticket == number)
    }
}
