//! Clients that behave: a publisher and a subscriber, QoS 1, 100 messages in a second, on a thread of their own.
//!
//! The publisher does not wait for deliveries, so that a broker that falls behind shows in the worst latency and
//! not in the rate. Relates to: [`Traffic`], which does all of it. Leaves out: full load.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::bench::{
    args::Body,
    failure::Failure,
    progress::Progress,
    report::Report,
    run::Run,
    stop::Stop,
    traffic::{Plan, Traffic, publisher::Pace, sample::Faults, topology::Topology},
};

const QOS: u8 = 1;
/// Messages in a second.
const RATE: u32 = 100;
/// Longer than any attack.
const UNTIL_STOPPED: Duration = Duration::from_secs(24 * 60 * 60);

/// The running clients.
pub(crate) struct Bystander {
    stop: Stop,
    thread: JoinHandle<Outcome>,
}

/// What became of their messages.
#[derive(Default)]
pub(crate) struct Outcome {
    sent: u64,
    received: u64,
    faults: Faults,
    /// How long the slowest message took, in nanoseconds.
    slowest: u64,
    /// Whether a connection did not stand to the end.
    disconnected: bool,
}

impl Bystander {
    /// Connects both and lets them run.
    pub(crate) fn start(run: &Run) -> Result<Self, Failure> {
        // They end behind the last attack, whatever ends that.
        let run = run.with_stop(Stop::default());
        let body = Body { payload: 16, user_properties: 0 };
        let plan = Plan {
            scenario: "bystander",
            publishers: 1,
            topology: Topology::Pairs,
            qos: QOS,
            retain: false,
            body: &body,
            window: u32::MAX,
            pace: Pace::Rate(RATE),
        };
        let traffic = Traffic::open(&run, &plan, Progress::off())?;
        Ok(Self { stop: run.stop, thread: thread::spawn(move || behave(traffic)) })
    }

    /// Waits for the last messages.
    pub(crate) fn stop(self) -> Outcome {
        self.stop.set();
        self.thread.join().unwrap_or_else(|_| Outcome { disconnected: true, ..Outcome::default() })
    }
}

fn behave(mut traffic: Traffic) -> Outcome {
    let ended = traffic.spin(UNTIL_STOPPED).and_then(|()| traffic.drain());
    let sample = traffic.sample();
    Outcome {
        sent: sample.sent,
        received: sample.delivered,
        faults: traffic.faults(),
        slowest: traffic.latency().highest(),
        disconnected: ended.is_err(),
    }
}

impl Outcome {
    pub(crate) fn report(&self, report: &mut Report) {
        report.count("bystander_sent", self.sent);
        report.count("bystander_received", self.received);
        self.faults.report(QOS, "bystander_", report);
        report.fault("bystander_disconnected", u64::from(self.disconnected));
        report.number("bystander_slowest_ms", self.slowest as f64 / 1_000_000.0);
    }
}
