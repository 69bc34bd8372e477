//! Messages on their way to a client about which a hook is asked.
//!
//! Relates to: `exchange.rs`, which sends them where there is no such hook. Leaves out: what they were taken from.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use gantline_protocol::{Moment, Outbound, Output, QoS};

use super::closed;
use crate::broker::sessions::is_wanted;
use crate::events::DropCause;
use crate::exchange::{End, Exchange};
use crate::hooks::{Asked, DeliveryAttempt, Outcome, Undecided, ask};

impl Exchange {
    /// Takes messages that are to be asked about before they are sent.
    pub(crate) fn intercept_deliveries(&mut self, messages: impl Iterator<Item = Outbound>) {
        if let Some(interception) = &mut self.interception {
            interception.outgoing.extend(messages);
        }
    }

    /// Forgets messages that wait for a hook and match no subscription of the client any more.
    pub(super) fn withdraw_taken(&mut self, now: Moment) {
        let Some(interception) = &mut self.interception else { return };
        let filters = self.slot.filters();
        if interception.outgoing.front().is_some_and(|message| !is_wanted(&filters, message)) {
            interception.delivering = None;
        }
        let (wanted, others) = interception
            .outgoing
            .drain(..)
            .partition::<VecDeque<_>, _>(|message| is_wanted(&filters, message));
        interception.outgoing = wanted;
        self.broker.withdraw(others, now);
    }

    /// Sends messages as far as hooks have decided about them. Returns whether something was done.
    ///
    /// # Errors
    ///
    /// The connection ends.
    pub(crate) fn deliver(
        &mut self,
        now: Moment,
        cx: &mut Context<'_>,
        out: &mut impl Output,
    ) -> Result<bool, End> {
        let Some(interception) = &mut self.interception else { return Ok(false) };
        let counters = &self.broker.counters;
        let mut sent = false;
        while let Some(message) = interception.outgoing.front() {
            if interception.delivering.is_none() {
                if message.is_expired(now) {
                    interception.outgoing.pop_front();
                    counters.expired.add(1);
                    continue;
                }
                if message.qos != QoS::AtMostOnce && self.machine.quota() == 0 {
                    // They wait where others can be counted against the bounds.
                    let (once, kept) = interception
                        .outgoing
                        .drain(..)
                        .partition::<Vec<_>, _>(|message| message.qos == QoS::AtMostOnce);
                    self.slot.mailbox.put_back(kept.into_iter());
                    interception.outgoing.extend(once);
                    continue;
                }
            }
            let decided = match &mut interception.delivering {
                Some(waiting) => {
                    let Poll::Ready(decided) = waiting.poll(cx) else { break };
                    interception.delivering = None;
                    decided
                }
                None => match interception.hooks.deliver.as_ref() {
                    None => Ok(Outcome::Forward),
                    Some(deliver) => {
                        let attempt = DeliveryAttempt { receiver: &interception.client, message, now };
                        match ask(cx.waker(), interception.limit, || deliver(&attempt)) {
                            Asked::Decided(outcome) => Ok(outcome),
                            Asked::Panicked => Err(Undecided::Panicked),
                            Asked::Waits(waiting) => {
                                interception.delivering = Some(waiting);
                                // Polled once more, so that its time-out runs.
                                continue;
                            }
                        }
                    }
                },
            };
            // Whatever comes of it, it is not asked about again: who panics about it would do so on each connection.
            let Some(message) = interception.outgoing.pop_front() else { break };
            let outcome = interception
                .decided(&self.broker, decided, || Outcome::Drop)
                .inspect_err(|_| counters.intercepted.add(1))?;
            let message = match outcome {
                Outcome::Forward if message.is_expired(now) => {
                    counters.expired.add(1);
                    continue;
                }
                Outcome::Forward => message,
                Outcome::Replace(other) if other.check().is_ok() => Outbound {
                    subscription_ids: message.subscription_ids,
                    tag: message.tag,
                    // The subscription bounds it [MQTT-3.8.4-8], and the window was asked about this one.
                    qos: other.qos_level().min(message.qos),
                    ..Outbound::new(&other, now)
                },
                Outcome::Close(reason) => {
                    counters.intercepted.add(1);
                    return Err(closed(reason));
                }
                Outcome::Replace(_) | Outcome::Drop | Outcome::Refuse(_) => {
                    counters.intercepted.add(1);
                    continue;
                }
            };
            sent = true;
            let qos = message.qos;
            match self.machine.publish(now, message, out) {
                Ok(()) => self.tally.send(qos, 1),
                // [MQTT-3.1.2-25]: as if it had been sent.
                Err(_) => self.broker.count_lost(&self.slot, DropCause::TooLarge, 1),
            }
        }
        Ok(sent)
    }
}
