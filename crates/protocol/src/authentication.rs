//! Extended authentication (section 4.12): what a method is, for both ends.
//!
//! MQTT carries the steps of a method in CONNECT, AUTH and CONNACK and leaves the method to the applications. They
//! bring an [`AuthenticationMethod`]; each run of it is an [`AuthenticationExchange`], which gets what the peer sent
//! and says what follows. Client and server take the same traits: the packets differ, the conversation is one. Relates
//! to: [`Auth`](crate::Auth), the packet of a step. Leaves out: the methods, and when a step is due, which the server
//! and the client see to.
//!
//! # On the client
//!
//! The first step has no data and gives that of CONNECT or, of a re-authentication, of AUTH 0x19. Each AUTH of the
//! server is one more step. So is its last word, CONNACK or AUTH 0x00: that step must say
//! [`Done`](AuthenticationStep::Done), otherwise the client ends the connection; whoever authenticates the server too
//! does it there. Before, `Done` is the same as [`Continue`](AuthenticationStep::Continue): that it is over, only the
//! server says.
//!
//! # On the server
//!
//! The first step has the data of CONNECT or of AUTH 0x19. `Continue` sends AUTH 0x18, whose answer is the next step;
//! `Done` accepts with its data in CONNACK or AUTH 0x00; [`Refuse`](AuthenticationStep::Refuse) says its code in
//! CONNACK or DISCONNECT and ends the connection.
//!
//! # An example
//!
//! A token that is sent once and compared:
//!
//! ```
//! use gantline_protocol::{
//!     AuthenticationContext, AuthenticationExchange, AuthenticationMethod, AuthenticationStep, ReasonCode,
//!     async_trait,
//! };
//!
//! /// The client's end.
//! #[derive(Debug)]
//! struct Token;
//!
//! impl AuthenticationMethod for Token {
//!     fn name(&self) -> &str {
//!         "TOKEN"
//!     }
//!
//!     fn begin(&self, _: &AuthenticationContext<'_>) -> Box<dyn AuthenticationExchange> {
//!         Box::new(Show)
//!     }
//! }
//!
//! struct Show;
//!
//! #[async_trait]
//! impl AuthenticationExchange for Show {
//!     async fn step(&mut self, _: Option<&[u8]>) -> AuthenticationStep {
//!         AuthenticationStep::Done(Some("sesame".into()))
//!     }
//! }
//!
//! /// What the server's end does with it.
//! struct Check;
//!
//! #[async_trait]
//! impl AuthenticationExchange for Check {
//!     async fn step(&mut self, data: Option<&[u8]>) -> AuthenticationStep {
//!         match data {
//!             Some(b"sesame") => AuthenticationStep::Done(None),
//!             _ => AuthenticationStep::Refuse(ReasonCode::NotAuthorized),
//!         }
//!     }
//! }
//! ```

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::reason_code::ReasonCode;

/// A way to authenticate, known to both ends by its name.
///
/// Its `Debug` output is part of that of options and servers, so it should have no secrets.
pub trait AuthenticationMethod: Send + Sync + fmt::Debug {
    /// The name in CONNECT, at most 65,535 bytes. It must not change.
    fn name(&self) -> &str;

    /// Begins an exchange: of a client that connects, or of one that authenticates again.
    fn begin(&self, context: &AuthenticationContext<'_>) -> Box<dyn AuthenticationExchange>;
}

/// One run of a method, on one end.
///
/// It is dropped when it is over, and whenever its connection ends. Written with the attribute
/// [`async_trait`](macro@crate::async_trait).
#[async_trait]
pub trait AuthenticationExchange: Send {
    /// What follows now that the peer has sent `data`. See the two ends in the description of
    /// [`AuthenticationStep`].
    async fn step(&mut self, data: Option<&[u8]>) -> AuthenticationStep;
}

/// What an [`AuthenticationExchange`] wants next.
///
/// | step | the client | the server |
/// |---|---|---|
/// | `Continue` | sends the data in CONNECT or AUTH; after the server's last word it ends the connection | sends the data in AUTH 0x18 |
/// | `Done` | as `Continue`; after the server's last word it is content, and the data is not sent | accepts, with the data in CONNACK or AUTH 0x00 |
/// | `Refuse` | ends the connection | says the code in CONNACK or DISCONNECT and ends the connection |
///
/// Data has at most 65,535 bytes. Its `Debug` output has no secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthenticationStep {
    /// The peer has to answer this.
    Continue(Option<Bytes>),
    /// This end is content.
    Done(Option<Bytes>),
    /// The peer is not who it claims to be, or what it sent makes no sense. A code that is no error is taken for
    /// [`ReasonCode::NotAuthorized`].
    Refuse(ReasonCode),
}

impl AuthenticationStep {
    /// The code of a refusal, which is an error whatever the method said.
    pub const fn refusal(reason: ReasonCode) -> ReasonCode {
        if reason.is_error() { reason } else { ReasonCode::NotAuthorized }
    }
}

impl fmt::Debug for AuthenticationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, data) = match self {
            Self::Refuse(reason) => return f.debug_tuple("Refuse").field(reason).finish(),
            Self::Continue(data) => ("Continue", data),
            Self::Done(data) => ("Done", data),
        };
        f.debug_tuple(name).field(&data.as_ref().map(|_| "<redacted>")).finish()
    }
}

/// Whose exchange begins, as CONNECT says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthenticationContext<'a> {
    /// The client id. On the server one that the server assigned, if it did; on the client empty while it waits for
    /// that.
    pub client_id: &'a str,
    /// The user name in CONNECT, which nobody has checked.
    pub user_name: Option<&'a str>,
}

impl<'a> AuthenticationContext<'a> {
    /// What CONNECT says.
    pub const fn new(client_id: &'a str, user_name: Option<&'a str>) -> Self {
        Self { client_id, user_name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_a_step_is_shown_to_nobody() {
        let shown = format!("{:?}", AuthenticationStep::Continue(Some("sesame".into())));
        assert_eq!(shown, r#"Continue(Some("<redacted>"))"#);
        assert_eq!(format!("{:?}", AuthenticationStep::Done(None)), "Done(None)");
    }

    #[test]
    fn a_refusal_is_an_error() {
        assert_eq!(AuthenticationStep::refusal(ReasonCode::Banned), ReasonCode::Banned);
        assert_eq!(AuthenticationStep::refusal(ReasonCode::Success), ReasonCode::NotAuthorized);
    }
}
