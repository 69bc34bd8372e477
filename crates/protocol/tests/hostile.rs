//! Both machines against whatever a peer may send, on every version and in every state.
//!
//! A conversation is a list of frames: generated packets of all types, some with changed bytes, and random bytes. The
//! machine must neither panic nor write anything that is no packet of its version, and keep to what it was granted.
//! Leaves out: what the answers are, which the golden scripts show.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use gantline_protocol::{
    AckProperties, Bounds, ClientConnection, ConnAck, Connect, Disconnect, DisconnectProperties, FixedHeader,
    Limits, Message, Moment, Outbound, Packet, PacketId, PacketType, ProtocolVersion, QoS, ReasonCode,
    Receipt, Received, ServerConnection, Session, SubAck, Violation,
};
use gantline_test_support::packets;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::prop_oneof;
use proptest::test_runner::{Config, TestRunner};

/// What happens to a machine.
#[derive(Clone, Debug)]
enum Step {
    Receive(Vec<u8>),
    /// With this QoS.
    Publish(u8),
    /// The receipt at this place, refused or not.
    Acknowledge(usize, bool),
    Wait(u16),
    Trim,
}

fn frame(version: ProtocolVersion) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<usize>(), any::<u8>()), 0..3);
    let changed = (packets::packet(version), changes).prop_map(move |(packet, changes)| {
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes).unwrap();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes
    });
    // Few ids, so that acknowledgements and duplicates meet their flows.
    let ids = (0x2_u8..=0xB, 0_u8..6).prop_map(|(kind, id)| match kind {
        2 | 3 => vec![0x34 | (kind & 1) << 3, 6, 0, 1, b'a', 0, id, 0],
        6 => vec![0x62, 2, 0, id],
        8 | 0xA => vec![0x32, 6, 0, 1, b'a', 0, id, 0],
        _ => vec![kind << 4, 2, 0, id],
    });
    let random = vec(any::<u8>(), 0..32).prop_map(|mut bytes| {
        if let [_, length, body @ ..] = bytes.as_mut_slice() {
            *length = body.len() as u8;
        }
        bytes
    });
    prop_oneof![6 => ids, 3 => changed, 1 => random]
}

fn conversation(version: ProtocolVersion) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => frame(version).prop_map(Step::Receive),
        2 => (0_u8..3).prop_map(Step::Publish),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(at, refused)| Step::Acknowledge(at, refused)),
        1 => any::<u16>().prop_map(Step::Wait),
        1 => proptest::strategy::Just(Step::Trim),
    ];
    vec(step, 1..40)
}

