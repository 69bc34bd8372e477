//! What becomes of a client when connections begin and end: its session, its queue, its will.
//!
//! The session of a slot is lent to one task at a time. Those who want it stand in a queue ([`State::claims`]); a loan
//! has a number, the epoch, and whatever names an earlier one is void. Relates to: `claim.rs`, the asynchronous door to
//! this; `timekeeper.rs`, which acts on the alarms that are set here. Leaves out: time, which is an argument.

#[cfg(all(test, not(shuttle)))]
mod tests;

use std::sync::Arc;
use std::task::{Poll, Waker};

use gantline_protocol::{ClientId, Limits, Moment, Outbound, QoS, ReasonCode, TopicFilter, Will};

use super::Broker;
use super::alarms::{Alarm, Due, FARTHEST_ALARM};
use super::publication::Publication;
use super::publish::{After, deliver_shared};
use super::session::ClientSession;
use super::shared::Origin;
use super::slot::{Claim, ClientSlot, Order, PendingWill, Profile, State};
use crate::events::{DropCause, ServerEvent};
use crate::hooks::ClientContext;
use crate::session_items::SessionItems;

/// A session while it is lent, as the queue hands it out.
#[derive(Debug)]
pub(crate) struct Loan {
    pub(crate) session: Box<ClientSession>,
    pub(crate) epoch: u32,
}

/// The slot has left the table: look the client id up again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone;

/// How a connection ended, as far as its client's will is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There was no connection yet.
    Unused,
    /// The client said goodbye and wants no will [MQTT-3.14.4-3], or the server stops.
    WithoutWill,
    /// In any other way [MQTT-3.1.2-8].
    WithWill,
}

/// The terms on which a connection begins.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) clean_start: bool,
    pub(crate) will: Option<&'a Will>,
    pub(crate) limits: &'a Limits,
    /// The most seconds that the session may outlive the connection.
    pub(crate) session_expiry_max: u32,
    /// The client as hooks see it, if there are any.
    pub(crate) client: Option<&'a Arc<ClientContext>>,
}

impl Broker {
    /// Puts somebody into the queue for the session of this slot, and tells its present holder to give it up.
    pub(crate) fn enqueue_claim(&self, slot: &ClientSlot, ticket: u64) -> Result<(), Gone> {
        let holder = slot.with_state(|state| {
            if state.removed {
                return Err(Gone);
            }
            state.claims.push(Claim { ticket, waker: None });
            let lent = state.session.is_none();
            Ok(if lent { slot.mailbox.push_control(TAKEN_OVER) } else { None })
        })?;
        wake(holder);
        Ok(())
    }

    /// The session, when it is there and this ticket is the first in the queue.
    pub(crate) fn poll_claim(&self, slot: &ClientSlot, ticket: u64, waker: &Waker) -> Poll<Loan> {
        // The waker that is replaced is dropped outside of the lock, as is a clone that is not needed.
        let mut waker = Some(waker.clone());
        slot.with_state(|state| {
            if state.claims.first().is_some_and(|claim| claim.ticket == ticket)
                && let Some(session) = state.session.take()
            {
                waker = state.claims.remove(0).waker;
                if !state.claims.is_empty() {
                    // The next one waits already. We hold the session, so nobody sleeps on this mailbox.
                    drop(slot.mailbox.push_control(TAKEN_OVER));
                }
                return Poll::Ready(state.lend(session));
            }
            if let Some(claim) = state.claims.iter_mut().find(|claim| claim.ticket == ticket) {
                std::mem::swap(&mut claim.waker, &mut waker);
            }
            Poll::Pending
        })
    }

    /// Takes somebody out of the queue who does not want the session any more.
    pub(crate) fn withdraw_claim(&self, slot: &Arc<ClientSlot>, ticket: u64) {
        let (next, unused) = slot.with_state(|state| {
            state.claims.retain(|claim| claim.ticket != ticket);
            (state.next_waker(), state.session.is_some() && !state.present)
        });
        wake(next);
        if unused {
            self.clients.remove(slot);
        }
    }

    /// Begins a connection with a session that was lent. Returns whether it goes on from an earlier one
    /// [MQTT-3.2.2-2] [MQTT-3.2.2-3].
    pub(crate) fn begin(
        &self,
        slot: &Arc<ClientSlot>,
        session: &mut ClientSession,
        terms: &Terms<'_>,
        now: Moment,
    ) -> bool {
        let existed = slot.with_state(|state| state.present);
        if existed && terms.clean_start {
            // [MQTT-3.1.2-4]
            self.end_session(slot, session, now);
        }
        let continues = existed && !terms.clean_start;
        if !continues {
            slot.record.begin_session(now);
            self.events.announce(|| ServerEvent::SessionStarted { client_id: slot.id().clone() });
        }
        let has_properties = terms.limits.version.has_properties();
        let (epoch, relaid, left_will) = slot.with_state(|state| {
            let relaid = state.had_properties != has_properties;
            state.present = true;
            state.had_properties = has_properties;
            state.expires = Moment::NEVER;
            // A will that is not due yet is cancelled by coming back [MQTT-3.1.3-9], and the end of the session makes
            // it due.
            let left = state.will.take().filter(|_| terms.clean_start);
            state.will = terms.will.map(|will| PendingWill::new(will, terms.client));
            (state.epoch, relaid, left)
        });
        slot.mailbox.open(self.options.connected_limits(), epoch);
        slot.set_profile(Profile::of(terms.limits, epoch, self.options.hooks.deliver.is_some()));
        slot.set_silence(u32::from(terms.limits.keep_alive) * 1500);
        slot.hear(now);
        self.set_alarm(slot, epoch, Due::KeepAlive, slot.given_up(), now);
        if relaid && continues {
            self.outdate_routes_to(slot);
        }
        if let Some(will) = left_will {
            self.publish_will(*will, slot, now);
        }
        continues
    }

