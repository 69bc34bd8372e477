//! SUBSCRIBE and UNSUBSCRIBE: filter by filter, each of which a hook may take its time about.
//!
//! Relates to: `broker/subscribing.rs`, which changes the index; `intercepted.rs`, which asks the hooks. Leaves out:
//! the replay of retained messages, which the connection does.

use std::num::NonZeroU32;
use std::task::Waker;
use std::vec;

use gantline_protocol::{
    AckProperties, PacketId, PacketType, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter,
    TopicFilter, UnsubAck, Unsubscribe,
};
use gantline_transport::Turn;

use crate::broker::session::Replay;
use crate::events::ServerEvent;
use crate::exchange::{End, Exchange};
use crate::hooks::{Asked, Outcome, refusal};
use crate::intercepted::closed;
use crate::notices;

/// A SUBSCRIBE that is being handled.
#[derive(Debug)]
pub(crate) struct Subscribing {
    packet_id: PacketId,
    pub(crate) id: Option<NonZeroU32>,
    rest: vec::IntoIter<SubscribeFilter>,
    pub(crate) reasons: Vec<ReasonCode>,
}

/// An UNSUBSCRIBE that is being handled.
#[derive(Debug)]
pub(crate) struct Unsubscribing {
    packet_id: PacketId,
    rest: vec::IntoIter<TopicFilter>,
    pub(crate) reasons: Vec<ReasonCode>,
}

impl Exchange {
    /// Handles a SUBSCRIBE.
    pub(crate) fn subscribe(
        &mut self,
        subscribe: Subscribe,
        waker: &Waker,
        out: &mut Vec<u8>,
    ) -> Result<Turn, End> {
        let id = subscribe.properties.subscription_identifier.and_then(NonZeroU32::new);
        let reasons = Vec::with_capacity(subscribe.filters.len());
        let (packet_id, rest) = (subscribe.packet_id, subscribe.filters.into_iter());
        self.go_on_subscribing(Subscribing { packet_id, id, rest, reasons }, waker, out)
    }

    /// Handles the filters of a SUBSCRIBE that are left, until a hook takes its time.
    pub(crate) fn go_on_subscribing(
        &mut self,
        mut subscribing: Subscribing,
        waker: &Waker,
        out: &mut Vec<u8>,
    ) -> Result<Turn, End> {
        while let Some(wanted) = subscribing.rest.next() {
            let reason = match (self.judge(&wanted.filter), &mut self.interception) {
                (Err(reason), _) => reason,
                (Ok(()), None) => self.subscribe_to(wanted, subscribing.id),
                (Ok(()), Some(interception)) => {
                    let id = subscribing.id.map(NonZeroU32::get);
                    match interception.ask_subscription(&wanted, id, waker) {
                        Asked::Decided(outcome) => self.grant(outcome, wanted, subscribing.id)?,
                        Asked::Panicked => return Err(interception.panicked(&self.broker)),
                        Asked::Waits(waiting) => {
                            interception.pause_subscribe(waiting, wanted, subscribing);
                            return Ok(Turn::Stop);
                        }
                    }
                }
            };
            subscribing.reasons.push(reason);
        }
        let Subscribing { packet_id, reasons, .. } = subscribing;
        self.machine.suback(&SubAck { packet_id, reasons, properties: AckProperties::default() }, out);
        Ok(Turn::Continue)
    }

