//! The timekeeper: the one task of a server that waits for what is due.
//!
//! Relates to: `broker/alarms.rs`, where alarms are set. Leaves out: what is due for a hand-shake or while a publisher
//! is held back; those have timers of their own.

use std::sync::{Arc, Weak};

use gantline_protocol::Moment;
use gantline_transport::Clock;

use crate::broker::Broker;
use crate::broker::alarms::{Alarm, Due};
use crate::broker::slot::{ClientSlot, Order};

/// Acts on alarms until the server is gone.
pub(crate) async fn keep_time(broker: Arc<Broker>, clock: Clock) {
    let mut due = Vec::new();
    loop {
        let earlier = broker.alarms.earlier().notified();
        let now = clock.now();
        let next = broker.alarms.take_due(now, &mut due);
        for alarm in due.drain(..) {
            act(&broker, alarm, now);
        }
        match clock.instant(next) {
            Some(next) => {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = earlier => {}
                }
            }
            None => earlier.await,
        }
    }
}

fn act(broker: &Arc<Broker>, alarm: Alarm, now: Moment) {
    match alarm {
        Alarm::Retained => broker.expire_retained(now),
        Alarm::Client { slot, epoch, due } => {
            // A client that is gone needs nothing.
            if let Some(slot) = Weak::upgrade(&slot) {
                act_for(broker, &slot, epoch, due, now);
            }
        }
    }
}

fn act_for(broker: &Arc<Broker>, slot: &Arc<ClientSlot>, epoch: u32, due: Due, now: Moment) {
    match due {
        Due::Will => broker.will_is_due(slot, epoch, now),
        Due::Expiry => broker.session_expires(slot, epoch, now),
        Due::KeepAlive | Due::Trim if slot.with_state(|state| state.epoch) != epoch => {}
        Due::Trim => order(slot, Order::Trim),
        Due::KeepAlive => {
            let given_up = slot.given_up();
            if given_up <= now {
                order(slot, Order::KeepAlive);
            }
            // In case it ends after all: the connection looks for itself whether something has come.
            broker.set_alarm(slot, epoch, due, given_up.max(now.plus_secs(1)), now);
        }
    }
}

fn order(slot: &ClientSlot, order: Order) {
    if let Some(waker) = slot.mailbox.push_control(order) {
        waker.wake();
    }
}