    /// Takes a session back that was lent. The session lives on for `expiry` seconds.
    pub(crate) fn take_back(
        &self,
        slot: &Arc<ClientSlot>,
        mut session: Box<ClientSession>,
        ending: Ending,
        expiry: u32,
        now: Moment,
    ) {
        let ends = ending != Ending::Unused && expiry == 0;
        if ending != Ending::Unused {
            slot.record.end_connection(now);
        }
        if ends {
            self.end_session(slot, &mut session, now);
        }
        session.flows.trim();
        let (mut lost, mut void) = (0, Vec::new());
        let (will, next, epoch, expires, will_due) = slot.with_state(|state| {
            // The layout and the hook stay: routes that are found meanwhile have to be true when the client comes back.
            let (has_properties, works) = (state.had_properties, self.options.hooks.deliver.is_some());
            slot.set_profile(Profile { epoch: state.epoch, has_properties, works, ..Profile::AWAY });
            slot.set_silence(0);
            if ends {
                state.present = false;
                // What the connection was told and did not see is not for the next one.
                slot.mailbox.take_control(&mut void);
            } else {
                lost = slot.mailbox.park(self.options.parked_limits()).1;
            }
            let will = match ending {
                Ending::Unused => None,
                Ending::WithoutWill => {
                    state.will = None;
                    None
                }
                Ending::WithWill => {
                    if let Some(will) = &mut state.will {
                        will.due = now.plus_secs(will.delay);
                    }
                    state.will.take_if(|will| ends || will.due <= now)
                }
            };
            if ending != Ending::Unused {
                state.expires =
                    if ends || expiry == u32::MAX { Moment::NEVER } else { now.plus_secs(expiry) };
            }
            state.session = Some(session);
            let will_due = state.will.as_ref().map_or(Moment::NEVER, |will| will.due);
            (will, state.next_waker(), state.epoch, state.expires, will_due)
        });
        self.count_lost(slot, DropCause::QueueFull, lost);
        wake(next);
        if let Some(will) = will {
            self.publish_will(*will, slot, now);
        }
        if ends || ending == Ending::Unused {
            // Unless there is a session, or somebody who waits for one.
            self.clients.remove(slot);
        }
        self.set_alarm(slot, epoch, Due::Expiry, expires, now);
        self.set_alarm(slot, epoch, Due::Will, will_due, now);
    }

    /// The will delay of this loan is over.
    pub(crate) fn will_is_due(&self, slot: &Arc<ClientSlot>, epoch: u32, now: Moment) {
        let (will, later) = slot.with_state(|state| {
            if state.epoch != epoch || state.session.is_none() {
                return (None, Moment::NEVER);
            }
            let will = state.will.take_if(|will| will.due <= now);
            (will, state.will.as_ref().map_or(Moment::NEVER, |will| will.due))
        });
        self.set_alarm(slot, epoch, Due::Will, later, now);
        if let Some(will) = will {
            self.publish_will(*will, slot, now);
        }
    }

    /// The session has not been claimed since this loan, and its time is over.
    pub(crate) fn session_expires(&self, slot: &Arc<ClientSlot>, epoch: u32, now: Moment) {
        let (loan, later) = slot.with_state(|state| {
            if state.epoch != epoch {
                return (None, Moment::NEVER);
            }
            if state.expires > now {
                return (None, state.expires);
            }
            // Whoever waits for it may give up.
            if !state.claims.is_empty() {
                return (None, now.plus_secs(1));
            }
            (state.session.take().map(|session| state.lend(session)), Moment::NEVER)
        });
        self.set_alarm(slot, epoch, Due::Expiry, later, now);
        if let Some(loan) = loan {
            tracing::debug!(name: "session.expired", client = %slot.id(), "the session has expired");
            self.counters.sessions_expired.add(1);
            self.take_back(slot, loan.session, Ending::WithWill, 0, now);
        }
    }

    fn publish_will(&self, will: PendingWill, slot: &Arc<ClientSlot>, now: Moment) {
        let sender = will.sender.clone();
        let message = will.due_at(now);
        match (self.will_hook.get(), sender) {
            (Some(publish), Some(sender)) => publish(message, slot, sender),
            _ => {
                self.publish_message(&message, Some(slot), now);
            }
        }
    }

