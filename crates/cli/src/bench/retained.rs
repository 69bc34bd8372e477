//! The scenario `retained`: what it costs to store messages, to deliver them all to one subscriber, and to
//! keep them.
//!
//! The subscriber asks for `#`; what others have retained on the broker comes as well and is not counted. In
//! the end the messages are cleared. Order says nothing here, each message has a topic of its own.

use super::{
    args::{self, Body},
    failure::Failure,
    link::{Greeted, LONG_KEEP_ALIVE},
    progress::Progress,
    report::Report,
    run::Run,
    steady::describe_body,
    stop::Stop,
    traffic::{Plan, Traffic, publisher::Pace, sample::Sample, topology::Topology},
    wire::{self, connect::Session},
};

/// Runs the scenario.
pub(crate) fn run(run: &Run, options: &args::Retained) -> Result<Report, Failure> {
    let plan = Plan {
        scenario: "retained",
        publishers: 1,
        topology: Topology::Scattered,
        qos: options.quality.qos,
        retain: true,
        body: &options.body,
        window: options.window,
        pace: Pace::Total(options.messages.into()),
    };
    let mut traffic = Traffic::open(run, &plan, Progress::new())?;
    let start = traffic.sample();
    traffic.send_all()?;
    let stored = traffic.sample();
    let opened = deliver(run, &mut traffic, plan.qos)?;
    let delivered = traffic.last_sample();
    clear(run, &plan, stored.sent)?;

    let mut report = Report::new("retained");
    report.text("mqtt", run.dialect.name());
    report.count("qos", plan.qos.into());
    report.count("window", plan.window.into());
    describe_body(plan.body, &mut report);
    stored.report_sent(&start, "stored", &mut report);
    if let Some(grown) = stored.grown(&start) {
        report.count("resident_bytes_per_message", grown / stored.sent.max(1));
    }
    delivered.report_delivered(&opened, "delivered", &mut report);
    delivered.report_processes(&start, &mut report);
    traffic.faults().report(plan.qos, "", &mut report);
    Ok(report)
}

/// Subscribes to everything and waits for what is stored.
fn deliver(run: &Run, traffic: &mut Traffic, qos: u8) -> Result<Sample, Failure> {
    let greeted = Greeted::open(run, run.client_id("s", 0), LONG_KEEP_ALIVE, Session::Clean)?;
    let opened = traffic.sample();
    let mut subscribe = Vec::new();
    wire::subscribe(&mut subscribe, run.dialect, &["#"], qos);
    traffic.add_subscriber(greeted, &subscribe)?;
    traffic.drain()?;
    Ok(opened)
}

/// Publishes an empty message to each topic, which is how MQTT forgets one. A run that is to stop does it too.
fn clear(run: &Run, plan: &Plan<'_>, count: u64) -> Result<(), Failure> {
    let empty = Body { payload: 0, user_properties: 0 };
    let plan = Plan { body: &empty, pace: Pace::Total(count), ..plan.clone() };
    let run = run.with_stop(Stop::default());
    Traffic::open(&run, &plan, Progress::new())?.send_all()
}
