//! The place of a connection among those that the server admits, from accepting it to closing it.
//!
//! Relates to: the accept loop, which asks for one; [`shutdown`](crate::RunningServer::shutdown), which waits until all
//! are given back. Leaves out: who the client is.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::broker::Broker;

/// A connection that counts. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Admission {
    broker: Arc<Broker>,
    /// Whether it is one too many: it is told so and ends.
    pub(crate) exceeds: bool,
    /// The end of all of them is the end of the channel.
    _alive: mpsc::Sender<()>,
}

impl Admission {
    /// Admits a connection; `None` if there are so many above the bound that there is no time to tell it.
    pub(crate) fn new(broker: &Arc<Broker>, alive: &mpsc::Sender<()>) -> Option<Self> {
        broker.counters.accepted.add(1);
        let (open, most) = (broker.counters.connections.rise(), broker.options.max_connections);
        let admission = Self { broker: Arc::clone(broker), exceeds: open > most, _alive: alive.clone() };
        if admission.exceeds {
            broker.counters.refused.add(1);
        }
        (open <= most.saturating_add(REFUSED_AT_ONCE)).then_some(admission)
    }

    pub(crate) fn broker(&self) -> Arc<Broker> {
        Arc::clone(&self.broker)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.broker.counters.connections.fall();
    }
}

/// How many connections above the bound are told so at a time; others are closed without a word.
const REFUSED_AT_ONCE: usize = 64;
