//! What things cost in memory: the figures of `docs/performance.md`, and the bounds below which they must stay.
//!
//! `cargo test -p gantline-benches --test memory -- --nocapture` prints them. Counted is what is asked of the
//! allocator, as the mean over many; what the allocator and the kernel add is not. So all figures are the same on every
//! 64-bit machine, but for the spare room of growing tables, which depends on how many there are.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests may panic and print")]

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use allocation_counter::measure;
use gantline_benches::samples::{self, FilterKind};
use gantline_protocol::{Moment, Outbound, ProtocolVersion, QoS};
use gantline_server::bench_support::Inside;
use gantline_server::{RunningServer, Server, ServerOptions};
use gantline_transport::{Budget, Mailbox, MailboxLimits};
use tokio::runtime::Runtime;

/// Bytes for each of `count`, which `make` makes; what it returns lives on until they are counted.
fn bytes_each<T>(count: usize, make: impl FnOnce() -> T) -> i64 {
    let mut made = None;
    let info = measure(|| made = Some(make()));
    drop(made);
    info.bytes_current / i64::try_from(count).unwrap()
}

/// Prints a figure, and holds it to its bound.
#[track_caller]
fn within(what: &str, bytes: i64, most: i64) {
    println!("{bytes:6} bytes for {what}");
    assert!((1..=most).contains(&bytes), "{bytes} bytes for {what}, at most {most}");
}

/// A server on this thread, and where it listens.
fn server(runtime: &Runtime) -> (RunningServer, String) {
    runtime.block_on(async {
        let server =
            Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0").start().await.unwrap();
        let address = server.local_addresses()[0].to_string();
        (server, address.trim_start_matches("mqtt://").trim_end_matches('/').to_owned())
    })
}

/// Connects clients over TCP, and waits until their tasks sleep.
fn connect(runtime: &Runtime, server: &RunningServer, address: &str, clients: usize) -> Vec<TcpStream> {
    let version = ProtocolVersion::V5_0;
    let before = server.metrics();
    let sockets = (0..clients).map(|client| {
        let id = format!("meter-{:06}", before.sessions + client);
        let bytes = samples::encoded(&samples::connect(&id, version), version);
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(&bytes).unwrap();
        socket
    });
    let sockets = sockets.collect();
    runtime.block_on(async {
        while server.metrics().connected < before.connected + clients as u64 {
            tokio::task::yield_now().await;
        }
        // The last of them goes to sleep.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    });
    sockets
}

#[test]
fn an_idle_connection_stays_within_its_bound() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, address) = server(&runtime);
    // What a thread needs once is there then.
    let mut sockets = connect(&runtime, &server, &address, 100);
    let clients = 300;
    let bytes = bytes_each(clients, || {
        sockets.extend(connect(&runtime, &server, &address, clients));
    });
    within("an idle connection over TCP", bytes, 2_048);
}

#[test]
fn a_subscription_stays_within_its_bound() {
    for (kind, most) in [(FilterKind::Exact, 165), (FilterKind::Wildcard, 325)] {
        let count = 100_000;
        let filters: Vec<_> = samples::filters(count, kind).collect();
        let inside = Inside::new();
        let clients: Vec<_> = (0..1_000).map(|id| inside.client(&format!("c{id}")).unwrap()).collect();
        let bytes = bytes_each(count, || {
            for (filter, client) in filters.iter().zip(clients.iter().cycle()) {
                inside.subscribe(client, filter);
            }
        });
        within(&format!("a subscription with a filter of about 32 bytes, {}", kind.name()), bytes, most);
    }
}

#[test]
fn a_retained_message_stays_within_its_bound() {
    let count = 100_000;
    let siblings: Vec<String> = samples::siblings(count).collect();
    let alone: Vec<String> = samples::topics(count).collect();
    for (layout, topics, most) in
        [("many below the same level", siblings, 212), ("alone below its own level", alone, 540)]
    {
        let messages: Vec<_> = topics.iter().map(|topic| samples::message(topic).retain(true)).collect();
        let inside = Inside::new();
        let bytes = bytes_each(count, || {
            for message in &messages {
                inside.publish(message);
            }
        });
        within(&format!("a retained message, its topic of about 32 bytes included, {layout}"), bytes, most);
    }
}

#[test]
fn a_queued_message_stays_within_its_bound() {
    // A lane grows by doubling: this many fill it.
    let count: u16 = 1 << 14;
    let budget = Arc::new(Budget::new(u64::MAX));
    let mailbox: Mailbox<()> = Mailbox::new(MailboxLimits::default(), budget);
    mailbox.open(MailboxLimits::default(), 1);
    let message = samples::message(samples::TOPIC).qos(QoS::AtLeastOnce);
    let bytes = bytes_each(count.into(), || {
        for _ in 0..count {
            drop(mailbox.push_queue(Outbound::new(&message, Moment::ZERO)));
        }
    });
    within("a queued message with QoS 1, for its first receiver", bytes, 124);
    mailbox.clear();

    let shared = Outbound::new(&message, Moment::ZERO);
    let bytes = bytes_each(count.into(), || {
        for _ in 0..count {
            drop(mailbox.push_queue(shared.clone()));
        }
    });
    within("a queued message with QoS 1, for each further receiver", bytes, 36);
    mailbox.clear();

    let packet = samples::encoded(&samples::publish(QoS::AtMostOnce, 1), ProtocolVersion::V5_0);
    let bytes = bytes_each(count.into(), || {
        for _ in 0..count {
            drop(mailbox.push_once(1, &packet, 1));
        }
    });
    within("a queued message with QoS 0", bytes, 56);
}
