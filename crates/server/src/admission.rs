//! The place of a connection among those that the server admits, from accepting it to closing it.
//!
//! Relates to: the accept loop, which asks for one; [`shutdown`](crate::RunningServer::shutdown), which waits until all
//! are given back. Leaves out: who the client is.

use std::net::IpAddr;
use std::sync::Arc;

use gantline_transport::PeerInfo;
use tokio::sync::mpsc;

use crate::broker::Broker;

/// A connection that counts. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Admission {
    broker: Arc<Broker>,
    /// Whether it is one too many: it is told so and ends.
    pub(crate) exceeds: bool,
    /// Among whose connections it counts, if these are bounded.
    address: Option<Box<IpAddr>>,
    /// The end of all of them is the end of the channel.
    _alive: mpsc::Sender<()>,
}

impl Admission {
    /// Admits a connection; `None` if there are so many above the bound that there is no time to tell it.
    pub(crate) fn new(broker: &Arc<Broker>, alive: &mpsc::Sender<()>) -> Option<Self> {
        broker.counters.accepted.add(1);
        let (open, most) = (broker.counters.connections.rise(), broker.options.max_connections);
        let admission =
            Self { broker: Arc::clone(broker), exceeds: open > most, address: None, _alive: alive.clone() };
        if admission.exceeds {
            broker.counters.refused.add(1);
        }
        (open <= most.saturating_add(REFUSED_AT_ONCE)).then_some(admission)
    }

    /// The other end is known, which behind a load balancer is so only now. If there are too many connections of its
    /// address, this one is one too many.
    pub(crate) fn comes_from(&mut self, peer: &PeerInfo) {
        let most = self.broker.options.max_connections_per_address;
        let Some(socket) = peer.peer().socket().filter(|_| most < usize::MAX) else { return };
        if self.broker.addresses.enter(socket.ip(), most) {
            self.address = Some(Box::new(socket.ip()));
        } else {
            self.broker.counters.refused_addresses.add(1);
            self.exceeds = true;
        }
    }

    pub(crate) fn broker(&self) -> Arc<Broker> {
        Arc::clone(&self.broker)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(address) = &self.address {
            self.broker.addresses.leave(**address);
        }
        self.broker.counters.connections.fall();
    }
}

/// How many connections above the bound are told so at a time; others are closed without a word.
const REFUSED_AT_ONCE: usize = 64;
