//! What a handle asks of the driver.
//!
//! Commands travel in the control lane of the mailbox, which has no bound because they are few; publishes have lanes of
//! their own. A reply is a one-shot channel: if the connection ends first it is dropped, which tells the waiter.

use std::sync::Arc;
use std::time::Duration;

use gantline_protocol::{
    DisconnectProperties, ReasonCode, SubAck, SubscribeFilter, SubscribeProperties, TopicFilter, UnsubAck,
    UnsubscribeProperties,
};
use tokio::sync::oneshot;

use crate::dispatch::StreamId;
use crate::error::RequestFailed;
use crate::inbox::Inbox;
use crate::reauthenticate::Order;

/// One order to the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Subscribe for a stream that is registered already.
    Subscribe(Box<SubscribeCommand>),
    /// Unsubscribe, whoever holds the filters.
    Unsubscribe(Box<UnsubscribeCommand>),
    /// Unsubscribe from what no stream holds any more.
    Tidy,
    /// Receipts wait to be acknowledged, or there is a deadline.
    Acknowledge,
    /// The same of one stream, or it was too full and has room again.
    Collect(Arc<Inbox>),
    /// Ping, and say how long the answer took.
    Ping(oneshot::Sender<Result<Duration, Unanswered>>),
    /// A step of authenticating again.
    Authenticate(Box<Order>),
    /// Say when everything that was accepted before is written.
    Flush(oneshot::Sender<()>),
    /// Write what was accepted before, say goodbye and close.
    Disconnect(Box<Goodbye>),
}

#[derive(Debug)]
pub(crate) struct SubscribeCommand {
    /// `None` if there is none to be made.
    pub(crate) stream: Option<StreamId>,
    pub(crate) filters: Vec<SubscribeFilter>,
    pub(crate) properties: SubscribeProperties,
    pub(crate) reply: Reply<SubAck>,
}

#[derive(Debug)]
pub(crate) struct UnsubscribeCommand {
    pub(crate) filters: Vec<TopicFilter>,
    pub(crate) properties: UnsubscribeProperties,
    /// Nobody waits for the driver's own requests.
    pub(crate) reply: Option<Reply<UnsubAck>>,
}

/// Where the answer to a request goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Unanswered>>;

/// Why a request has no answer though the connection goes on.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// It was not sent.
    Failed(RequestFailed),
    /// The server took longer than this.
    TimedOut(Duration),
}

/// How to end the connection.
#[derive(Debug)]
pub(crate) struct Goodbye {
    pub(crate) reason: ReasonCode,
    pub(crate) properties: DisconnectProperties,
    /// `None` if the last handle is gone: nobody waits.
    pub(crate) reply: Option<oneshot::Sender<()>>,
}

/// Tells whoever still waits that no answer came in time.
pub(crate) fn refuse<T>(reply: Option<oneshot::Sender<Result<T, Unanswered>>>, limit: Duration) {
    if let Some(reply) = reply {
        let _ = reply.send(Err(Unanswered::TimedOut(limit)));
    }
}
