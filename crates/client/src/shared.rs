//! What handles, streams and the driver of one client share.
//!
//! Several small locks, each held for a few instructions and none while user code runs or a waker is woken. Order:
//! `dispatch`, then an inbox, then `settled`; `pending`, then the mailbox; the others are never held together. Relates
//! to: `driver.rs`, which drains the mailbox, and `session.rs`, which says who has the session. Leaves out: IO.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use gantline_protocol::session::Lost;
use gantline_protocol::{
    Bounds, Head, Limits, Message, Moment, Outbound, ProtocolVersion, QoS, ReasonCode, Receipt,
};
use gantline_transport::{Budget, Clock, Mailbox, MailboxLimits, Overflow};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::command::Command;
use crate::dispatch::{Dispatch, Effects};
use crate::error::{ConnectionLost, DisconnectCause, Progress, PublishError};
use crate::event::Listeners;
use crate::features;
use crate::inbox::{Gauge, Inbox, StreamBounds};
use crate::journal::Journal;
use crate::options::ConnectOptions;
use crate::pending::{Outcome, Patience, Pending, Room, Rooms};
use crate::session::Station;

/// The state behind all handles of a client. It outlives connections; a driver lives as long as one.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) mailbox: Mailbox<Command>,
    pub(crate) pending: Mutex<Pending>,
    pub(crate) rooms: Rooms,
    pub(crate) dispatch: Mutex<Dispatch>,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) listeners: Listeners,
    pub(crate) station: Mutex<Station>,
    /// The way to the store of the session, if it has one.
    pub(crate) journal: Option<Arc<Journal>>,
    /// Told when the session is given back.
    pub(crate) idle: Notify,
    /// Receipts that the application is done with and the driver has not seen: those that were given back by hand, and
    /// those of streams that are gone. The others lie with their streams.
    settled: Mutex<Vec<(Receipt, ReasonCode)>>,
    terms: Terms,
    pub(crate) clock: Clock,
}

/// What became of an attempt to accept a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It is on its way and nobody has to wait (QoS 0).
    Done,
    /// It is on its way; the slot of this tag tells the outcome.
    Waits(u32),
    /// There is no room now.
    Full,
}

/// There is no connection that takes orders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotOpen;

impl Shared {
    pub(crate) fn new(options: ConnectOptions) -> Arc<Self> {
        let limits = mailbox_limits(&options);
        let mailbox = Mailbox::new(limits, Arc::new(Budget::unlimited()));
        mailbox.park(limits);
        let clock = Clock::new();
        let store = options.session_store.clone();
        let journal = store.map(|store| Journal::new(store, options.session_durability, clock));
        Arc::new(Self {
            mailbox,
            pending: Mutex::default(),
            rooms: Rooms::default(),
            dispatch: Mutex::default(),
            gauge: Arc::default(),
            listeners: Listeners::default(),
            station: Mutex::new(Station::new(options)),
            journal,
            idle: Notify::new(),
            settled: Mutex::default(),
            terms: Terms::default(),
            clock,
        })
    }

    // ---- publishing ----

    /// The message as it travels, if the present connection can carry it.
    pub(crate) fn outbound(&self, message: &Message) -> Result<Outbound, PublishError> {
        message.check()?;
        if self.terms.lacks_properties()
            && let Some(property) = features::property_of(message)
            && let Some(version) = self.strict_version()
        {
            return Err(PublishError::NotInVersion { property, version });
        }
        let expires = message.properties().message_expiry_interval.is_some();
        let outbound = Outbound::new(message, if expires { self.clock.now() } else { Moment::ZERO });
        self.terms.check(&outbound)?;
        Ok(outbound)
    }

    /// Tries to put a message into the mailbox.
    pub(crate) fn accept(&self, message: &Outbound, patience: Patience) -> Result<Accepted, PublishError> {
        if message.qos == QoS::AtMostOnce {
            if !self.terms.is_connected() {
                return Err(PublishError::NotConnected);
            }
            let pushed = self.mailbox.push_late(message.clone());
            if let Some(driver) = pushed.wake {
                driver.wake();
            }
            return Ok(if pushed.dropped > 0 { Accepted::Full } else { Accepted::Done });
        }
        let mut pending = self.pending.lock();
        if !pending.open {
            return Err(PublishError::NotConnected);
        }
        let (tag, mut order) = (pending.reserve(patience), None);
        let pushed = self.mailbox.push_queue(Outbound { tag, ..message.clone() });
        let accepted = if pushed.dropped > 0 {
            pending.cancel(tag);
            Accepted::Full
        } else {
            if pending.time(tag, || self.clock.now()) {
                // Not every message wakes the driver.
                order = self.mailbox.push_control(Command::Acknowledge);
            }
            Accepted::Waits(tag)
        };
        drop(pending);
        if let Some(driver) = pushed.wake.or(order) {
            driver.wake();
        }
        Ok(accepted)
    }

