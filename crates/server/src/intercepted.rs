//! The hooks of one connection: what they are asked about, and what waits for their answers.
//!
//! There are two lanes. While a hook makes up its mind about a packet of the client ([`Paused`]), nothing more is read;
//! while it does so about a message for the client, nothing more is taken from the mailbox. Both keep their order, and
//! everything else goes on. Relates to: `hooks/`, which calls user code; `exchange.rs`, whose packets are concerned.
//! Leaves out: connections without hooks, which have none of this.

mod delivering;
mod inspecting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gantline_protocol::packet::SubscribeFilter;
use gantline_protocol::{Message, Moment, Outbound, PacketType, QoS, ReasonCode, Receipt, TopicFilter};

use crate::broker::Broker;
use crate::broker::publication::Publication;
use crate::broker::slot::ClientSlot;
use crate::exchange::{End, Exchange};
use crate::hooks::{
    Asked, ClientContext, Hooks, Outcome, Permission, Permits, Ruling, Sender, Undecided, UnsubscribeAttempt,
    Waiting, ask, guarded, refusal, wait,
};
use crate::publishing::Publishing;
use crate::subscribing::{Subscribing, Unsubscribing};

/// What a connection with hooks has for them.
#[derive(Debug)]
pub(crate) struct Interception {
    hooks: Arc<Hooks>,
    limit: Duration,
    client: Arc<ClientContext>,
    slot: Arc<ClientSlot>,
    permits: Permits,
    paused: Option<Paused>,
    /// Taken from the mailbox, or of a replay, and not sent yet.
    outgoing: VecDeque<Outbound>,
    /// The hook that makes up its mind about the first of `outgoing`.
    delivering: Option<Waiting<Outcome<Message>>>,
    /// What the client may do has changed: ask again as soon as nothing is paused.
    reauthorize: bool,
    /// How much of the output the inspector has seen, in bytes.
    pub(crate) shown: usize,
}

/// What goes on when a hook has decided.
#[derive(Debug)]
enum Paused {
    Publish {
        waiting: Waiting<Outcome<Message>>,
        message: Outbound,
        receipt: Receipt,
    },
    Subscribe {
        waiting: Waiting<Outcome<SubscribeFilter>>,
        wanted: SubscribeFilter,
        subscribing: Subscribing,
    },
    Unsubscribe {
        waiting: Waiting<Outcome<TopicFilter>>,
        filter: TopicFilter,
        unsubscribing: Unsubscribing,
    },
    Reauthorize {
        waiting: Waiting<Permission>,
        filter: TopicFilter,
        rest: Vec<TopicFilter>,
        denied: bool,
    },
}

impl Interception {
    /// Of a client, if there is any hook.
    pub(crate) fn new(broker: &Broker, client: Arc<ClientContext>, slot: &Arc<ClientSlot>) -> Box<Self> {
        Box::new(Self {
            hooks: Arc::clone(&broker.options.hooks),
            limit: broker.options.hook_timeout,
            client,
            slot: Arc::clone(slot),
            permits: Permits::default(),
            paused: None,
            outgoing: VecDeque::new(),
            delivering: None,
            reauthorize: false,
            shown: 0,
        })
    }

    /// Whether a message for the client concerns a hook.
    pub(crate) fn sees_deliveries(&self) -> bool {
        self.hooks.deliver.is_some()
    }

