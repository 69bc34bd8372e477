//! Reading and writing packets, by type and version.
//!
//! A server reads PUBLISH in place and writes it from a frame (`in place`, `frame`); everything else goes through
//! [`Packet`]. Leaves out: acknowledgements in a flow, which are in `sessions`.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot begin may panic")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gantline_benches::samples;
use gantline_protocol::{
    Ack, AckProperties, Disconnect, DisconnectProperties, FixedHeader, Frame, Head, Packet, ProtocolVersion,
    PublishRef, QoS, ReasonCode, SubAck,
};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0];

fn packets(version: ProtocolVersion) -> Vec<(&'static str, Packet)> {
    let (packet_id, reason) = (samples::id(7), ReasonCode::Success);
    let ack = || Ack { packet_id, reason, properties: AckProperties::default() };
    let suback = SubAck { packet_id, reasons: vec![reason], properties: AckProperties::default() };
    let disconnect = Disconnect { reason: ReasonCode::Success, properties: DisconnectProperties::default() };
    vec![
        ("CONNECT", samples::connect("device-21", version)),
        ("CONNACK", Packet::ConnAck(Box::default())),
        ("PUBLISH with QoS 0", samples::publish(QoS::AtMostOnce, 7)),
        ("PUBLISH with QoS 1", samples::publish(QoS::AtLeastOnce, 7)),
        ("PUBACK", Packet::PubAck(ack())),
        ("PUBREL", Packet::PubRel(ack())),
        ("SUBSCRIBE", samples::subscribe("site/+/device/#", QoS::AtLeastOnce)),
        ("SUBACK", Packet::SubAck(suback)),
        ("PINGREQ", Packet::PingReq),
        ("DISCONNECT", Packet::Disconnect(disconnect)),
    ]
}

fn decode(criterion: &mut Criterion) {
    for version in VERSIONS {
        let mut group = criterion.benchmark_group(format!("decode, MQTT {version}"));
        for (name, packet) in packets(version) {
            let bytes = samples::encoded(&packet, version);
            group.bench_function(name, |bencher| {
                bencher.iter(|| Packet::decode(black_box(&bytes), version).unwrap());
            });
        }
        let bytes = samples::encoded(&samples::publish(QoS::AtMostOnce, 7), version);
        group.bench_function("PUBLISH with QoS 0, in place", |bencher| {
            bencher.iter(|| {
                let frame = black_box(&bytes[..]);
                let header = FixedHeader::parse(frame).unwrap().unwrap();
                let body = &frame[usize::from(header.header_len)..];
                black_box(PublishRef::decode(body, header.flags, version).unwrap()).payload.len()
            });
        });
    }
}

fn encode(criterion: &mut Criterion) {
    for version in VERSIONS {
        let mut group = criterion.benchmark_group(format!("encode, MQTT {version}"));
        let mut out = Vec::with_capacity(1024);
        for (name, packet) in packets(version) {
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    out.clear();
                    black_box(&packet).encode(version, &mut out).unwrap();
                    black_box(out.len())
                });
            });
        }
        let frame = Frame::from_message(&samples::message(samples::TOPIC));
        let head = Head { qos: QoS::AtLeastOnce, packet_id: Some(samples::id(7)), ..Head::default() };
        group.bench_function("PUBLISH with QoS 1, frame", |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&frame).write(black_box(&head), version.has_properties(), &mut out);
                black_box(out.len())
            });
        });
    }
}

criterion_group! {
    name = codec;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    targets = decode, encode
}
criterion_main!(codec);
