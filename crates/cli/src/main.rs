//! The command `gantline`: reads the command line, runs a subcommand, turns its outcome into an exit code.
//!
//! 0: done. 1: it could not be done, and one line on stderr says why. 2: the command line is wrong. 3: it was
//! measured, and the broker did not do its work.
//! What the subcommands do is in their files; MQTT itself is in the libraries.

mod args;
mod bench;
#[cfg(feature = "tls")]
mod client_tls;
mod descriptors;
mod listeners;
mod retained;
mod serve;
mod signals;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websocket")]
mod websocket;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            // If stderr is gone as well, the exit code has to do.
            let _ = writeln!(io::stderr(), "gantline: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Serve(arguments) => serve::run(arguments).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Retained(transfer) => retained::run(transfer).map(|()| ExitCode::SUCCESS),
        Command::Bench(arguments) => bench::run(arguments).map_err(Into::into),
    }
}
