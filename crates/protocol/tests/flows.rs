//! What QoS 1 and 2 promise, under connections that break anywhere.
//!
//! A client and a server publish to each other; packets are carried one by one, callers acknowledge in any order and at
//! any time, and the connection is cut and resumed between any two packets. In the end every message of QoS 1 was taken
//! at least once, every one of QoS 2 exactly once, all in order, and the senders know. Leaves out: lost sessions and
//! refused messages, which have golden scripts.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::collections::VecDeque;

use gantline_protocol::{
    ClientConnection, ConnAck, Connect, FixedHeader, Limits, Message, Moment, Offer, Outbound, Packet,
    ProtocolVersion, QoS, ReasonCode, Receipt, Received, ServerConnection, Session, Violation,
};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::test_runner::{Config, TestRunner};

const NOW: Moment = Moment::ZERO;

/// What happens next; the number says at which end, 0 is the client.
#[derive(Clone, Debug)]
enum Step {
    Publish(usize, QoS),
    /// The next packet that this end has sent arrives.
    Carry(usize),
    /// The caller takes one of the messages that it has not taken yet.
    Take(usize, usize),
    Trim(usize),
    Cut,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = || 0_usize..2;
    let qos = prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    let step = prop_oneof![
        6 => (end(), qos).prop_map(|(end, qos)| Step::Publish(end, qos)),
        12 => end().prop_map(Step::Carry),
        6 => (end(), any::<usize>()).prop_map(|(end, at)| Step::Take(end, at)),
        1 => end().prop_map(Step::Trim),
        2 => Just(Step::Cut),
    ];
    vec(step, 1..120)
}

/// One end with its caller.
#[derive(Default)]
struct Desk {
    sent: VecDeque<Vec<u8>>,
    /// What waits for quota.
    waiting: VecDeque<Outbound>,
    /// What was accepted for sending: the QoS of each tag.
    published: Vec<QoS>,
    acked: Vec<u32>,
    receipts: Vec<(Receipt, u32)>,
    /// The tags of what arrived, for each QoS, without repetitions.
    arrived: [Vec<u32>; 3],
    taken: Vec<u32>,
}

/// What an end was told.
enum News {
    Message(Receipt, u32),
    Acked(u32),
    Nothing,
}

fn news(received: Received<'_>) -> News {
    match received {
        Received::Publish(publish, receipt) => {
            assert_eq!(publish.topic, "a/topic");
            News::Message(receipt, str::from_utf8(publish.payload).unwrap().parse().unwrap())
        }
        Received::Acked(acked) => {
            assert_eq!(acked.reason, ReasonCode::Success);
            News::Acked(acked.tag)
        }
        _ => News::Nothing,
    }
}

struct World {
    connect: Connect,
    client: Option<ClientConnection<Box<Session>>>,
    server: Option<ServerConnection<Box<Session>>>,
    desks: [Desk; 2],
}

impl World {
    fn new(version: ProtocolVersion) -> Self {
        let mut connect = Connect { version, ..Connect::default() };
        connect.properties.session_expiry_interval = Some(1000);
        connect.properties.receive_maximum = 3.try_into().ok();
        connect.properties.topic_alias_maximum = Some(1);
        let mut world = Self { connect, client: None, server: None, desks: Default::default() };
        world.join(Box::default(), Box::default(), false);
        world
    }

    /// A new connection; both ends have the sessions of the last one.
    fn join(&mut self, client: Box<Session>, server: Box<Session>, session_present: bool) {
        let offer = Offer { receive_maximum: 2, inflight: 4, ..Offer::default() };
        let version = self.connect.version;
        let mut client = ClientConnection::new(&self.connect, client, NOW, &mut Vec::new()).unwrap();
        let limits = Limits::for_server(&self.connect, &offer);
        let mut connack = ConnAck { session_present, ..ConnAck::default() };
        limits.describe(&offer, &self.connect, &mut connack.properties);
        let (mut first, mut out) = (Vec::new(), Vec::new());
        connack.encode(version, &mut first).unwrap();
        let Ok(Received::Connected(connected)) = client.receive(NOW, &first, &mut out) else { panic!() };
        assert!(connected.lost.is_empty());
        self.queue(0, &mut out);
        let mut server = ServerConnection::new(limits, server, NOW);
        assert!(server.resume(NOW, &mut out).is_empty());
        self.queue(1, &mut out);
        (self.client, self.server) = (Some(client), Some(server));
    }

    fn cut(&mut self) {
        for desk in &mut self.desks {
            desk.sent.clear();
            desk.receipts.clear();
        }
        let (client, server) = (self.client.take().unwrap(), self.server.take().unwrap());
        self.join(client.into_session(), server.into_session(), true);
    }

    /// Puts what an end has written on its way, packet by packet.
    fn queue(&mut self, end: usize, out: &mut Vec<u8>) {
        let mut rest = &out[..];
        while !rest.is_empty() {
            let length = FixedHeader::parse(rest).unwrap().unwrap().frame_len();
            self.desks[end].sent.push_back(rest[..length].to_vec());
            rest = &rest[length..];
        }
        out.clear();
    }

