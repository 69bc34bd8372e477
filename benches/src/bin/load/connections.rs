//! The scenarios `idle` and `connect`: what connections cost a broker that have nothing to say.

use std::{
    io::{self, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    args::{self, Common},
    link, process,
    report::Report,
    wire,
};

/// Keeps connections open that ping once in a keep-alive, and reads what the broker spends on them.
pub(crate) fn idle(common: &Common, options: &args::Idle) -> io::Result<Report> {
    let mut report = Report::default();
    report.text_figure("scenario", "idle");
    let before = look(common);
    let mut connections = open_all(common, options.connections, options.keep_alive)?;
    // The burst of connecting is over when the broker has answered the last one; give its timers a moment.
    thread::sleep(Duration::from_secs(1));
    let opened = look(common);
    let started = Instant::now();
    keep_alive(&mut connections, options)?;
    let seconds = started.elapsed().as_secs_f64();
    let after = look(common);
    let count = u64::from(options.connections);
    report.count("connections", count);
    report.number("seconds", seconds);
    if let (Some(before), Some(opened), Some(after)) = (before, opened, after) {
        let cpu = after.cpu.saturating_sub(opened.cpu).as_secs_f64();
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
pub(crate) fn connect(common: &Common, options: &args::Connect) -> io::Result<Report> {
    let mut report = Report::default();
    report.text_figure("scenario", "connect");
    report.count("connections", u64::from(options.connections));
    if let Some(usage) = look(common) {
        report.mebibytes("start_resident_mib", usage.resident);
        report.count("start_descriptors", usage.descriptors);
    }
    let mut settled = Vec::new();
    for round in 1..=options.rounds {
        let before = look(common);
        let started = Instant::now();
        let mut connections = open_all(common, options.connections, 0)?;
        let seconds = started.elapsed().as_secs_f64();
        report
            .count(format!("round_{round}_connects_per_second"), (connections.len() as f64 / seconds) as u64);
        if let (Some(before), Some(open)) = (before, look(common)) {
            let cpu = open.cpu.saturating_sub(before.cpu).as_secs_f64();
            let per_second = connections.len() as f64 / cpu;
            report.count(format!("round_{round}_connects_per_broker_cpu_second"), per_second as u64);
            report.mebibytes(format!("round_{round}_open_resident_mib"), open.resident);
            report.count(format!("round_{round}_open_descriptors"), open.descriptors);
        }
        for connection in &mut connections {
            connection.write_all(&wire::DISCONNECT)?;
        }
        drop(connections);
        thread::sleep(options.settle);
        if let Some(usage) = look(common) {
            report.mebibytes(format!("round_{round}_resident_mib"), usage.resident);
            report.count(format!("round_{round}_descriptors"), usage.descriptors);
            settled.push(usage.resident);
        }
    }
    if let (Some(first), Some(last)) = (settled.first(), settled.last()) {
        report.number("resident_last_over_first", *last as f64 / *first as f64);
    }
    Ok(report)
}

fn open_all(common: &Common, count: u32, keep_alive: u16) -> io::Result<Vec<TcpStream>> {
    let broker = common.address()?;
    let open = |index| {
        let client_id = format!("load-{}-{index}", std::process::id());
        let opened = link::open(broker, common.mqtt, &client_id, keep_alive);
        opened.map(|(stream, _)| stream).map_err(|error| {
            io::Error::new(error.kind(), format!("connection {} of {count}: {error}", index + 1))
        })
    };
    (0..count).map(open).collect()
}

/// Each connection pings once in a keep-alive, spread evenly.
fn keep_alive(connections: &mut [TcpStream], options: &args::Idle) -> io::Result<()> {
    let end = Instant::now() + options.seconds;
    let pause = Duration::from_secs(options.keep_alive.into()) / connections.len().max(1) as u32;
    let mut next = Instant::now() + pause;
    for index in 0.. {
        thread::sleep(next.min(end).saturating_duration_since(Instant::now()));
        if next >= end {
            break;
        }
        next += pause;
        let count = connections.len();
        if let Some(connection) = connections.get_mut(index % count.max(1)) {
            connection.write_all(&wire::PINGREQ)?;
            link::answer(connection, wire::PINGRESP)?;
        }
    }
    Ok(())
}

fn look(common: &Common) -> Option<process::Usage> {
    common.pid.and_then(process::usage)
}
