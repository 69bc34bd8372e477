//! How much violence: the arguments of the program.
//!
//! It is started like every test too, so a filter and the options of the usual harness are no error.

use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Connections that the proxy ends.
    pub(crate) cuts: u64,
    /// Kills of the publisher, and of the subscriber.
    pub(crate) kills: u64,
    pub(crate) server_kills: u64,
    pub(crate) seed: u64,
}

pub(crate) enum Wanted {
    Run(Options),
    /// Another test is meant.
    Nothing,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Wanted, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = u64::from(now.subsec_nanos());
        let mut options = Self { cuts: 50, kills: 5, server_kills: 5, seed };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let number = match argument.as_str() {
                "--cuts" => &mut options.cuts,
                "--kills" => &mut options.kills,
                "--server-kills" => &mut options.server_kills,
                "--seed" => &mut options.seed,
                "--list" => {
                    println!("chaos: test");
                    return Ok(Wanted::Nothing);
                }
                filter if !filter.starts_with('-') && !"chaos".contains(filter) => {
                    return Ok(Wanted::Nothing);
                }
                _ => continue,
            };
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a number"))?;
            *number = value.parse().map_err(|_| format!("{argument} needs a number, not {value:?}"))?;
        }
        Ok(Wanted::Run(options))
    }
}
