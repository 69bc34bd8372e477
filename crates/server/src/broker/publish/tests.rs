//! Who gets what, by plain calls.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::sync::Arc;
use std::task::Waker;

use gantline_protocol::packet::{Connect, Packet};
use gantline_protocol::{
    ClientId, FixedHeader, Limits, Message, Moment, Offer, Outbound, ProtocolVersion, QoS,
    SubscriptionOptions, TopicFilter,
};
use gantline_transport::{Late, Taken, Want};

use super::{Broker, ClientSlot, Profile, Publication, Publisher};
use crate::events::DropCause;
use crate::options::ServerOptions;

const NOW: Moment = Moment::from_millis(1_000);

/// A receiver and the messages that came to it: topic, payload and QoS.
struct Receiver {
    slot: Arc<ClientSlot>,
    version: ProtocolVersion,
}

impl Receiver {
    fn new(broker: &Broker, connect: &Connect, filters: &[(&str, QoS)]) -> Self {
        let slot = Arc::new(broker.new_slot(ClientId::from_random(1)));
        slot.mailbox.open(broker.options.connected_limits(), 1);
        slot.set_profile(Profile::of(&Limits::for_server(connect, &Offer::default()), 1, false));
        for (filter, qos) in filters {
            let options = SubscriptionOptions::default().maximum_qos(*qos);
            broker.subscribe(&slot, &TopicFilter::new(*filter).unwrap(), options, None);
        }
        Self { slot, version: connect.version }
    }

    fn of(broker: &Broker, version: ProtocolVersion, filters: &[(&str, QoS)]) -> Self {
        Self::new(broker, &Connect { version, ..Connect::default() }, filters)
    }

    /// The payloads that came, QoS 0 first.
    fn got(&self) -> Vec<String> {
        let (mut out, mut taken) = (Vec::new(), Taken::default());
        let want = Want { once: true, queue: u16::MAX };
        while !self.slot.mailbox.take(want, &mut out, &mut taken, Waker::noop()) {}
        for late in taken.late {
            match late {
                Late::Message(message) => {
                    message.frame.write(&Default::default(), self.version.has_properties(), &mut out)
                }
                Late::Finished(bytes, _) => out.extend(bytes),
            }
        }
        let mut got = Vec::new();
        let mut rest = &out[..];
        while !rest.is_empty() {
            let header = FixedHeader::parse(rest).unwrap().unwrap();
            let (frame, behind) = rest.split_at(header.frame_len());
            let Packet::Publish(publish) = Packet::decode(frame, self.version).unwrap() else { panic!() };
            got.push(String::from_utf8(publish.payload.to_vec()).unwrap());
            rest = behind;
        }
        got.extend(
            taken.queue.iter().map(|message| String::from_utf8(message.frame.payload().to_vec()).unwrap()),
        );
        got
    }
}

fn broker() -> Broker {
    Broker::new(ServerOptions::default())
}

fn publish(publisher: &mut Publisher, broker: &Broker, topic: &str, payload: &str, qos: QoS) -> usize {
    let message = Outbound::new(&Message::new(topic, payload.to_owned()).unwrap().qos(qos), NOW);
    publisher.publish(broker, &mut Publication::of_message(&message), NOW).unwrap()
}

fn settle(publisher: &mut Publisher, broker: &Broker) {
    publisher.settle(broker, NOW);
    publisher.after.wake();
}