    /// Subscribes the client, and returns what SUBACK is to say.
    pub(crate) fn subscribe_to(&mut self, wanted: SubscribeFilter, id: Option<NonZeroU32>) -> ReasonCode {
        let SubscribeFilter { filter, mut options } = wanted;
        options.maximum_qos = options.maximum_qos.min(self.machine.limits().own.maximum_qos);
        if self.machine.limits().bridge {
            options.no_local = !filter.is_shared();
            options.retain_as_published = true;
        }
        let most = self.broker.options.max_subscriptions_per_client;
        let Ok(replaced) = self.broker.subscribe_within(&self.slot, &filter, options, id, most) else {
            return notices::subscription_refused(&self.broker, &self.slot, &filter);
        };
        self.broker.events.announce(|| ServerEvent::Subscribed {
            client_id: self.slot.id().clone(),
            filter: filter.clone(),
            options,
        });
        let replays_retained = match options.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => !replaced,
            RetainHandling::Never => false,
        };
        let session = self.machine.session_mut().session_mut();
        // A shared subscription gets no retained messages (section 4.8.2).
        if replays_retained && !filter.is_shared() {
            session.replay(Replay { filter, qos: options.maximum_qos, id, after: None });
        } else {
            session.change_replay(&filter, options.maximum_qos, id);
        }
        ReasonCode::granted(options.maximum_qos)
    }

    /// Whether the client may have a subscription to this filter.
    pub(crate) fn judge(&self, filter: &TopicFilter) -> Result<(), ReasonCode> {
        let limits = self.machine.limits();
        if filter.is_shared() && !limits.shared_subscriptions_available {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if filter.has_wildcard() && !limits.wildcard_subscriptions_available {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if self.broker.topic_bounds.are_exceeded(filter.pattern()) {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        Ok(())
    }

    /// Handles an UNSUBSCRIBE.
    pub(crate) fn unsubscribe(
        &mut self,
        unsubscribe: Unsubscribe,
        waker: &Waker,
        out: &mut Vec<u8>,
    ) -> Result<Turn, End> {
        let reasons = Vec::with_capacity(unsubscribe.filters.len());
        let (packet_id, rest) = (unsubscribe.packet_id, unsubscribe.filters.into_iter());
        self.go_on_unsubscribing(Unsubscribing { packet_id, rest, reasons }, waker, out)
    }

    /// Handles the filters of an UNSUBSCRIBE that are left, until a hook takes its time.
    pub(crate) fn go_on_unsubscribing(
        &mut self,
        mut unsubscribing: Unsubscribing,
        waker: &Waker,
        out: &mut Vec<u8>,
    ) -> Result<Turn, End> {
        while let Some(filter) = unsubscribing.rest.next() {
            let asked = match &self.interception {
                None => Asked::Decided(Outcome::Forward),
                Some(interception) => interception.ask_unsubscription(&filter, waker),
            };
            let reason = match (asked, &mut self.interception) {
                (Asked::Decided(outcome), _) => self.revoke(outcome, filter)?,
                (Asked::Waits(waiting), Some(interception)) => {
                    interception.pause_unsubscribe(waiting, filter, unsubscribing);
                    return Ok(Turn::Stop);
                }
                (_, Some(interception)) => return Err(interception.panicked(&self.broker)),
                (_, None) => ReasonCode::UnspecifiedError,
            };
            unsubscribing.reasons.push(reason);
        }
        let Unsubscribing { packet_id, reasons, .. } = unsubscribing;
        self.machine.unsuback(&UnsubAck { packet_id, reasons, properties: AckProperties::default() }, out);
        Ok(Turn::Continue)
    }

    /// Ends a subscription of the client; returns whether there was one.
    pub(crate) fn unsubscribe_from(&mut self, filter: &TopicFilter) -> bool {
        let removed = self.broker.end_subscription(&self.slot, filter);
        self.machine.session_mut().session_mut().stop_replay(filter);
        removed
    }

    /// What a subscription leads to of which a hook has decided.
    pub(crate) fn grant(
        &mut self,
        outcome: Outcome<SubscribeFilter>,
        wanted: SubscribeFilter,
        id: Option<NonZeroU32>,
    ) -> Result<ReasonCode, End> {
        Ok(match outcome {
            Outcome::Forward => self.subscribe_to(wanted, id),
            Outcome::Replace(other) => match self.judge(&other.filter) {
                Ok(()) => self.subscribe_to(other, id),
                Err(reason) => reason,
            },
            Outcome::Drop => {
                ReasonCode::granted(wanted.options.maximum_qos.min(self.machine.limits().own.maximum_qos))
            }
            Outcome::Refuse(reason) => refusal(reason, PacketType::SubAck),
            Outcome::Close(reason) => return Err(closed(reason)),
        })
    }

    /// What an unsubscription leads to of which a hook has decided.
    pub(crate) fn revoke(
        &mut self,
        outcome: Outcome<TopicFilter>,
        filter: TopicFilter,
    ) -> Result<ReasonCode, End> {
        let filter = match outcome {
            Outcome::Forward => filter,
            Outcome::Replace(other) => other,
            Outcome::Drop => return Ok(ReasonCode::Success),
            Outcome::Refuse(reason) => return Ok(refusal(reason, PacketType::UnsubAck)),
            Outcome::Close(reason) => return Err(closed(reason)),
        };
        let removed = self.unsubscribe_from(&filter);
        Ok(if removed { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted })
    }
}
