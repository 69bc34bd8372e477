//! Whole flows through the machines of both ends, joined by two vectors instead of a socket.
//!
//! One run is a batch of messages from a client to a server, until every flow is complete. Leaves out: who gets the
//! messages, which is in `broker`.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot begin may panic")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gantline_benches::samples;
use gantline_protocol::{
    ClientConnection, Connect, FixedHeader, Limits, Moment, Offer, Outbound, Packet, ProtocolVersion, QoS,
    ReasonCode, Received, ServerConnection, Session,
};

const NOW: Moment = Moment::ZERO;

struct Pair {
    client: ClientConnection<Box<Session>>,
    server: ServerConnection<Box<Session>>,
    /// What is under way to the server, and to the client.
    up: Vec<u8>,
    down: Vec<u8>,
    /// Where answers are put while one of the two is read.
    spare: Vec<u8>,
    message: Outbound,
}

impl Pair {
    fn new(version: ProtocolVersion, qos: QoS) -> Self {
        let connect = Connect { version, ..Connect::default() };
        let limits = Limits::for_server(&connect, &Offer::default());
        let (mut up, mut spare) = (Vec::new(), Vec::new());
        let mut client = ClientConnection::new(&connect, Box::default(), NOW, &mut up).unwrap();
        let connack = samples::encoded(&Packet::ConnAck(Box::default()), version);
        let connected = client.receive(NOW, &connack, &mut spare).unwrap();
        assert!(matches!(connected, Received::Connected(_)));
        up.clear();
        let server = ServerConnection::new(limits, Box::default(), NOW);
        let message = Outbound::new(&samples::message(samples::TOPIC).qos(qos), NOW);
        Self { client, server, up, down: Vec::new(), spare, message }
    }

    /// Sends so many messages and lets their flows run. Returns how many messages came.
    fn run(&mut self, messages: u16) -> u16 {
        for _ in 0..messages {
            self.client.publish(NOW, self.message.clone(), &mut self.up).unwrap();
        }
        let mut came = 0;
        while !self.up.is_empty() {
            std::mem::swap(&mut self.up, &mut self.spare);
            frames(&self.spare, |frame| {
                if let Received::Publish(_, receipt) =
                    self.server.receive(NOW, frame, &mut self.down).unwrap()
                {
                    came += 1;
                    self.server.acknowledge(receipt, ReasonCode::Success, &mut self.down);
                }
            });
            self.spare.clear();
            frames(&self.down, |frame| {
                let _ = self.client.receive(NOW, frame, &mut self.up).unwrap();
            });
            self.down.clear();
        }
        came
    }
}

fn frames(mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
    while let Some(header) = FixedHeader::parse(bytes).unwrap() {
        let (frame, rest) = bytes.split_at(header.frame_len());
        each(frame);
        bytes = rest;
    }
}

fn flows(criterion: &mut Criterion) {
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        let mut group = criterion.benchmark_group(format!("flow, MQTT {version}"));
        for (name, qos) in
            [("QoS 0", QoS::AtMostOnce), ("QoS 1", QoS::AtLeastOnce), ("QoS 2", QoS::ExactlyOnce)]
        {
            for batch in [1, 50] {
                let mut pair = Pair::new(version, qos);
                assert_eq!(pair.run(batch), batch);
                group.throughput(Throughput::Elements(batch.into()));
                group.bench_function(format!("{name}, {batch} at once"), |bencher| {
                    bencher.iter(|| pair.run(batch));
                });
            }
        }
    }
}

criterion_group! {
    name = sessions;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = flows
}
criterion_main!(sessions);