#[test]
fn a_batch_keeps_the_order_of_each_topic_for_every_layout() {
    let broker = broker();
    let receivers =
        ProtocolVersion::ALL.map(|version| Receiver::of(&broker, version, &[("#", QoS::ExactlyOnce)]));
    let mut publisher = Publisher::new(None);
    // Runs of three, of one message, and back again.
    let topics = ["a", "a", "a", "b", "a", "b", "b", "c/d", "a"];
    for (number, topic) in topics.into_iter().enumerate() {
        assert_eq!(publish(&mut publisher, &broker, topic, &number.to_string(), QoS::AtMostOnce), 3);
    }
    settle(&mut publisher, &broker);
    for receiver in &receivers {
        assert_eq!(receiver.got(), ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    }
}

#[test]
fn qos_0_and_1_of_one_run_both_arrive() {
    let broker = broker();
    let receivers = [QoS::AtLeastOnce, QoS::ExactlyOnce]
        .map(|granted| Receiver::of(&broker, ProtocolVersion::default(), &[("t", granted)]));
    let mut publisher = Publisher::new(None);
    for number in 0..6 {
        publish(
            &mut publisher,
            &broker,
            "t",
            &number.to_string(),
            [QoS::AtMostOnce, QoS::AtLeastOnce][number % 2],
        );
    }
    settle(&mut publisher, &broker);
    for receiver in &receivers {
        assert_eq!(receiver.got(), ["0", "2", "4", "1", "3", "5"]);
    }
}

#[test]
fn a_message_above_the_qos_of_a_receiver_leaves_the_run_in_order() {
    let broker = broker();
    let low = Receiver::of(&broker, ProtocolVersion::default(), &[("t", QoS::AtMostOnce)]);
    let high = Receiver::of(&broker, ProtocolVersion::default(), &[("t", QoS::ExactlyOnce)]);
    let mut publisher = Publisher::new(None);
    for (number, qos) in
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::AtMostOnce, QoS::ExactlyOnce].into_iter().enumerate()
    {
        publish(&mut publisher, &broker, "t", &number.to_string(), qos);
    }
    settle(&mut publisher, &broker);
    assert_eq!(low.got(), ["0", "1", "2", "3"]);
    assert_eq!(high.got(), ["0", "2", "1", "3"]);
}

#[test]
fn only_what_is_too_large_for_a_receiver_is_left_out_of_a_run() {
    let broker = broker();
    let mut connect = Connect::default();
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(20);
    let small = Receiver::new(&broker, &connect, &[("t", QoS::AtMostOnce)]);
    let large = Receiver::of(&broker, ProtocolVersion::default(), &[("t", QoS::AtMostOnce)]);
    let mut publisher = Publisher::new(None);
    let payloads = ["1".to_owned(), "2".repeat(100), "3".to_owned(), "4".repeat(20), "5".to_owned()];
    for payload in &payloads {
        publish(&mut publisher, &broker, "t", payload, QoS::AtMostOnce);
    }
    settle(&mut publisher, &broker);
    assert_eq!(large.got(), payloads);
    assert_eq!(small.got(), ["1", "3", "5"]);
    assert_eq!(
        (small.slot.dropped(), large.slot.dropped(), broker.counters.dropped(DropCause::TooLarge)),
        (2, 0, 2)
    );
}

#[test]
fn retained_messages_keep_their_place_in_a_run_and_the_flag_for_those_who_want_it() {
    for keeps_retain in [false, true] {
        let broker = broker();
        let receiver = Receiver::of(&broker, ProtocolVersion::default(), &[]);
        let options = SubscriptionOptions { retain_as_published: keeps_retain, ..Default::default() };
        broker.subscribe(&receiver.slot, &TopicFilter::new("t").unwrap(), options, None);
        let mut publisher = Publisher::new(None);
        for (number, retain) in [false, true, true, false].into_iter().enumerate() {
            let message = Message::new("t", number.to_string()).unwrap().qos(QoS::AtMostOnce).retain(retain);
            let outbound = Outbound::new(&message, NOW);
            publisher.publish(&broker, &mut Publication::of_message(&outbound), NOW).unwrap();
        }
        settle(&mut publisher, &broker);
        let (mut out, mut taken) = (Vec::new(), Taken::default());
        receiver.slot.mailbox.take(Want { once: true, queue: 0 }, &mut out, &mut taken, Waker::noop());
        let (mut rest, mut got) = (&out[..], Vec::new());
        while let Some(header) = FixedHeader::parse(rest).unwrap() {
            let (frame, behind) = rest.split_at(header.frame_len());
            let Packet::Publish(publish) = Packet::decode(frame, receiver.version).unwrap() else { panic!() };
            got.push((publish.payload[0] - b'0', publish.retain));
            rest = behind;
        }
        let kept = keeps_retain;
        assert_eq!(got, [(0, false), (1, kept), (2, kept), (3, false)]);
        assert_eq!(broker.retained.read().get("t", NOW).unwrap().frame.payload(), b"2");
    }
}