    /// The line of those who wait for room at this QoS.
    pub(crate) const fn room(&self, qos: QoS) -> &Room {
        self.rooms.of(qos)
    }

    pub(crate) fn poll_outcome(&self, tag: u32, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.pending.lock().poll(tag, cx)
    }

    pub(crate) fn give_up(&self, tag: u32) {
        self.pending.lock().give_up(tag);
    }

    // ---- orders ----

    /// Orders something from the driver.
    pub(crate) fn order(&self, command: Command) -> Result<(), NotOpen> {
        let pending = self.pending.lock();
        if !pending.open {
            drop(pending);
            return Err(NotOpen);
        }
        let driver = self.mailbox.push_control(command);
        drop(pending);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }

    /// The application is done with a message.
    pub(crate) fn settle(&self, done: Option<(Receipt, ReasonCode)>) {
        if done.is_some() && self.note(done) {
            self.order_acknowledging();
        }
    }

    /// Notes receipts, for who holds the lock of an inbox. Returns whether the driver has not heard that there are any.
    #[must_use = "nobody else orders to acknowledge them"]
    pub(crate) fn note(&self, done: impl IntoIterator<Item = (Receipt, ReasonCode)>) -> bool {
        let mut settled = self.settled.lock();
        let told = !settled.is_empty();
        settled.extend(done);
        !told
    }

    pub(crate) fn order_acknowledging(&self) {
        // Without a connection there is nobody to acknowledge to.
        let _ = self.order(Command::Acknowledge);
    }

    /// Tells the driver that there is something to [collect](Inbox::collect), or room again.
    pub(crate) fn order_collecting(&self, inbox: &Arc<Inbox>) {
        let _ = self.order(Command::Collect(Arc::clone(inbox)));
    }

    /// Moves the receipts that the application is done with to `receipts`.
    pub(crate) fn take_settled(&self, receipts: &mut Vec<(Receipt, ReasonCode)>) {
        receipts.append(&mut self.settled.lock());
    }

    /// What to tell whoever waited for an answer that will not come.
    pub(crate) fn lost(&self) -> ConnectionLost {
        let cause = self.station.lock().last_cause.clone().unwrap_or(DisconnectCause::RuntimeStopped);
        ConnectionLost { resent_on_resume: false, progress: Progress::Sent, cause }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.terms.is_connected()
    }