/// What of the two machines is asked here.
trait Machine {
    fn receive(&mut self, now: Moment, frame: &[u8], out: &mut Vec<u8>)
    -> Result<Option<Receipt>, Violation>;
    fn time(&mut self, now: Moment, out: &mut Vec<u8>) -> Result<(), Violation>;
    fn common(&mut self, now: Moment, step: Common<'_>, out: &mut Vec<u8>);
}

enum Common<'a> {
    Publish(Outbound),
    Acknowledge(Receipt, ReasonCode),
    Goodbye(&'a Violation),
    Trim,
}

macro_rules! machine {
    ($machine:ident, $answer:expr) => {
        impl Machine for $machine<Box<Session>> {
            fn receive(
                &mut self,
                now: Moment,
                frame: &[u8],
                out: &mut Vec<u8>,
            ) -> Result<Option<Receipt>, Violation> {
                let answer = match $machine::receive(self, now, frame, out)? {
                    Received::Publish(publish, receipt) => {
                        assert!(!publish.topic.is_empty());
                        let _ = publish.to_message();
                        return Ok((publish.delivery.qos() != QoS::AtMostOnce).then_some(receipt));
                    }
                    Received::Subscribe(subscribe) => {
                        let reasons = vec![ReasonCode::Success; subscribe.filters.len()];
                        let properties = AckProperties::default();
                        Some(SubAck { packet_id: subscribe.packet_id, reasons, properties })
                    }
                    _ => None,
                };
                let respond: fn(&mut Self, Option<SubAck>, &mut Vec<u8>) = $answer;
                respond(self, answer, out);
                assert!(self.open_receipts() <= 2 * usize::from(u16::MAX));
                assert!(self.quota() <= self.limits().peer.receive_maximum);
                Ok(None)
            }

            fn time(&mut self, now: Moment, out: &mut Vec<u8>) -> Result<(), Violation> {
                self.handle_timeout(now, out)
            }

            fn common(&mut self, now: Moment, step: Common<'_>, out: &mut Vec<u8>) {
                match step {
                    Common::Publish(message) => drop(self.publish(now, message, out)),
                    Common::Acknowledge(receipt, reason) => self.acknowledge(receipt, reason, out),
                    Common::Goodbye(violation) => self.goodbye(violation, out),
                    Common::Trim => self.trim(),
                }
            }
        }
    };
}

machine!(ServerConnection, |server, suback, out| {
    if let Some(suback) = suback {
        server.suback(&suback, out);
    }
});
machine!(ClientConnection, |_, _, _| {});

/// The packets in `out`, all of which the version must know, none of them larger than the peer allows.
fn written(out: &[u8], version: ProtocolVersion, maximum: u32) -> Vec<Packet> {
    let (mut rest, mut packets) = (out, Vec::new());
    while !rest.is_empty() {
        let header = FixedHeader::parse(rest).unwrap().unwrap();
        assert!(header.frame_len() <= maximum as usize);
        let (frame, behind) = rest.split_at(header.frame_len());
        packets.push(Packet::decode(frame, version).unwrap());
        rest = behind;
    }
    packets
}

/// Plays a conversation to its end.
fn play(machine: &mut impl Machine, steps: &[Step], version: ProtocolVersion, maximum: u32) {
    let (mut now, mut out, mut receipts) = (Moment::ZERO, Vec::new(), Vec::new());
    for step in steps {
        let outcome = match step {
            Step::Receive(frame) => {
                machine.receive(now, frame, &mut out).map(|receipt| receipts.extend(receipt))
            }
            Step::Publish(qos) => {
                let message = Message::new("sensors/a", "x").unwrap().qos(QoS::from_u8(*qos).unwrap());
                machine.common(now, Common::Publish(Outbound::new(&message.expiry(7), now)), &mut out);
                Ok(())
            }
            Step::Acknowledge(at, refused) => {
                let reason = if *refused { ReasonCode::NotAuthorized } else { ReasonCode::Success };
                if !receipts.is_empty() {
                    let receipt = receipts[at % receipts.len()];
                    machine.common(now, Common::Acknowledge(receipt, reason), &mut out);
                }
                Ok(())
            }
            Step::Wait(seconds) => {
                now = now.plus_secs((*seconds).into());
                machine.time(now, &mut out)
            }
            Step::Trim => {
                machine.common(now, Common::Trim, &mut out);
                Ok(())
            }
        };
        written(&out, version, maximum);
        out.clear();
        let Err(violation) = outcome else { continue };
        assert!(violation.reason().is_error() && !violation.to_string().is_empty());
        machine.common(now, Common::Goodbye(&violation), &mut out);
        let goodbye = written(&out, version, maximum);
        assert!(
            goodbye.len() <= 1 && goodbye.iter().all(|packet| packet.packet_type() == PacketType::Disconnect)
        );
        out.clear();
        // Whoever goes on all the same is not heard.
        assert_eq!(machine.receive(now, &[0xC0, 0], &mut out).unwrap(), None);
        assert!(out.is_empty());
        return;
    }
}

/// A session with one flow of each kind in either direction.
fn session(version: ProtocolVersion) -> Box<Session> {
    let mut server = ServerConnection::new(Limits::neutral(version), Box::<Session>::default(), Moment::ZERO);
    let mut out = Vec::new();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce] {
        let message = Message::new("sensors/a", "x").unwrap().qos(qos);
        server.publish(Moment::ZERO, Outbound::new(&message, Moment::ZERO), &mut out).unwrap();
    }
    server.receive(Moment::ZERO, &[0x50, 2, 0, 3], &mut out).unwrap();
    let properties: &[u8] = if version.has_properties() { &[0] } else { &[] };
    let frame = [&[0x34, 5 + properties.len() as u8, 0, 1, b'a', 0, 4], properties].concat();
    let Ok(Received::Publish(_, receipt)) = server.receive(Moment::ZERO, &frame, &mut out) else { panic!() };
    server.acknowledge(receipt, ReasonCode::Success, &mut out);
    server.into_session()
}

