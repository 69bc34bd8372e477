//! The command line: which broker, which scenario, how much.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::wire::Dialect;

/// Puts load on an MQTT broker and says what that cost the broker. Exit 3: messages were lost or doubled, or
/// bad input was not dealt with as MQTT says.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// What every scenario needs to know.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The broker
    #[arg(long, global = true, default_value = "127.0.0.1:1883", value_name = "HOST:PORT")]
    pub(crate) broker: String,
    /// Process id of the broker, to read its processor time, memory and descriptors (Linux)
    #[arg(long, global = true)]
    pub(crate) pid: Option<u32>,
    /// Protocol version
    #[arg(long, global = true, default_value = "3.1.1", value_name = "VERSION")]
    pub(crate) mqtt: Dialect,
    /// One JSON object instead of lines of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Common {
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        let none = || io::Error::other(format!("no address for {}", self.broker));
        self.broker.to_socket_addrs()?.next().ok_or_else(none)
    }
}

/// What to do to the broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Publishers and subscribers under full load
    Flow(Flow),
    /// Connections that only keep alive
    Idle(Idle),
    /// Connections opened and closed in rounds
    Connect(Connect),
    /// Bad input of all kinds; `--mqtt 5.0` checks the reasons that the broker gives
    Abuse(Abuse),
}

/// Who gets whose messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// A topic and a subscriber for each publisher
    Pairs,
    /// All subscribers get all messages
    Fan,
}

/// Options of `flow`.
#[derive(Debug, Args)]
pub(crate) struct Flow {
    /// Who gets whose messages
    #[arg(long, default_value = "pairs")]
    pub(crate) shape: Shape,
    /// Number of publishers
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) publishers: u16,
    /// Number of subscribers (`pairs` takes the number of publishers)
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) subscribers: u16,
    /// Quality of service, of publishing and of subscribing
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Messages that a publisher may have undelivered
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) window: u32,
    /// Bytes of payload
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(16..))]
    pub(crate) payload: u32,
    /// Seconds that count
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds before they count
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(crate) warm_up: Duration,
}

/// Options of `idle`.
#[derive(Debug, Args)]
pub(crate) struct Idle {
    /// Number of connections
    #[arg(long, default_value_t = 1000)]
    pub(crate) connections: u32,
    /// Keep-alive in seconds; each connection pings once in that time
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) keep_alive: u16,
    /// Seconds that count
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,
}

/// Options of `connect`.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Number of connections that are open at the same time
    #[arg(long, default_value_t = 10_000)]
    pub(crate) connections: u32,
    /// How often they are opened and closed
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// Seconds that the broker gets after each round before its memory is read
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) settle: Duration,
}

/// Options of `abuse`.
#[derive(Debug, Args)]
pub(crate) struct Abuse {
    /// Number of connections that declare a long packet and trickle it
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sockets: u32,
    /// Number of connections that send random bytes, before CONNECT and behind it each
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) random: u32,
    /// What the random bytes begin with: the same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds in which the broker has to close, its time-out for CONNECT included
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) patience: Duration,
    /// Seconds for which a packet of a size that is allowed is trickled
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) hold: Duration,
    /// The size that is allowed, in bytes: what that packet declares
    #[arg(long, default_value_t = (16 << 20) - 1024, value_parser = clap::value_parser!(u32).range(1024..=268_435_455))]
    pub(crate) allowed: u32,
    /// By how many MiB the broker's memory may rise
    #[arg(long, default_value_t = 32)]
    pub(crate) max_rise: u32,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
