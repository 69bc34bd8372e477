//! Models of the routes that a publisher remembers: under every schedule that the checker tries, whoever was told that
//! he is subscribed misses nothing, and whoever was told that he is not any more gets nothing.
//!
//! The schedules come from fixed seeds, so a model passes always or never.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;

use gantline_protocol::{
    ClientId, MAXIMUM_PACKET_SIZE, Message, Moment, Outbound, QoS, SubscriptionOptions, TopicFilter,
};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::atomic::{AtomicU32, Ordering};
use shuttle::{Config, Runner, thread};

use super::{Broker, ClientSlot, Profile, Publication, Publisher};
use crate::options::ServerOptions;

const SEED: u64 = 0x6d71_7474;
const SCHEDULES: usize = 1_000;

/// Runs a model for each kind of filter that matches `a/b`, under many schedules: half of them arbitrary, half with few
/// but nasty preemptions.
fn model(body: impl Fn(&Arc<Broker>, &TopicFilter) + Send + Sync + Copy + 'static) {
    for filter in ["a/b", "a/+", "+/b", "#", "$share/g/a/b", "$share/g/+/b"] {
        let filter = TopicFilter::new(filter).unwrap();
        let body = move || body(&Arc::new(Broker::new(ServerOptions::default())), &filter);
        Runner::new(RandomScheduler::new_from_seed(SEED, SCHEDULES), config()).run(body.clone());
        Runner::new(PctScheduler::new_from_seed(SEED, 3, SCHEDULES), config()).run(body);
    }
}

/// A broker is built on the stack, of which the default has too little.
fn config() -> Config {
    let mut config = Config::default();
    config.stack_size = 1 << 20;
    config
}

/// A client that is connected.
fn client(broker: &Broker) -> Arc<ClientSlot> {
    let slot = Arc::new(broker.new_slot(ClientId::new("a").unwrap()));
    slot.mailbox.open(broker.options.connected_limits(), 1);
    slot.set_profile(Profile {
        epoch: 1,
        max_packet: MAXIMUM_PACKET_SIZE,
        connected: true,
        has_properties: true,
        works: false,
    });
    slot
}

fn subscribe(broker: &Broker, slot: &Arc<ClientSlot>, filter: &TopicFilter) {
    broker.subscribe(slot, filter, SubscriptionOptions::default(), None);
}

/// Publishes several times; returns each time what was known before and how many got it.
fn publish(broker: &Broker, told: &AtomicU32) -> Vec<(u32, usize)> {
    let mut publisher = Publisher::new(None);
    let message = Outbound::new(&Message::new("a/b", "x").unwrap().qos(QoS::AtMostOnce), Moment::ZERO);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let before = told.load(Ordering::SeqCst);
        let now = Moment::from_millis(1);
        let receivers = publisher.publish(broker, &mut Publication::of_message(&message), now).unwrap_or(0);
        publisher.settle(broker, now);
        publisher.after.wake();
        seen.push((before, receivers));
    }
    seen
}

#[test]
fn shuttle_nothing_is_missed_behind_suback() {
    model(|broker, filter| {
        let told = Arc::new(AtomicU32::new(0));
        let subscriber = thread::spawn({
            let (broker, filter, told) = (Arc::clone(broker), filter.clone(), Arc::clone(&told));
            move || {
                let slot = client(&broker);
                subscribe(&broker, &slot, &filter);
                told.store(1, Ordering::SeqCst);
                slot
            }
        });
        let seen = publish(broker, &told);
        let got: usize = seen.iter().map(|(_, receivers)| receivers).sum();
        for (told, receivers) in seen {
            assert!(told == 0 || receivers == 1, "a message was missed");
        }
        // What was counted is there.
        let slot = subscriber.join().unwrap();
        assert_eq!(slot.mailbox.load().0.messages as usize, got);
    });
}

#[test]
fn shuttle_nothing_comes_behind_unsuback() {
    model(|broker, filter| {
        let told = Arc::new(AtomicU32::new(0));
        let slot = client(broker);
        subscribe(broker, &slot, filter);
        let subscriber = thread::spawn({
            let (broker, filter, told) = (Arc::clone(broker), filter.clone(), Arc::clone(&told));
            move || {
                assert!(broker.unsubscribe(&slot, &filter));
                told.store(1, Ordering::SeqCst);
            }
        });
        for (told, receivers) in publish(broker, &told) {
            assert!(told == 0 || receivers == 0, "a message came too late");
        }
        subscriber.join().unwrap();
    });
}

#[test]
fn shuttle_two_subscribers_of_one_stripe_both_count() {
    model(|broker, filter| {
        let told = Arc::new(AtomicU32::new(0));
        let subscribers = [filter.clone(), TopicFilter::new("a/#").unwrap()].map(|filter| {
            let (broker, told) = (Arc::clone(broker), Arc::clone(&told));
            thread::spawn(move || {
                subscribe(&broker, &client(&broker), &filter);
                told.fetch_add(1, Ordering::SeqCst);
            })
        });
        for (told, receivers) in publish(broker, &told) {
            assert!(receivers >= told as usize, "a message was missed");
        }
        subscribers.into_iter().for_each(|subscriber| subscriber.join().unwrap());
        assert_eq!(publish(broker, &told)[0], (2, 2));
    });
}