    /// The version of the present connection.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.station.lock().version
    }

    // ---- connections ----

    /// A connection is there: orders and messages are accepted from now on.
    pub(crate) fn open(&self, limits: &Limits, options: &ConnectOptions) {
        self.mailbox.open(mailbox_limits(options), 0);
        let mut pending = self.pending.lock();
        (pending.open, pending.timeout) = (true, options.operation_timeout);
        drop(pending);
        // Of earlier connections. Only now: what is left here without an order would keep others from ordering.
        self.settled.lock().clear();
        self.dispatch.lock().forget_settled();
        self.terms.set(limits.peer, limits.version.has_properties());
    }

    /// The connection says goodbye: nothing more is accepted.
    pub(crate) fn stop_accepting(&self) {
        self.station.lock().closing();
        self.terms.clear();
        self.pending.lock().open = false;
    }

    /// The connection is over: whoever waits is told.
    pub(crate) fn close(&self, cause: &DisconnectCause, session_kept: bool) {
        self.station.lock().closed(cause.clone());
        self.terms.clear();
        let mut pending = self.pending.lock();
        let unsent: Vec<u32> = self.mailbox.extract(|_| true).iter().map(|message| message.tag).collect();
        let wakers = pending.close(&unsent, cause, session_kept);
        drop(pending);
        // Dropping the orders that it still holds tells those who wait for them.
        self.mailbox.park(MailboxLimits::default());
        for waker in wakers {
            waker.wake();
        }
        self.rooms.close();
    }

    /// Waits until the store has all that has changed in the session.
    pub(crate) async fn flush_journal(&self) {
        if let Some(journal) = &self.journal
            && let Err(error) = journal.flush().await
        {
            tracing::warn!(%error, "the store does not have all of the session, it is tried again with the next connection");
        }
    }

    /// These flows will not be completed by any connection.
    pub(crate) fn abandon(&self, flows: &[Lost]) {
        if flows.is_empty() {
            return;
        }
        let cause = self.lost().cause;
        let wakers = self.pending.lock().abandon(flows, &cause);
        for waker in wakers {
            waker.wake();
        }
    }

    /// The last handle is gone and so is the connection: all streams end.
    pub(crate) fn end(&self) {
        let mut effects = Effects::default();
        self.dispatch.lock().end_all(&mut effects);
        self.perform(&mut effects);
        self.listeners.end();
    }

    /// As [`end`](Self::end), unless there is a connection, which does it when it is over.
    pub(crate) fn end_if_idle(&self) {
        if self.station.lock().is_idle() {
            self.end();
        }
    }

    /// Does what had to wait until no lock is held, receipts excepted.
    pub(crate) fn perform(&self, effects: &mut Effects) {
        for waker in effects.wakers.drain(..) {
            waker.wake();
        }
        for event in effects.events.drain(..) {
            self.listeners.tell(&event);
        }
    }
}

/// What the server accepts, in one word that every publisher reads: its Maximum Packet Size and a few flags.
///
/// It saves a message that cannot be sent the way to the driver. The machine has the last word.
#[derive(Debug, Default)]
struct Terms(AtomicU64);

impl Terms {
    const CONNECTED: u64 = 1 << 32;
    const RETAIN: u64 = 1 << 33;
    const PROPERTIES: u64 = 1 << 34;
    const QOS_SHIFT: u32 = 35;

    fn set(&self, peer: Bounds, properties: bool) {
        let mut word = u64::from(peer.maximum_packet_size) | Self::CONNECTED;
        word |= u64::from(peer.maximum_qos.value()) << Self::QOS_SHIFT;
        word |= if peer.retain_available { Self::RETAIN } else { 0 };
        word |= if properties { Self::PROPERTIES } else { 0 };
        self.0.store(word, Ordering::Release);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Release);
    }

    fn is_connected(&self) -> bool {
        self.0.load(Ordering::Acquire) & Self::CONNECTED != 0
    }

    /// Whether there is a connection on which messages have no properties.
    fn lacks_properties(&self) -> bool {
        self.0.load(Ordering::Acquire) & (Self::CONNECTED | Self::PROPERTIES) == Self::CONNECTED
    }

    fn check(&self, message: &Outbound) -> Result<(), PublishError> {
        let word = self.0.load(Ordering::Acquire);
        if word & Self::CONNECTED == 0 {
            return Err(PublishError::NotConnected);
        }
        if u64::from(message.qos.value()) > word >> Self::QOS_SHIFT {
            return Err(PublishError::NotOffered(ReasonCode::QoSNotSupported));
        }
        if message.retain && word & Self::RETAIN == 0 {
            return Err(PublishError::NotOffered(ReasonCode::RetainNotSupported));
        }
        // The lower half.
        let maximum = word as u32;
        // In memory a message is larger than on the wire, so most need no exact answer.
        if message.weight() > maximum as usize {
            let head = Head::of(message, message.expires);
            if message.frame.wire_len(&head, word & Self::PROPERTIES != 0) > maximum as usize {
                return Err(PublishError::TooLarge { maximum });
            }
        }
        Ok(())
    }
}

/// The bounds of the output. A message that does not fit is refused and its publisher waits.
fn mailbox_limits(options: &ConnectOptions) -> MailboxLimits {
    let StreamBounds { messages, bytes } = options.output_bounds;
    let (messages, bytes) = (clamp(messages), clamp(bytes));
    MailboxLimits {
        once_messages: messages,
        once_bytes: bytes,
        queue_messages: messages,
        queue_bytes: bytes,
        overflow: Overflow::DropNewest,
    }
}

fn clamp(bound: usize) -> u32 {
    u32::try_from(bound).unwrap_or(u32::MAX)
}
