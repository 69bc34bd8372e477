//! A load generator for any MQTT broker: raw sockets, its own few lines of MQTT, one thread unless the
//! scenario says otherwise.
//!
//! It depends on none of the workspace's crates, so that it treats every broker alike and cannot share a
//! fault with ours. Four scenarios:
//!
//! * `flow` ([`flow`]): publishers and subscribers under full load, each publisher with a bounded number of
//!   undelivered messages. Counts what arrives, and what is lost, doubled or out of order.
//! * `idle` ([`connections`]): connections that only keep alive. What does the broker spend on them?
//! * `connect` ([`connections`]): connections opened and closed in rounds. Does the broker give all back?
//! * `abuse` ([`abuse`]): bad input of many kinds, beside clients that behave. Whom does it hurt?
//!
//! The broker's processor time, memory and descriptors come from `/proc` ([`process`]) when `--pid` names
//! it. The figure to compare is messages per broker-CPU-second: it hardly depends on who else runs.
//! Pin broker and generator to a core each (`taskset -c`), start the broker under its pin, and compare only
//! runs of the same minute.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

mod abuse;
mod args;
mod connections;
mod flow;
mod ledger;
mod link;
mod process;
mod report;
mod wire;

use std::{io, process::ExitCode};

use clap::Parser;

use crate::args::{Arguments, Scenario};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(clean) if clean => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(3),
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one scenario, prints its report; true when the broker did all that was asked.
fn run(arguments: &Arguments) -> io::Result<bool> {
    process::raise_descriptor_limit();
    let report = match &arguments.scenario {
        Scenario::Flow(flow) => flow::run(&arguments.common, flow)?,
        Scenario::Idle(idle) => connections::idle(&arguments.common, idle)?,
        Scenario::Connect(connect) => connections::connect(&arguments.common, connect)?,
        Scenario::Abuse(abuse) => abuse::run(&arguments.common, abuse)?,
    };
    println!("{}", if arguments.common.json { report.json() } else { report.text() });
    Ok(report.is_clean())
}
