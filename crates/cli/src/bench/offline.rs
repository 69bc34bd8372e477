//! The scenario `offline`: messages for sessions that are away, and their delivery when they come back.
//!
//! Each session has a publisher of its own. In the end the sessions are discarded.

use super::{
    args,
    failure::Failure,
    link::{Greeted, LONG_KEEP_ALIVE},
    progress::Progress,
    report::Report,
    run::Run,
    steady::describe_body,
    traffic::{Plan, Traffic, publisher::Pace, topology::Topology},
    wire::connect::Session,
};

/// Runs the scenario.
pub(crate) fn run(run: &Run, options: &args::Offline) -> Result<Report, Failure> {
    let sessions = usize::from(options.sessions);
    for index in 0..sessions {
        let mut session = open(run, index, Session::Kept)?;
        session.subscribe(run, &[Topology::Pairs.filter(run, index)], options.qos)?;
        session.disconnect()?;
    }
    let outcome = queue_and_drain(run, options);
    // Whatever happened, and when the broker is gone, so are they.
    for index in 0..sessions {
        let discarded = open(run, index, Session::Clean).and_then(Greeted::disconnect);
        if discarded.is_err() {
            break;
        }
    }
    outcome
}

fn queue_and_drain(run: &Run, options: &args::Offline) -> Result<Report, Failure> {
    let plan = Plan {
        scenario: "offline",
        publishers: options.sessions.into(),
        topology: Topology::Away,
        qos: options.qos,
        retain: false,
        body: &options.body,
        window: options.window,
        pace: Pace::Total(options.messages.into()),
    };
    let mut traffic = Traffic::open(run, &plan, Progress::new())?;
    let start = traffic.sample();
    traffic.send_all()?;
    let queued = traffic.sample();
    for index in 0..plan.publishers {
        traffic.add_subscriber(open(run, index, Session::Kept)?, &[])?;
    }
    traffic.drain()?;
    let drained = traffic.last_sample();

    let mut report = Report::new("offline");
    report.text("mqtt", run.dialect.name());
    report.count("sessions", options.sessions.into());
    report.count("qos", plan.qos.into());
    report.count("window", plan.window.into());
    describe_body(plan.body, &mut report);
    queued.report_sent(&start, "queued", &mut report);
    if let Some(grown) = queued.grown(&start) {
        report.count("resident_bytes_per_message", grown / queued.sent.max(1));
    }
    drained.report_delivered(&queued, "drained", &mut report);
    drained.report_processes(&start, &mut report);
    traffic.faults().report(plan.qos, "", &mut report);
    Ok(report)
}

fn open(run: &Run, index: usize, session: Session) -> Result<Greeted, Failure> {
    Greeted::open(run, run.client_id("s", index), LONG_KEEP_ALIVE, session)
}