    /// What the application keeps with the session of a client; nothing if there is none.
    pub(crate) fn items_of(&self, id: &ClientId) -> SessionItems {
        self.clients.get(id.as_str()).map_or_else(SessionItems::default, |slot| slot.record.items())
    }

    /// Forgets what waits for a client and matches none of its subscriptions any more.
    pub(crate) fn withdraw_queued(&self, slot: &ClientSlot, now: Moment) {
        let filters = slot.filters();
        self.withdraw(slot.mailbox.extract(|message| !is_wanted(&filters, message)), now);
    }

    /// These messages are not for their client any more, which has not got them. Those of share groups go to other
    /// members.
    pub(crate) fn withdraw(&self, messages: impl IntoIterator<Item = Outbound>, now: Moment) {
        let messages: Vec<Outbound> = messages.into_iter().collect();
        self.counters.intercepted.add(messages.len() as u64);
        self.pass_on(messages.iter(), now);
    }

    /// As [`withdraw`](Self::withdraw), of messages that were sent.
    pub(crate) fn withdraw_sent(&self, messages: &[Outbound], now: Moment) {
        self.counters.intercepted.add(messages.len() as u64);
        self.pass_on_sent(messages.iter(), now);
    }

    /// Sets an alarm for a client, or an earlier one that leads to this one.
    pub(crate) fn set_alarm(&self, slot: &Arc<ClientSlot>, epoch: u32, due: Due, at: Moment, now: Moment) {
        if at != Moment::NEVER {
            let at = at.min(now.plus(FARTHEST_ALARM));
            self.alarms.set(at, Alarm::Client { slot: Arc::downgrade(slot), epoch, due });
        }
    }

    /// Ends a session that is lent: subscriptions, flows, replays and the queue. Messages of share groups go to other
    /// members.
    fn end_session(&self, slot: &Arc<ClientSlot>, session: &mut ClientSession, now: Moment) {
        self.unsubscribe_all(slot);
        let queued = slot.mailbox.close();
        let ended = std::mem::take(session);
        self.pass_on_sent(ended.flows.outgoing().iter().filter_map(|entry| entry.message), now);
        self.pass_on(queued.iter(), now);
        slot.record.end_session();
        self.events.announce(|| ServerEvent::SessionEnded { client_id: slot.id().clone() });
    }

    /// As [`pass_on`](Self::pass_on), of messages that were sent: one with QoS 1 may go to another member, one with QoS
    /// 2 must not [MQTT-4.8.2-5].
    fn pass_on_sent<'a>(&self, messages: impl Iterator<Item = &'a Outbound>, now: Moment) {
        self.pass_on(messages.filter(|message| message.qos == QoS::AtLeastOnce), now);
    }

    /// Hands messages that a member of a share group did not take to other members; those of no group are lost.
    pub(super) fn pass_on<'a>(&self, messages: impl Iterator<Item = &'a Outbound>, now: Moment) {
        let mut after = After::default();
        for message in messages {
            if let Some(origin) = Origin::of(message)
                && let Some(group) = self.group(origin.group)
            {
                let mut publication = Publication::of_message(message);
                (publication.qos, publication.retain) = (origin.qos, origin.retain);
                deliver_shared(self, &group, &mut publication, now, &mut after);
            }
        }
        after.wake();
    }
}

impl State {
    /// Lends the session, which was taken out.
    fn lend(&mut self, session: Box<ClientSession>) -> Loan {
        self.epoch = self.epoch.wrapping_add(1);
        self.kicked = false;
        Loan { session, epoch: self.epoch }
    }

    /// The waker of whoever gets the session next, if it is there.
    fn next_waker(&mut self) -> Option<Waker> {
        self.session.as_ref()?;
        self.claims.first_mut()?.waker.take()
    }
}

impl PendingWill {
    fn new(will: &Will, sender: Option<&Arc<ClientContext>>) -> Box<Self> {
        // The Message Expiry Interval counts from when the will is published.
        let expiry = will.properties.message_expiry_interval;
        let message = Outbound { expires: Moment::NEVER, ..Outbound::new(&will.message(), Moment::ZERO) };
        let delay = will.properties.will_delay_interval.unwrap_or(0);
        Box::new(Self { message, expiry, delay, due: Moment::NEVER, sender: sender.cloned() })
    }

    /// The message, published now.
    fn due_at(self, now: Moment) -> Outbound {
        let expires = self.expiry.map_or(Moment::NEVER, |seconds| now.plus_secs(seconds));
        Outbound { expires, ..self.message }
    }
}

/// Whether one of these filters matches the topic of a message.
pub(crate) fn is_wanted(filters: &[TopicFilter], message: &Outbound) -> bool {
    filters.iter().any(|filter| filter.matches(message.frame.topic()))
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

const TAKEN_OVER: Order = Order::Kick(ReasonCode::SessionTakenOver);