    fn publish(&mut self, end: usize, qos: QoS) {
        let desk = &mut self.desks[end];
        let tag = desk.published.len() as u32;
        desk.published.push(qos);
        let message = Message::new("a/topic", tag.to_string()).unwrap().qos(qos);
        desk.waiting.push_back(Outbound { tag, ..Outbound::new(&message, NOW) });
        self.send(end);
    }

    /// Sends of what waits as much as may be sent.
    fn send(&mut self, end: usize) {
        let mut out = Vec::new();
        while let Some(message) = self.desks[end].waiting.pop_front() {
            let sent = match end {
                0 => self.client.as_mut().unwrap().publish(NOW, message, &mut out),
                _ => self.server.as_mut().unwrap().publish(NOW, message, &mut out),
            };
            if let Err(unsent) = sent {
                self.desks[end].waiting.push_front(unsent.into_message());
                break;
            }
        }
        self.queue(end, &mut out);
    }

    /// Carries one packet. Whether there was one.
    fn carry(&mut self, from: usize) -> Result<bool, Violation> {
        let Some(frame) = self.desks[from].sent.pop_front() else { return Ok(false) };
        let (to, mut out) = (1 - from, Vec::new());
        let news = match to {
            0 => self.client.as_mut().unwrap().receive(NOW, &frame, &mut out).map(news)?,
            _ => self.server.as_mut().unwrap().receive(NOW, &frame, &mut out).map(news)?,
        };
        self.queue(to, &mut out);
        match news {
            News::Message(receipt, tag) => {
                let qos = receipt.delivery().qos();
                let arrived = &mut self.desks[to].arrived[usize::from(qos.value())];
                let again = arrived.contains(&tag);
                assert!(again || arrived.iter().all(|before| *before < tag), "{tag} is late");
                if again {
                    let Ok(Packet::Publish(publish)) = Packet::decode(&frame, self.connect.version) else {
                        panic!()
                    };
                    assert!(publish.dup);
                } else {
                    arrived.push(tag);
                }
                self.desks[to].receipts.push((receipt, tag));
            }
            News::Acked(tag) => self.desks[to].acked.push(tag),
            News::Nothing => {}
        }
        self.send(to);
        Ok(true)
    }

    /// The caller of an end takes a message. Whether there was one.
    fn take(&mut self, end: usize, at: usize) -> bool {
        let desk = &mut self.desks[end];
        if desk.receipts.is_empty() {
            return false;
        }
        let (receipt, tag) = desk.receipts.remove(at % desk.receipts.len());
        desk.taken.push(tag);
        let mut out = Vec::new();
        match end {
            0 => self.client.as_mut().unwrap().acknowledge(receipt, ReasonCode::Success, &mut out),
            _ => self.server.as_mut().unwrap().acknowledge(receipt, ReasonCode::Success, &mut out),
        }
        self.queue(end, &mut out);
        true
    }

    fn step(&mut self, step: &Step) -> Result<(), Violation> {
        match *step {
            Step::Publish(end, qos) => self.publish(end, qos),
            Step::Carry(end) => drop(self.carry(end)?),
            Step::Take(end, at) => drop(self.take(end, at)),
            Step::Trim(0) => self.client.as_mut().unwrap().trim(),
            Step::Trim(_) => self.server.as_mut().unwrap().trim(),
            Step::Cut => self.cut(),
        }
        Ok(())
    }

    /// Lets everything come to its end.
    fn settle(&mut self) -> Result<(), Violation> {
        while self.carry(0)? | self.carry(1)? | self.take(0, 0) | self.take(1, 0) {}
        Ok(())
    }

    fn check(&self) {
        for end in 0..2 {
            let (sender, receiver) = (&self.desks[end], &self.desks[1 - end]);
            assert!(sender.waiting.is_empty());
            for (tag, qos) in (0..).zip(&sender.published) {
                let count = |tags: &[u32]| tags.iter().filter(|found| **found == tag).count();
                assert_eq!(count(&sender.acked), 1, "{tag} is acknowledged once");
                match qos {
                    QoS::ExactlyOnce => assert_eq!(count(&receiver.taken), 1, "{tag} is taken once"),
                    _ => assert!(count(&receiver.taken) >= 1, "{tag} is taken"),
                }
            }
        }
        let (client, server) = (self.client.as_ref().unwrap(), self.server.as_ref().unwrap());
        assert!(client.session().is_empty() && server.session().is_empty());
        assert_eq!(client.quota(), client.limits().peer.receive_maximum);
        assert_eq!(server.quota(), server.limits().peer.receive_maximum);
        assert_eq!((client.open_receipts(), server.open_receipts()), (0, 0));
    }
}

#[test]
fn promises_are_kept_wherever_connections_break() {
    for version in ProtocolVersion::ALL {
        let mut runner =
            TestRunner::new(Config { cases: 1024, failure_persistence: None, ..Config::default() });
        let result = runner.run(&steps(), |steps| {
            let mut world = World::new(version);
            for step in &steps {
                world.step(step).unwrap();
            }
            world.settle().unwrap();
            world.check();
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{version}: {error}"));
    }
}
