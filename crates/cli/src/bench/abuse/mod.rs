//! The scenario `abuse`: bad input of many kinds, one case after the other, beside clients that behave.
//!
//! What a case sends and how it has to end stands in [`cases`]; [`attack`] plays it and notes how it ended. For
//! the whole time a [`bystander`] publishes and subscribes on a thread of its own, and [`Watch`] looks at the
//! broker. A connection that ends in another way than expected is a fault; so is a message that the bystander
//! loses, memory above the bound, and a descriptor that the broker keeps.

mod attack;
mod bystander;
mod case;
mod cases;

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use self::{
    bystander::Bystander,
    case::{Case, Ending},
};
use crate::bench::{
    args, failure::Failure, memory::Watch, process, progress::Progress, report::Report, run::Run,
    wire::Dialect,
};

/// Runs the scenario.
pub(crate) fn run(run: &Run, options: &args::Abuse) -> Result<Report, Failure> {
    let before = run.usage();
    let watch = run.pid().map(Watch::start);
    let bystander = Bystander::start(run)?;
    let mut report = Report::new("abuse");
    report.text("mqtt", run.dialect.name());
    let mut line = Progress::new();
    for case in cases::all(run.dialect, options) {
        line.show(Instant::now(), || format!("abuse: {}", case.name));
        let endings = attack::play(run, options, &case)?;
        // A case that was cut short says nothing.
        if run.stop.is_set() {
            break;
        }
        let resident = watch.as_ref().map(Watch::highest);
        report.case(row(run.dialect, &case, &endings, resident));
    }
    drop(line);
    let bystander = bystander.stop();
    bystander.report(&mut report);
    if let (Some(before), Some(watch), Some(pid)) = (before, watch, run.pid()) {
        let after = settle(pid, before, options.patience);
        let highest = watch.stop();
        report.mebibytes("start_resident_mib", before.resident);
        report.mebibytes("highest_resident_mib", highest);
        report.mebibytes("end_resident_mib", after.resident);
        let rise = highest.saturating_sub(before.resident);
        report.mebibytes("rise_mib", rise);
        report.fault("rise_above_bound", u64::from(rise > u64::from(options.max_rise) << 20));
        report.fault("descriptors_kept", after.descriptors.saturating_sub(before.descriptors));
    }
    Ok(report)
}

/// One line of the table.
fn row(dialect: Dialect, case: &Case, endings: &[Ending], resident: Option<u64>) -> Report {
    let mut row = Report::default();
    row.text("case", case.name);
    row.count("connections", endings.len() as u64);
    row.text("expected", &case.expected.to_string());
    row.text("found", &found(endings));
    let slowest = endings.iter().filter_map(|it| it.closed_after).max();
    match slowest {
        Some(slowest) => row.number("slowest_s", slowest.as_secs_f64()),
        None => row.text("slowest_s", "-"),
    }
    if let Some(resident) = resident {
        row.mebibytes("resident_mib", resident);
    }
    let deviating = endings.iter().filter(|it| !case.expected.is_met(dialect, it)).count();
    row.fault("deviating", deviating as u64);
    row
}

/// The ways in which the connections ended, the most frequent first.
fn found(endings: &[Ending]) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for ending in endings {
        *counts.entry(ending.to_string()).or_default() += 1;
    }
    if let (1, Some(only)) = (counts.len(), counts.keys().next()) {
        return only.clone();
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| usize::MAX - count);
    let texts: Vec<_> = counts.iter().map(|(text, count)| format!("{count} {text}")).collect();
    texts.join(", ")
}

/// Waits until the broker has closed what it opened, and looks at it.
fn settle(pid: u32, before: process::Usage, patience: Duration) -> process::Usage {
    let end = Instant::now() + patience;
    loop {
        let usage = process::usage(pid).unwrap_or_default();
        if usage.descriptors <= before.descriptors || Instant::now() >= end {
            return usage;
        }
        thread::sleep(Duration::from_millis(100));
    }
}
