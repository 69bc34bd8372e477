//! What hooks decide, and that they may take their time about it.
//!
//! A hook is a closure. It returns its decision, or a future of it: see [`IntoDecision`]. Relates to: `asking.rs`,
//! which calls closures and polls futures. Leaves out: what is decided about.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use gantline_protocol::ReasonCode;

/// What an interceptor wants done with what it was asked about: a message, a subscription, a filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum Outcome<T> {
    /// Go on, as if there were no interceptor.
    #[default]
    Forward,
    /// Go on with this in its place.
    Replace(T),
    /// Do nothing, and let the client believe that it was done.
    Drop,
    /// Do nothing and tell the client this reason; of one that is no error, or that the answer cannot carry, the
    /// nearest that fits is made. Before 5.0 no reason can be told: a message is acknowledged and dropped, a
    /// subscription refused.
    Refuse(ReasonCode),
    /// End the connection of the client that this is about, with this reason (5.0).
    Close(ReasonCode),
}

/// Whether a client may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Permission {
    /// It may. For a publish this is remembered for the client, the topic and whether the message is to be retained, up
    /// to 64 topics for each, until [`reauthorize`](crate::RunningServer::reauthorize) or the end of the connection.
    Allow,
    /// It may this time; ask again next time.
    AllowOnce,
    /// It may not: "not authorized".
    Deny,
}

/// A decision, or a future of it.
pub enum Decision<T> {
    /// It is made.
    Now(T),
    /// It will be. Only the client that it is about waits.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Decision<T> {
    /// A decision that takes its time. A hook that always does may as well return the future itself.
    pub fn later(decision: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Later(Box::pin(decision))
    }

    /// The decision, whenever it is made.
    pub(crate) async fn made(self) -> T {
        match self {
            Self::Now(decision) => decision,
            Self::Later(decision) => decision.await,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Decision<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(decision) => f.debug_tuple("Now").field(decision).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// What a hook says about a message, in few bytes: most say "go on", and a larger answer would be moved through each
/// layer for every message.
pub(crate) enum Ruling<T> {
    Forward,
    Otherwise(Box<Outcome<T>>),
    Later(Pin<Box<dyn Future<Output = Outcome<T>> + Send>>),
}

impl<T> From<Decision<Outcome<T>>> for Ruling<T> {
    #[inline]
    fn from(decision: Decision<Outcome<T>>) -> Self {
        match decision {
            Decision::Now(Outcome::Forward) => Self::Forward,
            Decision::Now(outcome) => Self::Otherwise(Box::new(outcome)),
            Decision::Later(outcome) => Self::Later(outcome),
        }
    }
}

impl<T> From<Ruling<T>> for Decision<Outcome<T>> {
    fn from(ruling: Ruling<T>) -> Self {
        match ruling {
            Ruling::Forward => Self::Now(Outcome::Forward),
            Ruling::Otherwise(outcome) => Self::Now(*outcome),
            Ruling::Later(outcome) => Self::Later(outcome),
        }
    }
}

/// What a hook may return: the decision itself, a [`Decision`], or a future of it.
pub trait IntoDecision<T> {
    /// As a [`Decision`].
    fn into_decision(self) -> Decision<T>;
}

impl<T> IntoDecision<T> for Decision<T> {
    #[inline]
    fn into_decision(self) -> Self {
        self
    }
}

impl<T> IntoDecision<Self> for Outcome<T> {
    #[inline]
    fn into_decision(self) -> Decision<Self> {
        Decision::Now(self)
    }
}

impl IntoDecision<Self> for Permission {
    #[inline]
    fn into_decision(self) -> Decision<Self> {
        Decision::Now(self)
    }
}

impl<F, T> IntoDecision<T> for F
where
    F: Future<Output = T> + Send + 'static,
{
    #[inline]
    fn into_decision(self) -> Decision<T> {
        Decision::later(self)
    }
}