#[test]
fn a_large_payload_and_an_expiry_keep_their_place_among_the_others() {
    let broker = broker();
    let receiver = Receiver::of(&broker, ProtocolVersion::default(), &[("t", QoS::AtMostOnce)]);
    let mut publisher = Publisher::new(None);
    let large = "x".repeat(10_000);
    for payload in ["1", &large, "2", "3", &large, "4"] {
        publish(&mut publisher, &broker, "t", payload, QoS::AtMostOnce);
    }
    settle(&mut publisher, &broker);
    assert_eq!(receiver.got(), ["1", &large, "2", "3", &large, "4"]);
}

#[test]
fn a_subscription_within_a_batch_counts_from_there_on() {
    let broker = broker();
    let mut publisher = Publisher::new(None);
    let first = Receiver::of(&broker, ProtocolVersion::default(), &[("t", QoS::AtMostOnce)]);
    assert_eq!(publish(&mut publisher, &broker, "t", "1", QoS::AtMostOnce), 1);
    let second = Receiver::of(&broker, ProtocolVersion::ALL[0], &[("+", QoS::AtMostOnce)]);
    assert_eq!(publish(&mut publisher, &broker, "t", "2", QoS::AtMostOnce), 2);
    assert!(broker.unsubscribe(&first.slot, &TopicFilter::new("t").unwrap()));
    assert_eq!(publish(&mut publisher, &broker, "t", "3", QoS::AtMostOnce), 1);
    settle(&mut publisher, &broker);
    assert_eq!(
        (first.got(), second.got()),
        (vec!["1".to_owned(), "2".into()], vec!["2".to_owned(), "3".into()])
    );
}

#[test]
fn a_receiver_that_is_away_keeps_qos_1_alone() {
    let broker = broker();
    let receiver = Receiver::of(&broker, ProtocolVersion::default(), &[("t", QoS::AtLeastOnce)]);
    let mut publisher = Publisher::new(None);
    publish(&mut publisher, &broker, "t", "lost", QoS::AtMostOnce);
    // It leaves before the run is handed over.
    let _ = receiver.slot.mailbox.park(broker.options.parked_limits());
    receiver.slot.set_profile(Profile { epoch: 1, has_properties: true, ..Profile::AWAY });
    publish(&mut publisher, &broker, "t", "kept", QoS::AtLeastOnce);
    publish(&mut publisher, &broker, "t", "lost", QoS::AtMostOnce);
    settle(&mut publisher, &broker);
    receiver.slot.mailbox.open(broker.options.connected_limits(), 2);
    assert_eq!(receiver.got(), ["kept"]);
    assert!(DropCause::ALL.iter().all(|cause| broker.counters.dropped(*cause) == 0));
}

#[test]
fn a_receiver_of_another_layout_than_the_run_gets_what_follows() {
    let broker = broker();
    let receiver = Receiver::of(&broker, ProtocolVersion::ALL[0], &[("t", QoS::AtMostOnce)]);
    let mut publisher = Publisher::new(None);
    publish(&mut publisher, &broker, "t", "1", QoS::AtMostOnce);
    settle(&mut publisher, &broker);
    assert_eq!(receiver.got(), ["1"]);
    // It comes back with another version, which the routes are told of.
    receiver.slot.mailbox.open(broker.options.connected_limits(), 2);
    let limits = Limits::for_server(&Connect::default(), &Offer::default());
    receiver.slot.set_profile(Profile::of(&limits, 2, false));
    broker.outdate_routes_to(&receiver.slot);
    publish(&mut publisher, &broker, "t", "2", QoS::AtMostOnce);
    settle(&mut publisher, &broker);
    let receiver = Receiver { version: ProtocolVersion::default(), ..receiver };
    assert_eq!(receiver.got(), ["2"]);
}
