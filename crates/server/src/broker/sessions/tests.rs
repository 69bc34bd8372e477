//! Sessions by plain calls: who gets them, and when they end.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;
use std::task::{Poll, Waker};

use gantline_protocol::{ClientId, Connect, Limits, Moment, Offer};

use super::{Broker, ClientSlot, Ending, Loan, Terms};
use crate::broker::alarms::{Alarm, Due};
use crate::options::ServerOptions;

fn broker() -> Broker {
    Broker::new(ServerOptions::default())
}

fn slot(broker: &Broker, id: &str) -> Arc<ClientSlot> {
    let id = ClientId::new(id).unwrap();
    broker.clients.get_or_insert(&id, || broker.new_slot(id.clone()))
}

fn claim(broker: &Broker, slot: &ClientSlot, ticket: u64) -> Option<Loan> {
    match broker.poll_claim(slot, ticket, Waker::noop()) {
        Poll::Ready(loan) => Some(loan),
        Poll::Pending => None,
    }
}

/// A connection that lasts no time.
fn visit(broker: &Broker, id: &str, keep_alive: u16, expiry: u32, now: Moment) -> Arc<ClientSlot> {
    let slot = slot(broker, id);
    broker.enqueue_claim(&slot, 1).unwrap();
    let mut session = claim(broker, &slot, 1).unwrap().session;
    let connect = Connect { keep_alive, ..Connect::default() };
    let limits = Limits::for_server(&connect, &Offer::default());
    broker.begin(
        &slot,
        &mut session,
        &Terms {
            clean_start: false,
            will: None,
            limits: &limits,
            session_expiry_max: u32::MAX,
            client: None,
        },
        now,
    );
    broker.take_back(&slot, session, Ending::WithWill, expiry, now);
    slot
}

fn after(seconds: u64) -> Moment {
    Moment::from_millis(1 + seconds * 1_000)
}

/// Acts on the alarms about sessions.
fn time_comes(broker: &Broker, now: Moment) {
    let mut due = Vec::new();
    broker.alarms.take_due(now, &mut due);
    for alarm in due {
        if let Alarm::Client { slot, epoch, due: Due::Expiry } = alarm
            && let Some(slot) = slot.upgrade()
        {
            broker.session_expires(&slot, epoch, now);
        }
    }
}

#[test]
fn clients_that_come_and_go_do_not_pile_up_alarms() {
    let broker = broker();
    for number in 0..1_000 {
        visit(&broker, &number.to_string(), u16::MAX, 0, after(0));
        visit(&broker, "same", u16::MAX, u32::MAX - 1, after(0));
    }
    assert_eq!(broker.clients.len(), 1);
    time_comes(&broker, after(61));
    assert!(broker.alarms.count() <= 1, "{}", broker.alarms.count());
}

#[test]
fn a_session_ends_at_its_time_however_far_that_is() {
    let broker = broker();
    let week = 7 * 24 * 3_600;
    visit(&broker, "a", 0, week, after(0));
    let minutes = u64::from(week) / 60;
    for minute in 1..minutes {
        time_comes(&broker, after(minute * 60));
    }
    time_comes(&broker, after(u64::from(week) - 1));
    assert_eq!((broker.clients.len(), broker.alarms.count()), (1, 1));
    time_comes(&broker, after(u64::from(week) + 1));
    assert_eq!((broker.clients.len(), broker.alarms.count()), (0, 0));
}

#[test]
fn a_session_that_somebody_waits_for_does_not_expire_but_ends_if_he_gives_up() {
    let broker = broker();
    let slot = visit(&broker, "a", 0, 10, after(0));
    broker.enqueue_claim(&slot, 7).unwrap();
    time_comes(&broker, after(11));
    assert_eq!(broker.clients.len(), 1);
    broker.withdraw_claim(&slot, 7);
    time_comes(&broker, after(13));
    assert_eq!(broker.clients.len(), 0);
}

#[test]
fn a_claim_that_is_not_used_changes_nothing() {
    let broker = broker();
    let slot = visit(&broker, "a", 0, 10, after(0));
    broker.enqueue_claim(&slot, 7).unwrap();
    let loan = claim(&broker, &slot, 7).unwrap();
    broker.take_back(&slot, loan.session, Ending::Unused, 0, after(5));
    time_comes(&broker, after(9));
    assert_eq!(broker.clients.len(), 1);
    time_comes(&broker, after(11));
    assert_eq!(broker.clients.len(), 0);
}

#[test]
fn the_session_is_lent_in_the_order_of_the_claims() {
    let broker = broker();
    let slot = slot(&broker, "a");
    for ticket in [4, 2, 9] {
        broker.enqueue_claim(&slot, ticket).unwrap();
    }
    assert!(claim(&broker, &slot, 9).is_none() && claim(&broker, &slot, 2).is_none());
    let first = claim(&broker, &slot, 4).unwrap();
    assert!(claim(&broker, &slot, 2).is_none(), "it is lent");
    broker.withdraw_claim(&slot, 2);
    broker.take_back(&slot, first.session, Ending::Unused, 0, after(0));
    assert!(claim(&broker, &slot, 2).is_none());
    let last = claim(&broker, &slot, 9).unwrap();
    assert_eq!(last.epoch, first.epoch + 1);
    broker.take_back(&slot, last.session, Ending::Unused, 0, after(0));
    assert_eq!(broker.clients.len(), 0);
    assert!(broker.enqueue_claim(&slot, 1).is_err(), "it has left the table");
}
