//! What packets lead to: the machine of a connection, and the broker behind it.
//!
//! Everything here is synchronous and writes into the output that it is given. Relates to: `connection.rs`, which owns
//! the socket and calls this. Leaves out: bytes, waiting, and what the broker does with a message.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gantline_protocol::{
    AuthenticationStep, Disconnect, DisconnectProperties, Moment, NotSent, Outbound, Output, PacketType, QoS,
    ReasonCode, Receipt, Received, Rule, ServerConnection, SubscriptionIds, Violation,
};
use gantline_transport::{Late, Taken, Turn};

use crate::authentication::Authentication;
use crate::broker::Broker;
use crate::broker::alarms::Due;
use crate::broker::counters::Tally;
use crate::broker::publication::Publication;
use crate::broker::retained::{Page, Retained};
use crate::broker::sessions::Ending;
use crate::broker::slot::{ClientSlot, Order};
use crate::claim::SessionLease;
use crate::events::{DisconnectCause, DropCause};
use crate::intercepted::Interception;
use crate::notices;
use crate::publishing::{Publishing, TRIM_AFTER};

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said goodbye.
    Left(ReasonCode),
    /// The client closed the connection or its half of it, the network failed, or a layer below MQTT was broken.
    Lost,
    /// The client broke the protocol.
    Violated(Violation),
    /// We end it.
    Kicked(ReasonCode),
    /// The server stops.
    Stopped,
}

impl End {
    /// The same for the application.
    pub(crate) fn cause(&self) -> DisconnectCause {
        match self {
            Self::Left(reason) => DisconnectCause::Left(*reason),
            Self::Lost => DisconnectCause::Lost,
            Self::Violated(violation) => DisconnectCause::Violated(*violation),
            Self::Kicked(ReasonCode::SessionTakenOver) => DisconnectCause::TakenOver,
            Self::Kicked(reason) => DisconnectCause::Kicked(*reason),
            Self::Stopped => DisconnectCause::Stopped,
        }
    }
}

/// The machine of a connection and what it needs of the broker.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Of a server with hooks. It gives messages back to the queue when it is dropped, so it is dropped before the
    /// machine gives the session back.
    pub(crate) interception: Option<Box<Interception>>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) slot: Arc<ClientSlot>,
    pub(crate) machine: ServerConnection<SessionLease>,
    pub(crate) publishing: Publishing,
    /// Acknowledgements that are kept while the client is held back.
    held: Option<Vec<(Receipt, ReasonCode)>>,
    /// The layout of what the client publishes.
    has_properties: bool,
    pub(crate) tally: Tally,
    /// Whether somebody listened to what happens to messages when this turn began.
    is_watched: bool,
    /// Of a client that named a method in CONNECT. It holds user code, so it is dropped last.
    authentication: Option<Box<Authentication>>,
}

impl Exchange {
    pub(crate) fn new(
        broker: Arc<Broker>,
        machine: ServerConnection<SessionLease>,
        authentication: Option<Box<Authentication>>,
        interception: Option<Box<Interception>>,
    ) -> Self {
        let slot = Arc::clone(machine.session().slot());
        let has_properties = machine.limits().version.has_properties();
        Self {
            interception,
            broker,
            slot,
            machine,
            publishing: Publishing::default(),
            held: None,
            has_properties,
            tally: Tally::default(),
            is_watched: false,
            authentication,
        }
    }

    // ---- what comes ----

    /// A turn begins.
    pub(crate) fn begin(&mut self) {
        self.is_watched = self.broker.events.messages.is_heard();
    }

