//! The command `gantline`: reads the command line, runs a subcommand, turns its outcome into an exit code.
//!
//! 0: done. 1: it could not be done, and one line on stderr says why. 2: the command line is wrong.
//! What the subcommands do is in their files; MQTT itself is in the libraries.

mod args;
mod descriptors;
mod serve;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If stderr is gone as well, the exit code has to do.
            let _ = writeln!(io::stderr(), "gantline: {failure}");
            ExitCode::FAILURE
        }
    }
}
