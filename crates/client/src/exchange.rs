//! What packets and commands lead to: the machine, those who wait for its answers, and the streams.
//!
//! Everything here is synchronous and writes into the output that it is given. Relates to: `driver.rs`, which owns the
//! socket and calls this. Leaves out: time and bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gantline_protocol::{
    Acked, ClientConnection, Delivery, DisconnectProperties, Moment, NotSent, Outbound, Output, PacketId,
    PacketType, ReasonCode, Received, SubAck, TopicFilter, TopicName, UnsubAck, UnsubscribeProperties,
};
use gantline_transport::Turn;
use tokio::sync::oneshot;

use crate::command::{Reply, SubscribeCommand, Unanswered, UnsubscribeCommand, refuse};
use crate::deadlines::{Awaited, Deadlines};
use crate::dispatch::Effects;
use crate::error::{DisconnectCause, PublishError, PublishResult, RequestFailed, ServerGoodbye};
use crate::inbox::Inbox;
use crate::items::{Item, Items};
use crate::payloads::Payloads;
use crate::reauthenticate::{Order, Reauthentication};
use crate::recorder::Recorder;
use crate::session::Lease;
use crate::shared::Shared;
use crate::ticket::Ticket;

/// The machine and who waits for it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) machine: ClientConnection<Lease>,
    /// Where the session has a store.
    pub(crate) recorder: Option<Box<Recorder>>,
    requests: BTreeMap<PacketId, Request>,
    /// When requests and pings that were sent have waited for too long.
    deadlines: Deadlines,
    /// The pings that are not answered, and who wants to know: nobody, of those of the keep alive.
    pings: VecDeque<Option<Asked>>,
    reauthentication: Reauthentication,
    /// Messages that were received and not handed to the streams yet, and their payload bytes.
    arrived: Items,
    arrived_bytes: usize,
    delivered: bool,
    /// Of the last message: often the next one has the same.
    last_topic: Option<TopicName>,
    payloads: Payloads,
    effects: Effects,
}

/// A request that waits for its answer.
#[derive(Debug)]
enum Request {
    Subscribe(Option<Reply<SubAck>>),
    Unsubscribe {
        filters: Vec<TopicFilter>,
        /// Streams that ask later subscribe anew.
        mark: u64,
        reply: Option<Reply<UnsubAck>>,
    },
}

#[derive(Debug)]
struct Asked {
    reply: oneshot::Sender<Result<Duration, Unanswered>>,
    at: Moment,
    number: u64,
}

impl Exchange {
    pub(crate) fn new(
        shared: Arc<Shared>,
        machine: ClientConnection<Lease>,
        operation_timeout: Option<Duration>,
    ) -> Self {
        let recorder = shared.journal.clone().map(|journal| Box::new(Recorder::new(journal)));
        Self {
            shared,
            machine,
            recorder,
            requests: BTreeMap::new(),
            deadlines: Deadlines::new(operation_timeout),
            pings: VecDeque::new(),
            reauthentication: Reauthentication::default(),
            arrived: Items::new(),
            arrived_bytes: 0,
            delivered: false,
            last_topic: None,
            payloads: Payloads::default(),
            effects: Effects::default(),
        }
    }

    // ---- from the server ----

    /// Looks at one packet. Says whether the next one is to wait until a stream has been taken from.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub(crate) fn receive(
        &mut self,
        now: Moment,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Turn, DisconnectCause> {
        if self.recorder.is_none() {
            return self.handle(now, frame, out);
        }
        let watched = Recorder::watch(frame, self.machine.session());
        let turn = self.handle(now, frame, out)?;
        if let (Some(watched), Some(recorder)) = (watched, &mut self.recorder) {
            recorder.seen(watched, self.machine.session(), &self.shared.pending);
        }
        Ok(turn)
    }

    #[inline]
    fn handle(&mut self, now: Moment, frame: &[u8], out: &mut Vec<u8>) -> Result<Turn, DisconnectCause> {
        if frame.first().is_some_and(|first| first >> 4 == PacketType::Publish.value()) {
            self.handle_publish(now, frame, out)
        } else {
            self.handle_other(now, frame, out)
        }
    }

