//! What all handles of a running server share, and the last one takes along.
//!
//! Relates to: [`RunningServer`](crate::RunningServer), a handle; `accepting.rs`, which it must not keep waiting.
//! Leaves out: what handles do with it.

use std::sync::Arc;

use gantline_protocol::ReasonCode;
use gantline_transport::{Address, Clock};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::accepting::Door;
use crate::broker::Broker;
use crate::broker::slot::Order;
use crate::listening::Layers;
use crate::persistence::Persistence;

/// What all handles share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Clock,
    pub(crate) addresses: Vec<Address>,
    pub(crate) stopping: watch::Sender<bool>,
    /// Held by every task that has to end before the server has stopped; `None` once it stops.
    pub(crate) alive: Mutex<Option<mpsc::Sender<()>>>,
    pub(crate) ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
    /// Tasks that do not end by themselves.
    pub(crate) keepers: Mutex<Vec<AbortHandle>>,
    pub(crate) persistence: Option<Persistence>,
    pub(crate) layers: Layers,
}

impl Core {
    /// `None` once the server stops.
    pub(crate) fn door(&self) -> Option<Door> {
        let alive = self.alive.lock().clone()?;
        let broker = Arc::clone(&self.broker);
        Some(Door { broker, clock: self.clock, stopping: self.stopping.subscribe(), alive })
    }

    /// No more connections are accepted, and hand-shakes end.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
        drop(self.alive.lock().take());
    }

    /// Gives an order to every connection.
    pub(crate) fn order(&self, order: Order) {
        for slot in self.broker.clients.all().into_iter().chain(self.broker.locals()) {
            if let Some(waker) = slot.mailbox.push_control(order) {
                waker.wake();
            }
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop();
        self.order(Order::Shutdown);
        // There is nobody who could set a deadline.
        self.order(CUT_OFF);
        self.keepers.lock().iter().for_each(AbortHandle::abort);
    }
}

/// Behind [`Order::Shutdown`]: waits for nothing more.
pub(crate) const CUT_OFF: Order = Order::Kick(ReasonCode::ServerShuttingDown);