    /// Handles one packet; says whether the next one may be handled now, too. A hook that takes its time wakes `waker`.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        now: Moment,
        waker: &Waker,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Turn, End> {
        if frame.first().is_some_and(|first| first >> 4 == PacketType::Publish.value()) {
            return self.receive_publish(now, waker, frame, out);
        }
        // Matched in one go: what came is large, and need not be moved to be looked at.
        match self.machine.receive(now, frame, out) {
            Err(violation) => return Err(End::Violated(violation)),
            Ok(Received::Handled) => self.tally.pings += u16::from(frame.first() == Some(&PINGREQ)),
            // Moved out, so that what is dropped is known to be this variant.
            Ok(Received::Acked(acked)) => {
                self.tally.unanswered += 1;
                if self.is_watched {
                    notices::delivered(&self.broker, &self.slot, &acked);
                }
                drop(acked);
            }
            Ok(Received::Subscribe(subscribe)) => {
                self.publishing.hand_over(&self.broker, now);
                return self.subscribe(subscribe, waker, out);
            }
            Ok(Received::Unsubscribe(unsubscribe)) => {
                self.publishing.hand_over(&self.broker, now);
                return self.unsubscribe(unsubscribe, waker, out);
            }
            Ok(Received::Disconnect(disconnect)) => return Err(self.leave(&disconnect)),
            Ok(Received::Auth(auth)) => {
                self.tally.unanswered += 1;
                match &mut self.authentication {
                    Some(authentication) => authentication.receive(auth).map_err(End::Violated)?,
                    // Nothing was agreed on at CONNECT [MQTT-4.12.0-6].
                    None => {
                        let violation = Violation::new(Rule::AuthenticationNotStarted);
                        return Err(End::Violated(violation.in_packet(PacketType::Auth)));
                    }
                }
            }
            // The machine of a server returns nothing else.
            Ok(other) => debug_assert!(false, "{other:?}"),
        }
        Ok(Turn::Continue)
    }

