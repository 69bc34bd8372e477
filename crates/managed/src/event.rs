//! Events: what happens to a managed client, for whoever listens.
//!
//! Each listener has a bounded share of one queue, so that one that is slow disturbs nobody. Leaves out: received messages,
//! which are streams.

use std::sync::Arc;

use gantline_client::{ConnectError, DisconnectCause, SubscribeError, UnsubscribeError};
use gantline_protocol::{ReasonCode, StoreError, TopicFilter};
use gantline_transport::Address;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::outbox_store::MessageId;
use crate::outcome::{DropReason, Outcome};
use crate::state::State;

/// Something that happened to a managed client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ManagedEvent {
    /// It is doing something else now.
    StateChanged(State),
    /// An attempt to connect failed.
    ConnectingFailed {
        /// Why.
        error: ConnectError,
        /// Where to, if the options have an address.
        server: Option<Address>,
    },
    /// A connection has ended.
    Disconnected {
        /// Why.
        cause: DisconnectCause,
    },
    /// A server sent us to another one, and we go there.
    Referred {
        /// The other server.
        server: Address,
    },
    /// A message is done with: delivered, rejected or indeterminate.
    Processed {
        /// Which.
        id: MessageId,
        /// What became of it.
        outcome: Outcome,
    },
    /// A message was dropped.
    Skipped {
        /// Which; `None` if the client was stopped, so that it got no id.
        id: Option<MessageId>,
        /// Why.
        reason: DropReason,
    },
    /// The server refused filters. They are asked for again on the next connection.
    FiltersRefused {
        /// Each filter and why.
        filters: Vec<(TopicFilter, ReasonCode)>,
    },
    /// Filters could not be subscribed to, because the request breaks a rule or a limit of the server. They are asked for again
    /// on the next connection.
    SubscribingFailed {
        /// The filters.
        filters: Vec<TopicFilter>,
        /// Why.
        error: Arc<SubscribeError>,
    },
    /// Filters could not be unsubscribed from.
    UnsubscribingFailed {
        /// The filters.
        filters: Vec<TopicFilter>,
        /// Why.
        error: Arc<UnsubscribeError>,
    },
    /// The store of the outbox failed. What it failed to do comes again, save new messages, which are rejected.
    StoreFailed(StoreError),
    /// Received messages were lost, because the application did not take them in time.
    MessagesDropped {
        /// The filters of the stream; empty for [`ManagedClient::messages`](crate::ManagedClient::messages).
        filters: Arc<[String]>,
        /// How many.
        count: u64,
    },
    /// Messages came that no stream wants; they were acknowledged and dropped.
    MessagesUnclaimed {
        /// How many.
        count: u64,
    },
}

/// A stream of [`ManagedEvent`]s from when it was made. Ends when the last handle of the client is gone.
///
/// A listener may fall behind by 1,024 events; then the oldest give way.
#[derive(Debug)]
pub struct ManagedEvents {
    receiver: broadcast::Receiver<ManagedEvent>,
    missed: u64,
}

impl ManagedEvents {
    pub(crate) const fn new(receiver: broadcast::Receiver<ManagedEvent>) -> Self {
        Self { receiver, missed: 0 }
    }

    /// The next event; `None` when the client is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<ManagedEvent> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// How many events gave way because this stream was not read.
    pub const fn missed(&self) -> u64 {
        self.missed
    }
}

/// How far a listener may fall behind.
pub(crate) const MOST_EVENTS: usize = 1024;
