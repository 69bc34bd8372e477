//! The scenario `frozen`: many clients of which a few never read. What do the others and the publishers notice?
//!
//! Each client that reads has a topic of its own, and the publishers send to all of them in turns, at a fixed rate.
//! They do so twice: without the clients that never read, and with them. Those subscribe to topics of clients that
//! read, so that both runs send the same, and who does not read is sent as much as who does. In the end they are read
//! after all: if one of them got everything, no bound of the broker was reached, and the run proves nothing. Relates
//! to: [`Traffic`], which does the rest; [`clients`], who do not read; [`verdict`], what is a fault.

mod clients;
mod verdict;

use std::time::Duration;

use self::{clients::Frozen, verdict::Verdict};
use super::{
    args::{self, Body},
    failure::Failure,
    histogram::Histogram,
    memory::Watch,
    progress::Progress,
    report::Report,
    run::Run,
    traffic::{Plan, Traffic, publisher::Pace, sample::Sample, topology::Topology, waits::Waits},
};

/// With it, an acknowledgement shows how long a publisher is held back.
const QOS: u8 = 1;
/// As many as may be unacknowledged: what is open in an open loop is the broker's doing.
const OPEN: u32 = 60_000;
/// The share of acknowledgements of the run without that are there in the time that is called normal.
const NORMAL: f64 = 0.999;
const PERCENTILES: [&str; 3] = ["50", "99", "99.9"];

/// Runs the scenario.
pub(crate) fn run(run: &Run, options: &args::Frozen) -> Result<Report, Failure> {
    let readers = (options.clients - options.frozen) as usize;
    let topology = Topology::InTurns(readers);
    let body = Body { payload: options.payload, user_properties: 0 };
    let plan = Plan {
        scenario: "frozen",
        publishers: options.publishers.into(),
        topology,
        qos: QOS,
        retain: false,
        body: &body,
        window: OPEN,
        pace: Pace::Rate(options.rate),
    };
    let mut traffic = Traffic::open(run, &plan, Progress::new())?;
    traffic.spin(options.warm_up)?;
    let without = Phase::run(&mut traffic, options.seconds)?;

    let topics = spread(options.frozen as usize, readers);
    let filters: Vec<_> = topics.iter().map(|topic| topology.filter(run, *topic)).collect();
    let frozen = traffic.pause(|_| Frozen::open(run, &filters, QOS))?;
    let sent_before = traffic.received().to_vec();
    let watch = run.pid().map(Watch::start);
    let with = Phase::run(&mut traffic, options.seconds)?;
    let highest = watch.map(Watch::stop);
    let sent: Vec<_> = topics.iter().map(|topic| traffic.received()[*topic] - sent_before[*topic]).collect();
    let got = traffic.pause(|_| frozen.thaw(run))?;

    let mut report = Report::new("frozen");
    report.text("mqtt", run.dialect.name());
    report.count("clients", options.clients.into());
    report.count("frozen", options.frozen.into());
    report.count("publishers", options.publishers.into());
    report.count("rate", options.rate.into());
    report.count("payload_bytes", options.payload.into());
    let normal = without.normal();
    report.number("normal_ack_us", normal.as_secs_f64() * 1e6);
    report.case(without.row("without", normal));
    report.case(with.row("with", normal));
    Verdict {
        p99_without: without.latency.quantile(0.99),
        p99_with: with.latency.quantile(0.99),
        held: with.held(normal),
        rise: without.resident().zip(highest).map(|(before, highest)| highest.saturating_sub(before)),
        sent,
        got,
    }
    .report(options, &mut report);
    traffic.faults().report(QOS, "", &mut report);
    Ok(report)
}

/// `count` topics of `all`, as far from each other as they can be.
fn spread(count: usize, all: usize) -> Vec<usize> {
    (0..count).map(|index| index * all / count).collect()
}

/// One of the two runs.
struct Phase {
    before: Sample,
    after: Sample,
    latency: Histogram,
    late: Histogram,
    /// How long all publishers waited for acknowledgements.
    acks: Histogram,
    /// The same for each of them.
    waits: Vec<Waits>,
}

impl Phase {
    /// Lets the traffic run, and waits for the last messages.
    fn run(traffic: &mut Traffic, duration: Duration) -> Result<Self, Failure> {
        traffic.pause(Traffic::drain)?;
        traffic.count_latencies();
        traffic.count_waits();
        let before = traffic.sample();
        traffic.spin(duration)?;
        let after = traffic.sample();
        traffic.pause(Traffic::drain)?;
        Ok(Self {
            before,
            after,
            latency: traffic.latency().clone(),
            late: traffic.late().clone(),
            acks: traffic.waits().clone(),
            waits: traffic.waits_of_each().cloned().collect(),
        })
    }

    /// The time in which an acknowledgement normally is there.
    fn normal(&self) -> Duration {
        Duration::from_nanos(self.acks.quantile(NORMAL)).max(Waits::SHORTEST)
    }

    /// For how long a publisher was held back at most in any second.
    fn held(&self, normal: Duration) -> Duration {
        self.waits.iter().map(|it| it.worst_second(normal)).max().unwrap_or_default()
    }

    /// The memory of the broker at the end, in bytes.
    fn resident(&self) -> Option<u64> {
        Some(self.after.broker?.resident)
    }

    /// One line of the table.
    fn row(&self, name: &str, normal: Duration) -> Report {
        let mut row = Report::default();
        row.text("frozen", name);
        self.after.report_delivered(&self.before, "delivered", &mut row);
        self.after.report_processes(&self.before, &mut row);
        row.percentiles("latency", &self.latency, &PERCENTILES);
        row.percentiles("ack", &self.acks, &["99.9"]);
        row.number("held_ms_in_a_second", self.held(normal).as_secs_f64() * 1e3);
        row.percentiles("generator_late", &self.late, &["99"]);
        row
    }
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn who_never_reads_is_spread_over_all_topics() {
        assert_eq!(spread(4, 10), [0, 2, 5, 7]);
        assert_eq!(spread(3, 2), [0, 0, 1]);
        assert!(spread(0, 10).is_empty());
    }
}
