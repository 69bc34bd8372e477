//! Who gets a message, and how it gets there: index, retained messages, fan-out.
//!
//! The index and the retained messages are measured past the connections, fan-out with them: from the bytes of the
//! publisher to those of all subscribers, on one thread and without sockets.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot begin may panic")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gantline_benches::flow::{Flow, Plan};
use gantline_benches::samples::{self, FilterKind};
use gantline_protocol::{QoS, TopicFilter};
use gantline_server::bench_support::{Client, Inside};

const KINDS: [FilterKind; 2] = [FilterKind::Exact, FilterKind::Wildcard];

/// A broker with so many filters, those of a thousand clients, and one client more.
fn subscribed(count: usize, kind: FilterKind) -> (Inside, Client) {
    let inside = Inside::new();
    let clients: Vec<_> = (0..=1_000).map(|id| inside.client(&format!("client-{id}")).unwrap()).collect();
    for (filter, client) in samples::filters(count, kind).zip(clients[1..].iter().cycle()) {
        inside.subscribe(client, &filter);
    }
    (inside, clients[0].clone())
}

/// A match that no cache knows, of which one subscription comes out.
fn matches(criterion: &mut Criterion) {
    for kind in KINDS {
        let mut group = criterion.benchmark_group(format!("match, {}", kind.name()));
        for count in [10, 1_000, 100_000, 1_000_000] {
            let (mut inside, _) = subscribed(count, kind);
            // Not in the order in which they were made, and few enough to stay in the caches of the machine.
            let topics: Vec<String> = samples::topics(count).step_by(count.div_ceil(1_000)).collect();
            let mut next = topics.iter().cycle();
            assert_eq!(inside.matches(&topics[0]), 1);
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| inside.matches(next.next().unwrap()));
            });
        }
    }
}

fn subscribing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("subscribe and unsubscribe among 100000");
    for kind in KINDS {
        let (inside, client) = subscribed(100_000, kind);
        let filters: Vec<TopicFilter> = samples::filters(100_000, kind).step_by(97).collect();
        let mut next = filters.iter().cycle();
        group.bench_function(kind.name(), |bencher| {
            bencher.iter(|| {
                let filter = next.next().unwrap();
                inside.subscribe(&client, filter);
                inside.unsubscribe(&client, filter)
            });
        });
    }
}

fn retained(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look up among 100000 retained messages");
    let inside = Inside::new();
    for topic in samples::topics(100_000) {
        inside.publish(&samples::message(&topic).retain(true));
    }
    let one = "site/42/device/4242/temperature";
    for (name, pattern, most) in [
        ("exact", one, 1),
        ("page of 256 by +", "site/42/device/+/temperature", 256),
        ("page of 256 by #", "#", 256),
    ] {
        assert_eq!(inside.retained(pattern, 256), most);
        group.bench_function(name, |bencher| bencher.iter(|| inside.retained(black_box(pattern), 256)));
    }
}

fn fan_out(criterion: &mut Criterion) {
    for (name, qos) in [("QoS 0", QoS::AtMostOnce), ("QoS 1", QoS::AtLeastOnce)] {
        let mut group = criterion.benchmark_group(format!("fan-out, {name}, 50 at once"));
        for subscribers in [1, 100, 1_000] {
            let plan = Plan { subscribers, ..Plan::one_to_one(qos, 50) };
            let flow = Flow::start(plan);
            group.throughput(Throughput::Elements(50 * subscribers as u64));
            group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
                bencher.iter(|| flow.run(1));
            });
        }
    }
}

criterion_group! {
    name = broker;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = matches, subscribing, retained, fan_out
}
criterion_main!(broker);
