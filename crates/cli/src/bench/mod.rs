//! `gantline bench`: puts load on an MQTT broker and says what that cost the broker. Raw sockets, its own few lines of
//! MQTT, one thread unless the scenario says otherwise. `mqtt://`, `mqtts://`, `ws://` and `wss://` look alike to the
//! scenarios: [`socket`].
//!
//! It uses none of the workspace's MQTT, so that it treats every broker alike and cannot share a fault with ours;
//! [`wire`] has what it needs of the protocol. The scenarios are in [`steady`], [`retained`], [`offline`],
//! [`connections`], [`frozen`] and [`abuse`], the traffic of most of them in [`traffic`]; [`relay`] is a broker's
//! floor.
//!
//! The broker's processor time, memory and descriptors come from the system ([`process`]) when `--pid` names it.
//! The figure to compare is messages per broker-CPU-second: it hardly depends on who else runs. Pin broker and
//! generator to a core each, start the broker under its pin, and compare only runs of the same minute.

mod abuse;
mod alarm;
pub(crate) mod args;
mod connections;
mod dial;
mod failure;
mod frozen;
mod histogram;
mod ledger;
mod link;
mod memory;
mod offline;
mod place;
mod process;
mod progress;
mod relay;
mod report;
mod retained;
mod run;
mod socket;
mod steady;
mod stop;
mod traffic;
mod websocket;
mod wire;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, error::ErrorKind};

use self::{
    args::{Bench, Scenario, Target},
    report::Report,
    run::Run,
    stop::Stop,
};
use crate::{args::Arguments, descriptors};

pub(crate) use self::failure::Failure;

/// The exit code when the broker lost or doubled messages, broke a bound, or did not deal with bad input as MQTT says.
const FAULTY: u8 = 3;

/// Runs one scenario and prints its report.
pub(crate) fn run(arguments: &Bench) -> Result<ExitCode, Failure> {
    let scenario = &arguments.scenario;
    check(scenario);
    descriptors::raise_limit(None);
    let stop = Stop::at_signal().map_err(Failure::system("waiting for signals"))?;
    let mut report = measure(scenario, &stop)?;
    if stop.is_set() && !matches!(scenario, Scenario::Relay(_)) {
        report.text("ended", "early");
    }
    // Who closes the pipe does not want to read it.
    let _ = writeln!(io::stdout(), "{}", if scenario.json() { report.json() } else { report.table() });
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(FAULTY) })
}

fn measure(scenario: &Scenario, stop: &Stop) -> Result<Report, Failure> {
    let run = |target: &Target| Run::new(target, stop.clone());
    match scenario {
        Scenario::P2p(options) => steady::p2p(&run(&options.load.target)?, options),
        Scenario::FanIn(options) => steady::fan_in(&run(&options.load.target)?, options),
        Scenario::FanOut(options) => steady::fan_out(&run(&options.load.target)?, options),
        Scenario::Wildcard(options) => steady::wildcard(&run(&options.load.target)?, options),
        Scenario::Shared(options) => steady::shared(&run(&options.load.target)?, options),
        Scenario::Latency(options) => steady::latency(&run(&options.target)?, options),
        Scenario::Retained(options) => retained::run(&run(&options.target)?, options),
        Scenario::Offline(options) => offline::run(&run(&options.target)?, options),
        Scenario::Connect(options) => connections::connect(&run(&options.target)?, options),
        Scenario::Idle(options) => connections::idle(&run(&options.target)?, options),
        Scenario::Frozen(options) => frozen::run(&run(&options.target)?, options),
        Scenario::Abuse(options) => abuse::run(&run(&options.target)?, options),
        Scenario::Relay(options) => relay::run(options, stop),
    }
}

/// What the parser cannot say: options that contradict each other end the process with exit code 2.
fn check(scenario: &Scenario) {
    let wants_properties = scenario.body().is_some_and(|body| body.user_properties > 0);
    let has_properties = scenario.target().is_some_and(|target| target.mqtt.has_properties());
    if wants_properties && !has_properties {
        refuse("--user-properties needs --mqtt 5.0");
    }
    if matches!(scenario, Scenario::P2p(it) if it.cross && !it.publishers.is_multiple_of(4)) {
        refuse("--cross needs --publishers to be a multiple of 4");
    }
    if matches!(scenario, Scenario::Frozen(it) if it.frozen >= it.clients) {
        refuse("--frozen has to be below --clients");
    }
}

fn refuse(problem: &str) -> ! {
    Arguments::command().error(ErrorKind::ArgumentConflict, problem).exit()
}