    #[inline]
    fn receive_publish(
        &mut self,
        now: Moment,
        waker: &Waker,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Turn, End> {
        // Borrowed, as in `receive`.
        let received = self.machine.receive_publish(now, frame, out);
        let (packet, receipt) = match &received {
            Ok(Some((packet, receipt))) => (packet, *receipt),
            Ok(None) => return Ok(Turn::Continue),
            Err(violation) => return Err(End::Violated(*violation)),
        };
        self.tally.receive(receipt.delivery().qos(), frame.len());
        let Self { interception, broker, slot, publishing, .. } = self;
        let reason = if broker.topic_bounds.are_in_doubt(packet.topic)
            && let Some(reason) = notices::topic_refused(broker, slot, packet.topic)
        {
            reason
        } else {
            let mut publication = Publication::of_packet(packet, frame, self.has_properties, now);
            if self.is_watched {
                notices::received(broker, slot, &mut publication, now);
            }
            if let Some(interception) = interception {
                let what = (&mut publication, receipt);
                match interception.publish(broker, publishing, what, now, waker)? {
                    Some(reason) => reason,
                    None => return Ok(Turn::Stop),
                }
            } else {
                publishing.publish(broker, slot, &mut publication, now)
            }
        };
        self.acknowledge(receipt, reason, out);
        Ok(Turn::Continue)
    }

    /// Acknowledges a message, now or when the client is no longer held back.
    #[inline]
    pub(crate) fn acknowledge(&mut self, receipt: Receipt, reason: ReasonCode, out: &mut Vec<u8>) {
        match &mut self.held {
            None => self.machine.acknowledge(receipt, reason, out),
            Some(held) if receipt.delivery().qos() > QoS::AtMostOnce => held.push((receipt, reason)),
            Some(_) => {}
        }
    }

    /// Hands over what was published in this turn. Whoever gets it is woken later: see
    /// [`After`](crate::broker::publish::After).
    pub(crate) fn settle(&mut self, now: Moment) {
        self.publishing.hand_over(&self.broker, now);
    }

    /// Keeps acknowledgements from now on.
    pub(crate) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Gives the acknowledgements that were kept, and those to come at once.
    pub(crate) fn release(&mut self, out: &mut Vec<u8>) {
        for (receipt, reason) in self.held.take().unwrap_or_default() {
            self.machine.acknowledge(receipt, reason, out);
        }
    }

    /// Gives memory back if the client has stopped publishing; else looks again later.
    pub(crate) fn trim(&mut self, now: Moment) {
        if std::mem::take(&mut self.publishing.publishes) {
            let alarm = now.plus(TRIM_AFTER);
            self.broker.set_alarm(&self.slot, self.machine.session().epoch(), Due::Trim, alarm, now);
        } else {
            self.publishing.publisher = None;
            self.machine.trim();
        }
    }

    fn leave(&mut self, disconnect: &Disconnect) -> End {
        self.tally.unanswered += 1;
        if let Some(expiry) = disconnect.properties.session_expiry_interval {
            self.machine.session_mut().set_expiry(expiry);
        }
        End::Left(disconnect.reason)
    }

    /// Lets the method of a client that authenticates again take its step. Returns whether something was said.
    ///
    /// # Errors
    ///
    /// The client is refused, and with that its connection is over [MQTT-4.12.1-2].
    pub(crate) fn authenticate(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Result<bool, End> {
        let Some(authentication) = &mut self.authentication else { return Ok(false) };
        let Poll::Ready(step) = authentication.poll(cx) else { return Ok(false) };
        let client = self.slot.id();
        let (reason, data) = match step {
            AuthenticationStep::Continue(data) => (ReasonCode::ContinueAuthentication, data),
            AuthenticationStep::Done(data) => (ReasonCode::Success, data),
            AuthenticationStep::Refuse(reason) => {
                tracing::info!(
                    name: "client.reauthentication_refused",
                    %client,
                    %reason,
                    "refused when it authenticated again"
                );
                return Err(End::Kicked(reason));
            }
        };
        if let Err(error) = self.machine.auth(&authentication.packet(reason, data), out) {
            tracing::error!(
                name: "authentication.unsendable",
                %client,
                %error,
                "a step of authentication cannot be sent"
            );
            return Err(End::Kicked(ReasonCode::UnspecifiedError));
        }
        tracing::debug!(name: "client.reauthenticates", %client, %reason, "authenticates again");
        Ok(true)
    }

    // ---- what goes ----

    /// Adds what was counted to the sums.
    pub(crate) fn account(&mut self, now: Moment) {
        self.tally.routed += std::mem::take(&mut self.publishing.routed);
        let record = &self.slot.record;
        self.tally.settle(&self.broker.counters, record, now);
        record.set_inflight(self.machine.inflight());
    }

    /// Sends what was taken from the mailbox. What cannot be sent now goes back to its front.
    ///
    /// # Errors
    ///
    /// A hook ends the connection.
    pub(crate) fn send(
        &mut self,
        now: Moment,
        taken: &mut Taken<Order>,
        cx: &mut Context<'_>,
        out: &mut impl Output,
    ) -> Result<(), End> {
        if self.interception.as_ref().is_some_and(|interception| interception.sees_deliveries()) {
            debug_assert!(taken.finished == 0, "every message is made for a receiver that works on it");
            let late = taken.late.drain(..).filter_map(|late| match late {
                Late::Message(message) => Some(message),
                Late::Finished(..) => None,
            });
            self.intercept_deliveries(late.chain(taken.queue.drain(..)));
            return self.deliver(now, cx, out).map(drop);
        }
        let (mut expired, mut refused) = (0, 0);
        let mut sent = std::mem::take(&mut taken.finished);
        for late in taken.late.drain(..) {
            match late {
                Late::Finished(frames, count) => {
                    out.bytes().extend_from_slice(&frames);
                    sent += count;
                }
                Late::Message(message) if message.is_expired(now) => expired += 1,
                Late::Message(message) => match self.machine.publish_once(now, &message, out) {
                    Ok(()) => sent += 1,
                    Err(_) => refused += 1,
                },
            }
        }
        self.tally.send(QoS::AtMostOnce, sent);
        let mut back = Vec::new();
        // Counted beforehand, because that is cheaper than to remember the QoS of what is handed over.
        let mut exactly_once: u32 = taken.queue.iter().map(is_exactly_once).sum();
        let mut total = taken.queue.len() as u32;
        for message in taken.queue.drain(..) {
            if message.is_expired(now) {
                total -= 1;
                exactly_once -= is_exactly_once(&message);
                expired += 1;
                continue;
            }
            match self.machine.publish(now, message, out) {
                Ok(()) => {}
                Err(NotSent::NoQuota(message)) => {
                    total -= 1;
                    exactly_once -= is_exactly_once(&message);
                    back.push(message);
                }
                // [MQTT-3.1.2-25]: as if it had been sent.
                Err(not_sent) => {
                    total -= 1;
                    exactly_once -= is_exactly_once(&not_sent.into_message());
                    refused += 1;
                }
            }
        }
        self.tally.send(QoS::AtLeastOnce, total - exactly_once);
        self.tally.send(QoS::ExactlyOnce, exactly_once);
        if !back.is_empty() {
            self.slot.mailbox.put_back(back.into_iter());
        }
        self.broker.counters.expired.add(expired);
        self.broker.count_lost(&self.slot, DropCause::TooLarge, refused);
        Ok(())
    }

    /// Sends retained messages, as far as the client takes them and no more than `bytes`, but for the first. Returns
    /// whether something was done.
    pub(crate) fn replay(&mut self, now: Moment, bytes: usize, out: &mut impl Output) -> bool {
        let quota = self.machine.quota();
        let Some(replay) = self.machine.session_mut().session_mut().current_replay() else { return false };
        let most =
            if replay.qos == QoS::AtMostOnce { MOST_REPLAYED } else { MOST_REPLAYED.min(quota.into()) };
        if most == 0 {
            return false;
        }
        let (qos, ids) = (replay.qos, replay.id.and_then(|id| SubscriptionIds::new(&[id.get()])));
        let mut messages = Vec::new();
        let tree = self.broker.retained.read();
        let page =
            tree.page(replay.filter.pattern(), replay.after.as_deref(), now, most, bytes, &mut messages);
        drop(tree);
        match page {
            Page::More { last } => replay.after = Some(last),
            Page::Done => {
                let filter = replay.filter.clone();
                self.machine.session_mut().session_mut().stop_replay(&filter);
            }
        }
        let messages = messages.into_iter().map(|Retained { frame, qos: published, expires }| {
            let qos = published.min(qos);
            Outbound { frame, subscription_ids: ids.clone(), expires, tag: 0, qos, retain: true }
        });
        if self.interception.as_ref().is_some_and(|interception| interception.sees_deliveries()) {
            self.intercept_deliveries(messages);
            return true;
        }
        let mut refused = 0;
        for message in messages {
            let qos = message.qos;
            // The quota was asked for, so that nothing but its size can be in the way.
            match self.machine.publish(now, message, out) {
                Ok(()) => self.tally.send(qos, 1),
                Err(_) => refused += 1,
            }
        }
        self.broker.count_lost(&self.slot, DropCause::TooLarge, refused);
        true
    }

    // ---- the end ----

    /// Says goodbye where the end is ours to explain, and tells the session how it ends. Returns whether there is
    /// something to be written.
    pub(crate) fn end(&mut self, end: &End, out: &mut Vec<u8>) -> bool {
        // What was taken with QoS 2 must not be taken again when the client comes back [MQTT-4.3.3-10].
        self.release(out);
        let nothing = DisconnectProperties::default();
        let (ending, speaks) = match end {
            End::Left(ReasonCode::Success) => (Ending::WithoutWill, false),
            End::Left(_) | End::Lost => (Ending::WithWill, false),
            End::Violated(violation) => {
                // Silence is nobody's fault.
                if violation.rule != Rule::KeepAliveExpired {
                    self.broker.counters.violations.add(1);
                }
                self.machine.goodbye(violation, out);
                (Ending::WithWill, true)
            }
            End::Kicked(reason) => {
                self.machine.disconnect(*reason, &nothing, out);
                (Ending::WithWill, true)
            }
            End::Stopped => {
                self.machine.disconnect(ReasonCode::ServerShuttingDown, &nothing, out);
                (Ending::WithoutWill, true)
            }
        };
        self.machine.session_mut().ends(ending);
        speaks
    }
}

#[inline]
fn is_exactly_once(message: &Outbound) -> u32 {
    u32::from(message.qos == QoS::ExactlyOnce)
}

/// The first byte of a PINGREQ.
const PINGREQ: u8 = 0xC0;
/// Retained messages that are read under one lock.
const MOST_REPLAYED: usize = 256;