    #[inline]
    fn handle_publish(
        &mut self,
        now: Moment,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Turn, DisconnectCause> {
        let received = self.machine.receive_publish(now, frame, out);
        let Some((publish, receipt)) = received.map_err(DisconnectCause::ServerViolated)? else {
            return Ok(Turn::Continue);
        };
        let ticket = Ticket::sole((receipt.delivery() != Delivery::AtMostOnce).then_some(receipt));
        self.arrived_bytes += publish.payload.len();
        let payload = self.payloads.copy(publish.payload);
        let message = publish.to_message_with(&mut self.last_topic, payload);
        self.arrived.push_back(Item::new(message, ticket));
        if self.arrived.len() >= MOST_ARRIVED || self.arrived_bytes >= MOST_ARRIVED_BYTES {
            self.deliver();
            if self.shared.gauge.is_pressing() {
                return Ok(Turn::Stop);
            }
        }
        Ok(Turn::Continue)
    }

    fn handle_other(
        &mut self,
        now: Moment,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Turn, DisconnectCause> {
        match self.machine.receive(now, frame, out).map_err(DisconnectCause::ServerViolated)? {
            Received::Handled => {}
            Received::Acked(acked) => self.acked(acked),
            Received::SubAck(suback) => {
                if let Some(Request::Subscribe(Some(reply))) = self.requests.remove(&suback.packet_id) {
                    // Whoever waited may have gone; then its stream has gone too.
                    let _ = reply.send(Ok(suback));
                }
            }
            Received::UnsubAck(unsuback) => self.unsubscribed(unsuback),
            Received::Pong => {
                if let Some(Some(Asked { reply, at, .. })) = self.pings.pop_front() {
                    let _ = reply.send(Ok(now.since(at)));
                }
            }
            Received::Disconnect(goodbye) => {
                let (reason, properties) = (goodbye.reason, goodbye.properties);
                return Err(DisconnectCause::ByServer(Arc::new(ServerGoodbye { reason, properties })));
            }
            Received::Auth(auth) => {
                self.reauthentication.receive(auth).map_err(DisconnectCause::ServerViolated)?;
            }
            // No server sends the rest: the machine refuses it before.
            other => debug_assert!(false, "{other:?}"),
        }
        Ok(Turn::Continue)
    }

    /// Hands to the streams what was received for them.
    fn deliver(&mut self) {
        if !self.arrived.is_empty() {
            self.arrived_bytes = 0;
            self.delivered = true;
            self.shared.dispatch.lock().deliver(&mut self.arrived, &mut self.effects);
        }
    }

    /// Whether streams got messages since the last question.
    pub(crate) const fn has_delivered(&mut self) -> bool {
        std::mem::replace(&mut self.delivered, false)
    }

    /// The application had its time to take: streams that are still too full are not waited for any longer.
    pub(crate) fn stop_waiting(&mut self) {
        self.shared.dispatch.lock().stop_waiting(&mut self.effects);
    }

    /// Does what a turn of reading has led to: delivers, acknowledges, wakes, tells.
    pub(crate) fn conclude(&mut self, out: &mut Vec<u8>) {
        self.deliver();
        self.release(out);
        self.shared.perform(&mut self.effects);
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        for (receipt, reason) in self.effects.receipts.drain(..) {
            match &mut self.recorder {
                None => self.machine.acknowledge(receipt, reason, out),
                Some(recorder) => recorder.acknowledge(&mut self.machine, receipt, reason, out),
            }
        }
    }

    /// Whether we wait for the server: then the socket must be read, whoever else is slow.
    pub(crate) fn awaits_server(&self) -> bool {
        self.machine.inflight() > 0
            || !self.requests.is_empty()
            || !self.pings.is_empty()
            || self.reauthentication.awaits_server()
    }

    /// How many messages of QoS 1 and 2 may be sent now: requests take packet ids from them.
    pub(crate) fn quota(&self) -> u16 {
        let ids = usize::from(u16::MAX).saturating_sub(self.machine.inflight() + self.requests.len());
        self.machine.quota().min(u16::try_from(ids).unwrap_or(u16::MAX))
    }

    fn acked(&mut self, acked: Acked) {
        let (reason, properties) = (acked.reason, acked.properties.map(|boxed| *boxed).unwrap_or_default());
        let result = PublishResult { reason, properties };
        let outcome =
            if reason.is_error() { Err(PublishError::Refused(Box::new(result))) } else { Ok(result) };
        self.effects.wakers.extend(self.shared.pending.lock().complete(acked.tag, outcome));
    }

    fn unsubscribed(&mut self, unsuback: UnsubAck) {
        let Some(Request::Unsubscribe { filters, mark, reply }) = self.requests.remove(&unsuback.packet_id)
        else {
            return;
        };
        let answered = filters.into_iter().zip(&unsuback.reasons);
        let gone: Vec<TopicFilter> =
            answered.filter(|(_, reason)| !reason.is_error()).map(|(filter, _)| filter).collect();
        // What came before the answer is still for the streams that now end.
        self.deliver();
        self.shared.dispatch.lock().forget(&gone, mark, &mut self.effects);
        if let Some(reply) = reply {
            let _ = reply.send(Ok(unsuback));
        }
    }

    // ---- from the handles ----

    /// Sends a message of QoS 0. Nobody waits for it: what cannot be sent is gone.
    pub(crate) fn send_once(&mut self, now: Moment, message: &Outbound, out: &mut impl Output) {
        if message.is_expired(now) {
            return;
        }
        if let Err(unsent) = self.machine.publish_once(now, message, out) {
            tracing::debug!(?unsent, "a message of QoS 0 was not sent");
        }
    }

    /// Sends a message of QoS 1 or 2, or ends its wait. It comes back if there is no quota.
    pub(crate) fn send(
        &mut self,
        now: Moment,
        message: Outbound,
        out: &mut impl Output,
    ) -> Result<(), Outbound> {
        if message.is_expired(now) {
            self.unsent(message.tag, PublishError::Expired);
            return Ok(());
        }
        match self.machine.publish(now, message, out) {
            Ok(()) => {
                if let Some(recorder) = &mut self.recorder {
                    recorder.sent(self.machine.session(), &self.shared.pending);
                }
            }
            Err(NotSent::NoQuota(message)) => return Err(message),
            Err(NotSent::NotOffered(message, reason)) => {
                self.unsent(message.tag, PublishError::NotOffered(reason));
            }
            Err(other) => {
                let maximum = self.machine.limits().peer.maximum_packet_size;
                self.unsent(other.into_message().tag, PublishError::TooLarge { maximum });
            }
        }
        Ok(())
    }

    fn unsent(&mut self, tag: u32, error: PublishError) {
        self.effects.wakers.extend(self.shared.pending.lock().complete(tag, Err(error)));
    }

    pub(crate) fn subscribe(&mut self, now: Moment, command: SubscribeCommand, out: &mut Vec<u8>) {
        let SubscribeCommand { stream, filters, properties, reply } = command;
        if stream.is_some_and(|stream| !self.shared.dispatch.lock().ask(stream)) {
            // Given up before it was sent.
            return;
        }
        match self.machine.subscribe(filters, properties, out) {
            Ok(id) => {
                self.requests.insert(id, Request::Subscribe(Some(reply)));
                self.set_deadline(now, Awaited::Request(id));
            }
            Err(cause) => {
                let _ = reply.send(Err(Unanswered::Failed(RequestFailed { kind: "SUBSCRIBE", cause })));
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, now: Moment, command: UnsubscribeCommand, out: &mut Vec<u8>) {
        let UnsubscribeCommand { filters, properties, reply } = command;
        match self.machine.unsubscribe(filters.clone(), properties, out) {
            Ok(id) => {
                let mark = self.shared.dispatch.lock().mark();
                if reply.is_some() {
                    self.set_deadline(now, Awaited::Request(id));
                }
                self.requests.insert(id, Request::Unsubscribe { filters, mark, reply });
            }
            Err(cause) => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(Unanswered::Failed(RequestFailed { kind: "UNSUBSCRIBE", cause })));
                }
            }
        }
    }

    /// Unsubscribes from what no stream holds any more.
    pub(crate) fn tidy(&mut self, now: Moment, out: &mut Vec<u8>) {
        let unheld = self.shared.dispatch.lock().take_unheld();
        for filters in unheld.chunks(FILTERS_AT_ONCE) {
            let (filters, properties) = (filters.to_vec(), UnsubscribeProperties::default());
            self.unsubscribe(now, UnsubscribeCommand { filters, properties, reply: None }, out);
        }
    }

    /// Acknowledges what the application is done with; of what it took from a stream, if there is one.
    pub(crate) fn acknowledge(&mut self, stream: Option<&Inbox>, out: &mut Vec<u8>) {
        match stream {
            Some(stream) => stream.collect(&mut self.effects.receipts),
            None => self.shared.take_settled(&mut self.effects.receipts),
        }
        self.release(out);
    }

    /// Takes a step of authenticating again.
    pub(crate) fn authenticate(&mut self, order: Order, out: &mut Vec<u8>) {
        self.reauthentication.obey(order, |auth| self.machine.auth(auth, out));
    }

    /// Whether the connection has to end because our end of an authentication broke off [MQTT-4.12.1-2].
    ///
    /// # Errors
    ///
    /// It has to.
    pub(crate) fn check_authentication(&self) -> Result<(), DisconnectCause> {
        match self.reauthentication.failure() {
            Some(failure) => Err(DisconnectCause::Unauthenticated(failure.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn ping(
        &mut self,
        now: Moment,
        reply: oneshot::Sender<Result<Duration, Unanswered>>,
        out: &mut Vec<u8>,
    ) {
        self.machine.ping(now, out);
        let number = self.deadlines.number();
        self.set_deadline(now, Awaited::Ping(number));
        self.pings.push_back(Some(Asked { reply, at: now, number }));
    }

    /// Says goodbye.
    pub(crate) fn disconnect(
        &mut self,
        reason: ReasonCode,
        mut properties: DisconnectProperties,
        out: &mut Vec<u8>,
    ) {
        let limits = self.machine.limits_mut();
        // A session that was to end with its connection cannot be kept now: section 3.14.2.2.2.
        if limits.session_expiry_interval == 0 || !limits.version.has_properties() {
            properties.session_expiry_interval = None;
        }
        if let Some(interval) = properties.session_expiry_interval {
            limits.session_expiry_interval = interval;
        }
        let reason = match reason {
            reason if reason.allowed_in(PacketType::Disconnect) => reason,
            reason if reason.is_error() => ReasonCode::UnspecifiedError,
            _ => ReasonCode::Success,
        };
        self.machine.disconnect(reason, &properties, out);
    }

    // ---- the store ----

    /// Whether the output waits for the store.
    pub(crate) fn is_holding(&self) -> bool {
        self.recorder.as_ref().is_some_and(|recorder| recorder.is_holding())
    }

    /// Ready when the output may be written, as far as the store is concerned.
    ///
    /// # Errors
    ///
    /// The store has failed.
    pub(crate) fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DisconnectCause>> {
        match &mut self.recorder {
            None => Poll::Ready(Ok(())),
            Some(recorder) => recorder.poll_release(cx).map_err(DisconnectCause::StoreFailed),
        }
    }

    // ---- time and the end ----

    /// When an answer will have been waited for too long, if none comes before.
    pub(crate) fn next_deadline(&self) -> Moment {
        match self.deadlines.is_set() {
            true => self.deadlines.next().min(self.shared.pending.lock().next_deadline()),
            false => Moment::NEVER,
        }
    }

    fn set_deadline(&mut self, now: Moment, awaited: Awaited) {
        let Self { deadlines, requests, pings, .. } = self;
        deadlines.add(now, awaited, |earlier| match earlier {
            Awaited::Request(id) => requests.contains_key(&id),
            Awaited::Ping(number) => {
                let oldest = pings.iter().flatten().map(|asked| asked.number).next();
                oldest.is_some_and(|oldest| oldest <= number)
            }
        });
    }

    /// Tells those who have waited for an answer for too long. What they waited for goes on.
    pub(crate) fn expire(&mut self, now: Moment) {
        let Some(limit) = self.deadlines.limit() else { return };
        while let Some(awaited) = self.deadlines.take_due(now) {
            match awaited {
                Awaited::Request(id) => match self.requests.get_mut(&id) {
                    Some(Request::Subscribe(reply)) => refuse(reply.take(), limit),
                    Some(Request::Unsubscribe { reply, .. }) => refuse(reply.take(), limit),
                    None => {}
                },
                Awaited::Ping(number) => {
                    let asked =
                        |ping: &&mut Option<Asked>| ping.as_ref().is_some_and(|asked| asked.number == number);
                    let asked = self.pings.iter_mut().find(asked).and_then(Option::take);
                    refuse(asked.map(|asked| asked.reply), limit);
                }
            }
        }
        self.effects.wakers.extend(self.shared.pending.lock().expire(now, limit));
    }

    /// Lets the machine do what is due.
    ///
    /// # Errors
    ///
    /// The server did not answer a ping.
    pub(crate) fn handle_timeout(&mut self, now: Moment, out: &mut Vec<u8>) -> Result<(), DisconnectCause> {
        let before = out.len();
        self.machine.handle_timeout(now, out).map_err(|_| DisconnectCause::ServerSilent)?;
        if out.len() > before {
            self.pings.push_back(None);
            // Nothing was sent for a whole period: most likely little comes, too.
            self.payloads.release();
        }
        Ok(())
    }

    /// The connection is over; may be said twice. The order matters: once the streams are frozen no message is taken
    /// any more, so that every receipt which the application is done with is collected, and applied to the session
    /// then.
    pub(crate) fn end(&mut self) {
        self.deliver();
        let kept = self.machine.limits().session_expiry_interval > 0;
        if kept {
            self.shared.dispatch.lock().freeze(&mut self.effects);
        }
        self.acknowledge(None, &mut Vec::new());
        if let Some(recorder) = &mut self.recorder {
            recorder.hand_over();
        }
        let cause = self.machine.session().ending();
        self.shared.close(&cause, kept);
        // Whoever waits for an answer learns by this that none will come.
        self.requests.clear();
        self.pings.clear();
        self.reauthentication = Reauthentication::default();
        if !kept {
            self.shared.dispatch.lock().end_subscriptions(&mut self.effects);
        }
        self.shared.perform(&mut self.effects);
        self.machine.session_mut().keeps(kept);
    }
}

/// Messages that are handed to the streams together: 64, or the one with which their payloads reach 64 KiB. By as much
/// a stream may exceed its bounds.
const MOST_ARRIVED: usize = 64;
const MOST_ARRIVED_BYTES: usize = 64 << 10;
/// Filters in an UNSUBSCRIBE of our own: there are servers that close the connection at more than eight.
const FILTERS_AT_ONCE: usize = 8;
