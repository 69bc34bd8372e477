//! The scenarios that send for a while and look at the rate: `p2p`, `fan-in`, `fan-out`, `wildcard`, `shared`,
//! and `latency`, which looks at the delay.
//!
//! All but the last are closed loops: a publisher refills its window when messages of it were delivered, so the
//! load follows the broker, and no queue overflows unless the broker's bounds are below the window.

use super::{
    args::{self, Body, Load, Timing},
    failure::Failure,
    link::{Greeted, LONG_KEEP_ALIVE},
    progress::Progress,
    report::Report,
    run::Run,
    traffic::{Plan, Traffic, publisher::Pace, topology::Topology},
    wire::connect::Session,
};

/// Messages that a publisher may have undelivered.
const WINDOW: u32 = 100;
/// The same where each goes to very many.
const WINDOW_OF_FAN_OUT: u32 = 20;
/// As many as may be unacknowledged: what is open in an open loop is the broker's doing.
const OPEN: u32 = 60_000;
/// The filters of `wildcard` are spread over connections with so many each, and come in packets of this size.
const FILTERS_OF_ONE: usize = 1000;
const FILTERS_AT_ONCE: usize = 100;
/// The percentiles that are shown.
const FEW: [&str; 2] = ["50", "99"];
const MANY: [&str; 5] = ["50", "90", "99", "99.9", "99.99"];

/// Each publisher has a topic and a subscriber.
pub(crate) fn p2p(run: &Run, options: &args::P2p) -> Result<Report, Failure> {
    let topology = if options.cross { Topology::CrossingPairs } else { Topology::Pairs };
    let plan = plan("p2p", options.publishers, topology, &options.load);
    let mut report = measure(run, &plan, options.load.timing)?;
    if options.cross {
        report.count("crossing_pairs", u64::from(options.publishers) / 2);
    }
    Ok(report)
}

/// All publishers have one subscriber.
pub(crate) fn fan_in(run: &Run, options: &args::FanIn) -> Result<Report, Failure> {
    let plan = plan("fan-in", options.publishers, Topology::All(1), &options.load);
    measure(run, &plan, options.load.timing)
}

/// All subscribers have one publisher.
pub(crate) fn fan_out(run: &Run, options: &args::FanOut) -> Result<Report, Failure> {
    let window = options.load.window.unwrap_or(WINDOW_OF_FAN_OUT);
    let topology = Topology::All(options.subscribers.into());
    let plan = Plan { window, ..plan("fan-out", 1, topology, &options.load) };
    measure(run, &plan, options.load.timing)
}

/// One member of a group gets each message.
pub(crate) fn shared(run: &Run, options: &args::Shared) -> Result<Report, Failure> {
    let topology = Topology::Group(options.members.into());
    let plan = plan("shared", options.publishers, topology, &options.load);
    measure(run, &plan, options.load.timing)
}

/// As `p2p`, in an index full of filters that do not match.
pub(crate) fn wildcard(run: &Run, options: &args::Wildcard) -> Result<Report, Failure> {
    let mut holders = subscribe_in_vain(run, options.filters as usize)?;
    let plan = plan("wildcard", options.publishers, Topology::Pairs, &options.load);
    let mut report = measure(run, &plan, options.load.timing)?;
    report.count("wildcard_filters", options.filters.into());
    let misled = holders.iter_mut().map(Greeted::has_unread).filter(|unread| *unread).count();
    report.fault("delivered_to_others", misled as u64);
    Ok(report)
}

/// Messages are due at fixed times, and late from then on.
pub(crate) fn latency(run: &Run, options: &args::Latency) -> Result<Report, Failure> {
    let plan = Plan {
        scenario: "latency",
        publishers: options.publishers.into(),
        topology: Topology::Pairs,
        qos: options.quality.qos,
        retain: false,
        body: &options.body,
        window: OPEN,
        pace: Pace::Rate(options.rate),
    };
    measure(run, &plan, options.timing)
}

fn plan<'a>(scenario: &'static str, publishers: u16, topology: Topology, load: &'a Load) -> Plan<'a> {
    Plan {
        scenario,
        publishers: publishers.into(),
        topology,
        qos: load.quality.qos,
        retain: false,
        body: &load.body,
        window: load.window.unwrap_or(WINDOW),
        pace: Pace::Window,
    }
}

/// Lets the traffic run and looks at it before and after.
fn measure(run: &Run, plan: &Plan<'_>, timing: Timing) -> Result<Report, Failure> {
    let mut traffic = Traffic::open(run, plan, Progress::new())?;
    traffic.spin(timing.warm_up)?;
    let before = traffic.sample();
    traffic.count_latencies();
    traffic.spin(timing.seconds)?;
    let after = traffic.sample();
    traffic.drain()?;

    let mut report = Report::new(plan.scenario);
    describe(run, plan, &mut report);
    report.number("seconds", (after.at - before.at).as_secs_f64());
    after.report_delivered(&before, "delivered", &mut report);
    after.report_processes(&before, &mut report);
    if matches!(plan.pace, Pace::Rate(_)) {
        report.percentiles("latency", traffic.latency(), &MANY);
        report.percentiles("generator_late", traffic.late(), &FEW);
    } else {
        report.percentiles("latency", traffic.latency(), &FEW);
    }
    traffic.faults().report(plan.qos, "", &mut report);
    Ok(report)
}

/// What was asked for.
fn describe(run: &Run, plan: &Plan<'_>, report: &mut Report) {
    report.text("mqtt", run.dialect.name());
    report.count("publishers", plan.publishers as u64);
    report.count("subscribers", plan.topology.subscribers(plan.publishers) as u64);
    report.count("qos", plan.qos.into());
    match plan.pace {
        Pace::Rate(rate) => report.count("rate", rate.into()),
        Pace::Window | Pace::Total(_) => report.count("window", plan.window.into()),
    }
    describe_body(plan.body, report);
}

/// What messages carry.
pub(crate) fn describe_body(body: &Body, report: &mut Report) {
    report.count("payload_bytes", body.payload.into());
    report.count("user_properties", body.user_properties.into());
}

/// Subscribes to `count` wildcard filters that match nothing, on connections that stay open. One half differs
/// from the topics in the level before the wildcard, the other half behind it.
fn subscribe_in_vain(run: &Run, count: usize) -> Result<Vec<Greeted>, Failure> {
    let mut line = Progress::new();
    let filter = |number: usize| {
        run.topic(&if number.is_multiple_of(2) { format!("w{number}/+") } else { format!("+/w{number}") })
    };
    let numbers: Vec<_> = (0..count).collect();
    let mut holders = Vec::new();
    for mine in numbers.chunks(FILTERS_OF_ONE) {
        let mut holder =
            Greeted::open(run, run.client_id("w", holders.len()), LONG_KEEP_ALIVE, Session::Clean)?;
        for some in mine.chunks(FILTERS_AT_ONCE) {
            let filters: Vec<_> = some.iter().map(|number| filter(*number)).collect();
            holder.subscribe(run, &filters, 0)?;
            let done = some.last().map_or(0, |number| number + 1);
            line.show(std::time::Instant::now(), || {
                format!("wildcard: {done} of {count} filters subscribed")
            });
        }
        holders.push(holder);
        if run.stop.is_set() {
            break;
        }
    }
    Ok(holders)
}
