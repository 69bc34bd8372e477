//! Runs one case so many times: `instructions CASE COUNT`. For `benches/instructions`, which counts the instructions.
//!
//! Whatever comes before and after the runs costs the same for every count, so that the difference of two counts is
//! what the runs cost. Relates to: [`flow`](gantline_benches::flow) for whole messages. Leaves out: counting.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot begin may panic")]

use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::Waker;

use gantline_benches::flow::{Flow, Hook, Plan};
use gantline_benches::samples::{self, FilterKind};
use gantline_protocol::{
    FixedHeader, Frame, Head, Moment, Outbound, PacketId, ProtocolVersion, PublishRef, QoS,
};
use gantline_server::bench_support::Inside;
use gantline_transport::{Budget, Mailbox, MailboxLimits, Taken, Want};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [case, count] = &arguments[..] else { return usage() };
    let (Some((_, run)), Ok(count)) = (CASES.iter().find(|(name, _)| name == case), count.parse()) else {
        return usage();
    };
    run(count);
    ExitCode::SUCCESS
}

/// Runs a case for so many messages.
type Run = fn(u64);

const CASES: &[(&str, Run)] = &[
    ("qos0-50", |count| flow(QoS::AtMostOnce, 50, count)),
    ("qos0-1", |count| flow(QoS::AtMostOnce, 1, count)),
    ("qos0-50-properties", described),
    ("qos0-50-hook", |count| hooked(Hook::Sync, count)),
    ("qos0-50-async", |count| hooked(Hook::Async, count)),
    ("qos1-50", |count| flow(QoS::AtLeastOnce, 50, count)),
    ("qos1-1", |count| flow(QoS::AtLeastOnce, 1, count)),
    ("qos2-50", |count| flow(QoS::ExactlyOnce, 50, count)),
    ("qos2-1", |count| flow(QoS::ExactlyOnce, 1, count)),
    ("decode-publish", decode),
    ("write-frame", write),
    ("mailbox", mailbox),
    ("match-exact", |count| matches(FilterKind::Exact, count)),
    ("match-wildcard", |count| matches(FilterKind::Wildcard, count)),
];

#[expect(clippy::print_stderr, reason = "this is what a user sees")]
fn usage() -> ExitCode {
    let names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    eprintln!("usage: instructions CASE COUNT\ncases: {}", names.join(" "));
    ExitCode::from(2)
}

/// Messages through a server, from one client to another, so many at once.
fn flow(qos: QoS, batch: u16, count: u64) {
    let flow = Flow::start(Plan::one_to_one(qos, batch));
    flow.run(count / u64::from(batch));
}

/// Messages with three user properties.
fn described(count: u64) {
    let batch = 50;
    let flow = Flow::start(Plan { user_properties: 3, ..Plan::one_to_one(QoS::AtMostOnce, batch) });
    flow.run(count / u64::from(batch));
}

/// The same with a publish hook that forwards everything.
fn hooked(hook: Hook, count: u64) {
    let batch = 50;
    let flow = Flow::start(Plan { hook, ..Plan::one_to_one(QoS::AtMostOnce, batch) });
    flow.run(count / u64::from(batch));
}

fn decode(count: u64) {
    let version = ProtocolVersion::V5_0;
    let packet = samples::encoded(&samples::publish(QoS::AtMostOnce, 1), version);
    for _ in 0..count {
        let frame = black_box(&packet[..]);
        let header = FixedHeader::parse(frame).unwrap().unwrap();
        let body = &frame[usize::from(header.header_len)..];
        let _ = black_box(PublishRef::decode(body, header.flags, version).unwrap());
    }
}

fn write(count: u64) {
    let frame = Frame::from_message(&samples::message(samples::TOPIC));
    let head = Head { qos: QoS::AtLeastOnce, packet_id: PacketId::new(1), ..Head::default() };
    let mut out = Vec::with_capacity(1024);
    for _ in 0..count {
        out.clear();
        black_box(&frame).write(black_box(&head), true, &mut out);
        let _ = black_box(&out);
    }
}

/// A message with QoS 1 in and out.
fn mailbox(count: u64) {
    let mailbox: Mailbox<()> = Mailbox::new(MailboxLimits::default(), Arc::new(Budget::new(u64::MAX)));
    mailbox.open(MailboxLimits::default(), 1);
    let message = samples::message(samples::TOPIC).qos(QoS::AtLeastOnce);
    let message = Outbound::new(&message, Moment::ZERO);
    let (mut out, mut taken) = (Vec::new(), Taken::EMPTY);
    for _ in 0..count {
        let _ = black_box(mailbox.push_queue(message.clone()));
        let asleep = mailbox.take(Want { once: true, queue: 100 }, &mut out, &mut taken, Waker::noop());
        assert!(!asleep && taken.queue.len() == 1, "the message is there");
        taken.queue.clear();
    }
}

/// Matches past the caches, among 100,000 filters of which one matches.
fn matches(kind: FilterKind, count: u64) {
    let mut inside = Inside::new();
    let client = inside.client("client").unwrap();
    for filter in samples::filters(100_000, kind) {
        inside.subscribe(&client, &filter);
    }
    let topics: Vec<String> = samples::topics(100_000).step_by(97).collect();
    for topic in topics.iter().cycle().take(count as usize) {
        assert_eq!(inside.matches(topic), 1);
    }
}
