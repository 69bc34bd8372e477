//! What the way of a small message allocates: nothing with QoS 0, little with QoS 1 and 2.
//!
//! Whole turns of the server's tasks are counted, from the bytes of the publisher to those of the subscribers. The
//! peers allocate nothing themselves once they have seen a batch.

use allocation_counter::measure;
use gantline_benches::flow::{Flow, Plan};
use gantline_benches::samples::{self, FilterKind};
use gantline_protocol::{ProtocolVersion, QoS};
use gantline_server::bench_support::Inside;

/// The allocations of so many messages in such batches, when everything has run for a while.
#[track_caller]
fn allocations(plan: Plan, messages: u64) -> u64 {
    let flow = Flow::start(plan);
    let batches = messages / u64::from(plan.batch);
    flow.run(batches);
    measure(|| flow.run(batches)).count_total
}

#[test]
fn a_small_message_with_qos_0_allocates_nothing() {
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        for batch in [1, 50] {
            let plan = Plan { version, ..Plan::one_to_one(QoS::AtMostOnce, batch) };
            assert_eq!(allocations(plan, 5_000), 0, "{plan:?}");
        }
    }
}

#[test]
fn fan_out_with_qos_0_allocates_nothing() {
    // As long as the buffers that a thread keeps are enough for all mailboxes that are filled at once.
    let plan = Plan { subscribers: 50, ..Plan::one_to_one(QoS::AtMostOnce, 50) };
    assert_eq!(allocations(plan, 5_000), 0);
}

#[test]
fn a_message_with_qos_1_or_2_allocates_once() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for batch in [1, 50] {
            let (plan, messages) = (Plan::one_to_one(qos, batch), 5_000);
            // An empty lane of a mailbox holds no memory, so a batch makes it grow anew.
            let growing = u64::from(batch.ilog2().max(1)) * messages / u64::from(batch);
            let count = allocations(plan, messages);
            assert!(count <= messages + growing, "{count} allocations, {plan:?}");
        }
    }
}

#[test]
fn a_match_allocates_nothing() {
    for kind in [FilterKind::Exact, FilterKind::Wildcard] {
        let mut inside = Inside::new();
        let client = inside.client("client").unwrap();
        for filter in samples::filters(1_000, kind) {
            inside.subscribe(&client, &filter);
        }
        let topics: Vec<String> = samples::topics(1_000).collect();
        assert_eq!(inside.matches(&topics[0]), 1);
        let info = measure(|| assert!(topics.iter().all(|topic| inside.matches(topic) == 1)));
        assert_eq!(info.count_total, 0, "{}", kind.name());
    }
}