    /// Whether a hook makes up its mind about a packet of the client.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Whether messages for the client are still to be sent before others.
    pub(crate) fn is_delivering(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Asks anew about everything that the client may do, soon.
    pub(crate) fn reauthorize(&mut self) {
        self.permits.renew();
        self.reauthorize = true;
    }

    /// Asks about a message of the client. `None`: go on as if there were no hook.
    #[inline]
    fn ask_publish(
        &self,
        publication: &mut Publication<'_>,
        now: Moment,
        waker: &Waker,
    ) -> Option<Asked<Outcome<Message>>> {
        let (hooks, sender) = (&*self.hooks, Sender::Client(&self.client));
        if !hooks.judges_publishes() {
            return None;
        }
        match guarded(|| hooks.judge_publish(sender, Some(&self.permits), publication, now)) {
            Some(Ruling::Forward) => None,
            Some(Ruling::Later(outcome)) => match wait(waker, self.limit, outcome) {
                Asked::Decided(Outcome::Forward) => None,
                asked => Some(asked),
            },
            Some(Ruling::Otherwise(outcome)) => Some(Asked::Decided(*outcome)),
            None => Some(Asked::Panicked),
        }
    }

    pub(crate) fn ask_subscription(
        &self,
        wanted: &SubscribeFilter,
        id: Option<u32>,
        waker: &Waker,
    ) -> Asked<Outcome<SubscribeFilter>> {
        ask(waker, self.limit, || self.hooks.judge_subscription(&self.client, wanted, id))
    }

    pub(crate) fn ask_unsubscription(
        &self,
        filter: &TopicFilter,
        waker: &Waker,
    ) -> Asked<Outcome<TopicFilter>> {
        let Some(unsubscribe) = &self.hooks.unsubscribe else { return Asked::Decided(Outcome::Forward) };
        ask(waker, self.limit, || unsubscribe(&UnsubscribeAttempt { client: &self.client, filter }))
    }

    pub(crate) fn pause_subscribe(
        &mut self,
        waiting: Waiting<Outcome<SubscribeFilter>>,
        wanted: SubscribeFilter,
        subscribing: Subscribing,
    ) {
        self.paused = Some(Paused::Subscribe { waiting, wanted, subscribing });
    }

    pub(crate) fn pause_unsubscribe(
        &mut self,
        waiting: Waiting<Outcome<TopicFilter>>,
        filter: TopicFilter,
        unsubscribing: Unsubscribing,
    ) {
        self.paused = Some(Paused::Unsubscribe { waiting, filter, unsubscribing });
    }

    /// Does with a message of the client what hooks want. `None` if that takes its time; the receipt is then kept.
    ///
    /// # Errors
    ///
    /// The connection ends.
    #[inline(never)]
    pub(crate) fn publish(
        &mut self,
        broker: &Broker,
        publishing: &mut Publishing,
        (publication, receipt): (&mut Publication<'_>, Receipt),
        now: Moment,
        waker: &Waker,
    ) -> Result<Option<ReasonCode>, End> {
        if let Some(asked) = self.ask_publish(publication, now, waker) {
            return self.intervene(broker, publishing, (publication, receipt), asked, now);
        }
        self.hand_on(broker, publishing, publication, now).map(Some)
    }

    /// Does what a hook wants with a message that it does not simply let through.
    #[cold]
    fn intervene(
        &mut self,
        broker: &Broker,
        publishing: &mut Publishing,
        (publication, receipt): (&mut Publication<'_>, Receipt),
        asked: Asked<Outcome<Message>>,
        now: Moment,
    ) -> Result<Option<ReasonCode>, End> {
        match asked {
            Asked::Decided(outcome) => {
                self.carry_out(broker, publishing, publication, outcome, now).map(Some)
            }
            Asked::Waits(waiting) => {
                let message = publication.outbound(publication.qos, publication.retain, None);
                self.paused = Some(Paused::Publish { waiting, message, receipt });
                Ok(None)
            }
            Asked::Panicked => Err(self.panicked(broker)),
        }
    }

    /// Tells that a message of the client had no receiver.
    ///
    /// # Errors
    ///
    /// The hook panicked, and with that the connection is over.
    #[cold]
    fn tell_undelivered(
        &self,
        broker: &Broker,
        publication: &Publication<'_>,
        now: Moment,
    ) -> Result<(), End> {
        let told = self.hooks.tell_undelivered(Sender::Client(&self.client), publication, now);
        if told { Ok(()) } else { Err(self.panicked(broker)) }
    }

    #[cold]
    fn carry_out(
        &self,
        broker: &Broker,
        publishing: &mut Publishing,
        publication: &mut Publication<'_>,
        outcome: Outcome<Message>,
        now: Moment,
    ) -> Result<ReasonCode, End> {
        match outcome {
            Outcome::Forward => self.hand_on(broker, publishing, publication, now),
            Outcome::Replace(message) => match message.check() {
                Ok(()) => {
                    let message = Outbound::new(&message, now);
                    self.hand_on(broker, publishing, &mut Publication::of_message(&message), now)
                }
                Err(error) => {
                    tracing::error!(name: "hook.message_invalid", client = %self.client, %error, "the message of an interceptor cannot be sent");
                    broker.counters.intercepted.add(1);
                    Ok(ReasonCode::UnspecifiedError)
                }
            },
            Outcome::Drop => {
                broker.counters.intercepted.add(1);
                Ok(ReasonCode::Success)
            }
            Outcome::Refuse(reason) => {
                broker.counters.intercepted.add(1);
                Ok(refusal(reason, PacketType::PubAck))
            }
            Outcome::Close(reason) => {
                broker.counters.intercepted.add(1);
                Err(closed(reason))
            }
        }
    }

    /// Publishes a message that may be published.
    #[inline(always)]
    fn hand_on(
        &self,
        broker: &Broker,
        publishing: &mut Publishing,
        publication: &mut Publication<'_>,
        now: Moment,
    ) -> Result<ReasonCode, End> {
        let reason = publishing.publish(broker, &self.slot, publication, now);
        if reason == ReasonCode::NoMatchingSubscribers {
            self.tell_undelivered(broker, publication, now)?;
        }
        Ok(reason)
    }

    /// The connection ends, because a hook panicked.
    pub(crate) fn panicked(&self, broker: &Broker) -> End {
        End::Kicked(broker.hook_panicked(&self.client))
    }

    /// The outcome that a time-out stands for.
    fn decided<T>(
        &self,
        broker: &Broker,
        decided: Result<T, Undecided>,
        timed_out: impl FnOnce() -> T,
    ) -> Result<T, End> {
        match decided {
            Ok(outcome) => Ok(outcome),
            Err(Undecided::Panicked) => Err(self.panicked(broker)),
            Err(Undecided::TimedOut) => {
                tracing::warn!(name: "hook.timed_out", client = %self.client, limit = ?self.limit, "a hook took too long");
                broker.counters.hook_timeouts.add(1);
                Ok(timed_out())
            }
        }
    }
}

impl Drop for Interception {
    fn drop(&mut self) {
        // They were taken from the queue and not sent, so they are the first for the next connection.
        let kept = self.outgoing.drain(..).filter(|message| message.qos != QoS::AtMostOnce);
        self.slot.mailbox.put_back(kept);
    }
}

impl Exchange {
    /// Goes on with a packet about which a hook has decided by now. Returns whether something was done.
    ///
    /// # Errors
    ///
    /// The connection ends.
    #[cold]
    pub(crate) fn resume(
        &mut self,
        now: Moment,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, End> {
        let Some(interception) = &mut self.interception else { return Ok(false) };
        let Some(paused) = interception.paused.take() else {
            if !std::mem::take(&mut interception.reauthorize) {
                return Ok(false);
            }
            self.reauthorize_all(self.slot.filters(), false, now, cx.waker())?;
            return Ok(true);
        };
        match paused {
            Paused::Publish { mut waiting, message, receipt } => {
                let Poll::Ready(decided) = waiting.poll(cx) else {
                    interception.paused = Some(Paused::Publish { waiting, message, receipt });
                    return Ok(false);
                };
                let late = || Outcome::Refuse(ReasonCode::UnspecifiedError);
                let outcome = interception.decided(&self.broker, decided, late)?;
                let mut publication = Publication::of_message(&message);
                let publishing = &mut self.publishing;
                let reason =
                    interception.carry_out(&self.broker, publishing, &mut publication, outcome, now)?;
                // The packet was counted when it came, and another may never come to count these with it.
                let routed = std::mem::take(&mut publishing.routed);
                self.broker.counters.flows().routed.add(routed.into());
                self.acknowledge(receipt, reason, out);
            }
            Paused::Subscribe { mut waiting, wanted, mut subscribing } => {
                let Poll::Ready(decided) = waiting.poll(cx) else {
                    interception.pause_subscribe(waiting, wanted, subscribing);
                    return Ok(false);
                };
                let late = || Outcome::Refuse(ReasonCode::UnspecifiedError);
                let outcome = interception.decided(&self.broker, decided, late)?;
                let reason = self.grant(outcome, wanted, subscribing.id)?;
                subscribing.reasons.push(reason);
                self.go_on_subscribing(subscribing, cx.waker(), out)?;
            }
            Paused::Unsubscribe { mut waiting, filter, mut unsubscribing } => {
                let Poll::Ready(decided) = waiting.poll(cx) else {
                    interception.pause_unsubscribe(waiting, filter, unsubscribing);
                    return Ok(false);
                };
                let late = || Outcome::Refuse(ReasonCode::UnspecifiedError);
                let outcome = interception.decided(&self.broker, decided, late)?;
                let reason = self.revoke(outcome, filter)?;
                unsubscribing.reasons.push(reason);
                self.go_on_unsubscribing(unsubscribing, cx.waker(), out)?;
            }
            Paused::Reauthorize { mut waiting, filter, rest, denied } => {
                let Poll::Ready(decided) = waiting.poll(cx) else {
                    interception.paused = Some(Paused::Reauthorize { waiting, filter, rest, denied });
                    return Ok(false);
                };
                let permission = interception.decided(&self.broker, decided, || Permission::Deny)?;
                let denied = denied | self.withdraw_unless(permission, &filter);
                self.reauthorize_all(rest, denied, now, cx.waker())?;
            }
        }
        // Nothing could come from the client meanwhile.
        self.machine.note_received(now);
        self.slot.hear(now);
        Ok(true)
    }

    /// Asks about each of these subscriptions, and in the end forgets what waits for the client and is no longer for
    /// it.
    fn reauthorize_all(
        &mut self,
        mut filters: Vec<TopicFilter>,
        mut denied: bool,
        now: Moment,
        waker: &Waker,
    ) -> Result<(), End> {
        while let Some(filter) = filters.pop() {
            let Some(interception) = &mut self.interception else { return Ok(()) };
            let asked = ask(waker, interception.limit, || {
                interception.hooks.permits_subscription(&interception.client, &filter)
            });
            match asked {
                Asked::Decided(permission) => denied |= self.withdraw_unless(permission, &filter),
                Asked::Panicked => return Err(interception.panicked(&self.broker)),
                Asked::Waits(waiting) => {
                    interception.paused =
                        Some(Paused::Reauthorize { waiting, filter, rest: filters, denied });
                    return Ok(());
                }
            }
        }
        if denied {
            self.withdraw_taken(now);
            self.broker.withdraw_queued(&self.slot, now);
        }
        Ok(())
    }

    /// Ends a subscription for which there is no permission; whether that was so.
    fn withdraw_unless(&mut self, permission: Permission, filter: &TopicFilter) -> bool {
        let denied = permission == Permission::Deny;
        if denied {
            tracing::info!(name: "subscription.withdrawn", client = %self.slot.id(), %filter, "its subscription is no longer permitted");
            self.unsubscribe_from(filter);
        }
        denied
    }

    /// Whether nothing more is read, because a hook makes up its mind.
    pub(crate) fn is_paused(&self) -> bool {
        self.interception.as_ref().is_some_and(|interception| interception.is_paused())
    }

    /// Whether something is under way that a hook makes up its mind about.
    pub(crate) fn waits_for_a_hook(&self) -> bool {
        self.is_paused() || self.is_delivering()
    }

    /// Whether nothing more is taken from the mailbox, because messages wait for a hook.
    pub(crate) fn is_delivering(&self) -> bool {
        self.interception.as_ref().is_some_and(|interception| interception.is_delivering())
    }
}

/// The client is told this reason, if it is one that DISCONNECT can carry.
pub(crate) fn closed(reason: ReasonCode) -> End {
    End::Kicked(refusal(reason, PacketType::Disconnect))
}
