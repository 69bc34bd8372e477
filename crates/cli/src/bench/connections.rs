//! The scenarios `idle` and `connect`: what connections cost a broker that have nothing to say.

use std::time::{Duration, Instant};

use super::{
    args,
    failure::Failure,
    histogram::Histogram,
    link::{Greeted, LONG_KEEP_ALIVE},
    progress::Progress,
    report::Report,
    run::Run,
    wire::connect::Session,
};

/// Keeps connections open that ping once in a keep-alive, and reads what the broker spends on them.
pub(crate) fn idle(run: &Run, options: &args::Idle) -> Result<Report, Failure> {
    let mut line = Progress::new();
    let before = run.usage();
    let mut opened = open_all(run, options.connections, options.keep_alive, &mut line)?;
    // The burst of connecting is over when the broker has answered the last one; give its timers a moment.
    run.stop.sleep(options.timing.warm_up);
    let settled = run.usage();
    let started = Instant::now();
    keep_alive(run, &mut opened.connections, options, &mut line)?;
    let seconds = started.elapsed().as_secs_f64();
    let after = run.usage();

    let mut report = Report::new("idle");
    report.text("mqtt", run.dialect.name());
    let count = opened.connections.len() as u64;
    report.count("connections", count);
    report.number("seconds", seconds);
    if let (Some(before), Some(settled), Some(after)) = (before, settled, after) {
        let cpu = after.cpu.saturating_sub(settled.cpu).as_secs_f64();
        report.number("broker_cpu_percent", 100.0 * cpu / seconds);
        report.number("broker_cpu_ms", 1000.0 * cpu);
        report.mebibytes("broker_resident_mib", after.resident);
        let grown = after.resident.saturating_sub(before.resident);
        report.count("resident_bytes_per_connection", grown / count.max(1));
        report.count("broker_descriptors", after.descriptors);
    }
    Ok(report)
}

/// Opens and closes all connections a few times, and reads what the broker keeps.
pub(crate) fn connect(run: &Run, options: &args::Connect) -> Result<Report, Failure> {
    let mut line = Progress::new();
    let mut report = Report::new("connect");
    report.text("mqtt", run.dialect.name());
    report.count("connections", u64::from(options.connections));
    if let Some(usage) = run.usage() {
        report.mebibytes("start_resident_mib", usage.resident);
        report.count("start_descriptors", usage.descriptors);
    }
    let mut settled = Vec::new();
    for round in 1..=options.rounds {
        if run.stop.is_set() {
            break;
        }
        settled.extend(round_trip(run, options, round, &mut line, &mut report)?);
    }
    if let (Some(first), Some(last)) = (settled.first(), settled.last()) {
        report.number("resident_last_over_first", *last as f64 / *first as f64);
    }
    Ok(report)
}

/// Opens all, closes all; returns the broker's memory behind that.
fn round_trip(
    run: &Run,
    options: &args::Connect,
    round: u32,
    line: &mut Progress,
    report: &mut Report,
) -> Result<Option<u64>, Failure> {
    let name = |figure: &str| format!("round_{round}_{figure}");
    let before = run.usage();
    let started = Instant::now();
    let opened = open_all(run, options.connections, LONG_KEEP_ALIVE, line)?;
    let seconds = started.elapsed().as_secs_f64();
    let count = opened.connections.len() as u64;
    report.rate(name("connects_per_second"), count, seconds);
    report.percentiles(&name("connect"), &opened.durations, &["50", "99"]);
    if let (Some(before), Some(open)) = (before, run.usage()) {
        let cpu = open.cpu.saturating_sub(before.cpu).as_secs_f64();
        report.rate(name("connects_per_broker_cpu_second"), count, cpu);
        report.mebibytes(name("open_resident_mib"), open.resident);
        let grown = open.resident.saturating_sub(before.resident);
        report.count(name("resident_bytes_per_connection"), grown / count.max(1));
        report.count(name("open_descriptors"), open.descriptors);
    }
    opened.connections.into_iter().try_for_each(Greeted::disconnect)?;
    run.stop.sleep(options.settle);
    let usage = run.usage();
    if let Some(usage) = usage {
        report.mebibytes(name("resident_mib"), usage.resident);
        report.count(name("descriptors"), usage.descriptors);
    }
    Ok(usage.map(|it| it.resident))
}

/// Connections, and how long each took from the socket to the CONNACK, in nanoseconds.
struct Opened {
    connections: Vec<Greeted>,
    durations: Histogram,
}

fn open_all(run: &Run, count: u32, keep_alive: u16, line: &mut Progress) -> Result<Opened, Failure> {
    let mut opened = Opened { connections: Vec::new(), durations: Histogram::default() };
    for index in 0..count as usize {
        if run.stop.is_set() {
            break;
        }
        let started = Instant::now();
        let greeted = Greeted::open(run, run.client_id("c", index), keep_alive, Session::Clean)?;
        opened.durations.add(started.elapsed().as_nanos() as u64);
        opened.connections.push(greeted);
        line.show(started, || format!("{index} of {count} connections open"));
    }
    Ok(opened)
}

/// Each connection pings once in a keep-alive, spread evenly.
fn keep_alive(
    run: &Run,
    connections: &mut [Greeted],
    options: &args::Idle,
    line: &mut Progress,
) -> Result<(), Failure> {
    let started = Instant::now();
    let end = started + options.timing.seconds;
    let count = connections.len().max(1);
    let pause = Duration::from_secs(options.keep_alive.into()) / count as u32;
    let mut next = started + pause;
    for index in 0.. {
        run.stop.sleep(next.min(end).saturating_duration_since(Instant::now()));
        if next >= end || run.stop.is_set() {
            break;
        }
        line.show(next, || format!("idle: {:.0} s", (next - started).as_secs_f64()));
        next += pause;
        if let Some(connection) = connections.get_mut(index % count) {
            connection.ping()?;
        }
    }
    Ok(())
}
