//! Claiming a session: the one door to it that waits.
//!
//! [`claim`] gives a [`SessionLease`], whose end gives the session back, whatever ends it: the connection, a panic, or
//! a runtime that is dropped with its tasks. Claims of one client id are served in the order in which they came. A
//! claim makes the holder end its connection at once, so it waits for no peer.
//!
//! Relates to: `broker/sessions.rs`, the queue and the rules; the machine, which owns the lease of its connection.
//! Leaves out: what a claim is for.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use gantline_protocol::{ClientId, Moment, Session};
use gantline_transport::Clock;

use crate::broker::Broker;
use crate::broker::session::ClientSession;
use crate::broker::sessions::{Ending, Terms};
use crate::broker::slot::ClientSlot;

/// Waits for the session of a client. Cancel-safe: dropped, it takes nothing. The holder is told to go in either case,
/// as soon as this is called: that is what a CONNECT with its client id does [MQTT-3.1.4-3].
pub(crate) fn claim(broker: &Arc<Broker>, clock: Clock, id: &ClientId) -> Claiming {
    static TICKETS: AtomicU64 = AtomicU64::new(0);
    // The number only has to be a new one.
    let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
    let slot = loop {
        let slot = broker.clients.get_or_insert(id, || broker.new_slot(id.clone()));
        // A slot that was removed meanwhile is in the table no more.
        if broker.enqueue_claim(&slot, ticket).is_ok() {
            break slot;
        }
    };
    Claiming { broker: Arc::clone(broker), clock, slot, ticket, granted: false }
}

/// The future of [`claim`].
#[derive(Debug)]
pub(crate) struct Claiming {
    broker: Arc<Broker>,
    clock: Clock,
    slot: Arc<ClientSlot>,
    ticket: u64,
    granted: bool,
}

impl Future for Claiming {
    type Output = SessionLease;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SessionLease> {
        let Poll::Ready(loan) = self.broker.poll_claim(&self.slot, self.ticket, cx.waker()) else {
            return Poll::Pending;
        };
        self.granted = true;
        Poll::Ready(SessionLease {
            broker: Arc::clone(&self.broker),
            clock: self.clock,
            slot: Arc::clone(&self.slot),
            session: loan.session,
            epoch: loan.epoch,
            ending: Ending::Unused,
            connected: false,
            expiry: 0,
            expiry_max: u32::MAX,
        })
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        if !self.granted {
            self.broker.withdraw_claim(&self.slot, self.ticket);
        }
    }
}

/// The session while it is lent.
#[derive(Debug)]
pub(crate) struct SessionLease {
    broker: Arc<Broker>,
    clock: Clock,
    slot: Arc<ClientSlot>,
    session: Box<ClientSession>,
    epoch: u32,
    ending: Ending,
    /// Whether there is a connection.
    connected: bool,
    expiry: u32,
    /// What the expiry may be raised to.
    expiry_max: u32,
}

impl SessionLease {
    /// Begins the connection; returns whether the session goes on from an earlier one. From here on the end of the
    /// lease is the end of a connection that was lost, unless [`ends`](Self::ends) says otherwise.
    pub(crate) fn begin(&mut self, terms: &Terms<'_>, now: Moment) -> bool {
        self.expiry = terms.limits.session_expiry_interval;
        self.expiry_max = terms.session_expiry_max;
        self.ending = Ending::WithWill;
        self.connected = true;
        self.broker.counters.clients.rise();
        self.broker.begin(&self.slot, &mut self.session, terms, now)
    }

    /// Says how the connection ends.
    pub(crate) const fn ends(&mut self, ending: Ending) {
        self.ending = ending;
    }

    /// Changes how many seconds the session outlives the connection, within the terms of the connection.
    pub(crate) fn set_expiry(&mut self, seconds: u32) {
        self.expiry = seconds.min(self.expiry_max);
    }

    /// Whose session it is.
    pub(crate) const fn slot(&self) -> &Arc<ClientSlot> {
        &self.slot
    }

    /// The number of the loan.
    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether retained messages are to be replayed.
    #[inline]
    pub(crate) fn has_replay(&self) -> bool {
        self.session.has_replay()
    }

    /// The whole of it.
    pub(crate) fn session_mut(&mut self) -> &mut ClientSession {
        &mut self.session
    }
}

impl Deref for SessionLease {
    type Target = Session;

    #[inline]
    fn deref(&self) -> &Session {
        &self.session.flows
    }
}

impl DerefMut for SessionLease {
    #[inline]
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session.flows
    }
}

impl Drop for SessionLease {
    fn drop(&mut self) {
        if self.connected {
            self.broker.counters.clients.fall();
        }
        let session = std::mem::take(&mut self.session);
        self.broker.take_back(&self.slot, session, self.ending, self.expiry, self.clock.now());
    }
}

#[cfg(all(test, shuttle))]
mod models;