fn limits(version: ProtocolVersion) -> Limits {
    let bounds =
        Bounds { receive_maximum: 3, maximum_packet_size: 64, topic_alias_maximum: 2, ..Bounds::NEUTRAL };
    let bounds = if version.has_properties() { bounds } else { Bounds::NEUTRAL };
    Limits { own: bounds, peer: bounds, keep_alive: 100, ..Limits::neutral(version) }
}

fn run(check: impl Fn(ProtocolVersion, &[Step])) {
    for version in ProtocolVersion::ALL {
        let mut runner =
            TestRunner::new(Config { cases: 1024, failure_persistence: None, ..Config::default() });
        let result = runner.run(&conversation(version), |steps| {
            check(version, &steps);
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{version}: {error}"));
    }
}

#[test]
fn nothing_that_a_client_sends_makes_the_server_panic() {
    run(|version, steps| {
        let limits = limits(version);
        let maximum = limits.peer.maximum_packet_size;
        let mut server = ServerConnection::new(limits, session(version), Moment::ZERO);
        let mut out = Vec::new();
        server.resume(Moment::ZERO, &mut out);
        written(&out, version, maximum);
        play(&mut server, steps, version, maximum);
    });
}

#[test]
fn nothing_that_a_server_sends_makes_the_client_panic() {
    run(|version, steps| {
        let mut connect = Connect { version, keep_alive: 100, ..Connect::default() };
        connect.properties.receive_maximum = 3.try_into().ok();
        connect.properties.topic_alias_maximum = Some(2);
        let mut out = Vec::new();
        let mut client = ClientConnection::new(&connect, session(version), Moment::ZERO, &mut out).unwrap();
        let mut connack = ConnAck { session_present: true, ..ConnAck::default() };
        connack.properties.maximum_packet_size = 64.try_into().ok();
        connack.properties.receive_maximum = 3.try_into().ok();
        connack.properties.topic_alias_maximum = Some(2);
        let mut first = Vec::new();
        connack.encode(version, &mut first).unwrap();
        client.receive(Moment::ZERO, &first, &mut Vec::new()).unwrap();
        let maximum = client.limits().peer.maximum_packet_size;
        play(&mut client, steps, version, maximum);
    });
}

#[test]
fn nothing_that_comes_before_connack_makes_the_client_panic() {
    run(|version, steps| {
        let connect = Connect { version, ..Connect::default() };
        let mut out = Vec::new();
        let mut client = ClientConnection::new(&connect, session(version), Moment::ZERO, &mut out).unwrap();
        play(&mut client, steps, version, u32::MAX);
    });
}

/// DISCONNECT is written in full, trimmed, or not at all.
#[test]
fn a_goodbye_fits_or_is_not_said() {
    for maximum in 1..60 {
        let peer = Bounds { maximum_packet_size: maximum, ..Bounds::NEUTRAL };
        let limits = Limits { peer, ..Limits::neutral(ProtocolVersion::default()) };
        let mut server = ServerConnection::new(limits, Box::<Session>::default(), Moment::ZERO);
        let properties = DisconnectProperties {
            reason_string: Some("a reason of some length".into()),
            server_reference: Some("other".into()),
            ..DisconnectProperties::default()
        };
        let mut out = Vec::new();
        server.disconnect(ReasonCode::ServerMoved, &properties, &mut out);
        for packet in written(&out, ProtocolVersion::default(), maximum) {
            let Packet::Disconnect(Disconnect { reason, properties }) = packet else { panic!() };
            assert_eq!(reason, ReasonCode::ServerMoved);
            assert_eq!(properties.server_reference.as_deref(), Some("other"));
        }
    }
}

#[test]
fn the_ids_of_the_conversations_are_those_of_the_session() {
    let session = session(ProtocolVersion::default());
    let ids: Vec<u16> = session.outgoing().iter().map(|entry| entry.packet_id.get()).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(session.incoming().contains(PacketId::new(4).unwrap()));
}
