//! The command line of `gantline bench`: which broker, which scenario, how much.
//!
//! What several scenarios ask for is declared once, as a group that they flatten in. Leaves out: what is
//! done with it.

use std::time::Duration;

use clap::{Args, Subcommand, builder::RangedU64ValueParser};
use gantline::Address;

use super::wire::Dialect;
use crate::args::seconds;
#[cfg(feature = "tls")]
use crate::client_tls::ClientTls;

/// `gantline bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// What to do to the broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Publishers with a topic and a subscriber each
    P2p(P2p),
    /// Many publishers, one subscriber that gets all
    FanIn(FanIn),
    /// One publisher, many subscribers that get all
    FanOut(FanOut),
    /// As p2p, with many wildcard filters subscribed that match nothing
    Wildcard(Wildcard),
    /// Publishers and a group of subscribers that share their messages
    Shared(Shared),
    /// As p2p, at a fixed rate whatever the broker does: how late do messages arrive?
    Latency(Latency),
    /// Store retained messages, then deliver them to a subscriber of #
    Retained(Retained),
    /// Queue messages for sessions that are away, then let them come back
    Offline(Offline),
    /// Connections opened and closed in rounds
    Connect(Connect),
    /// Connections that only keep alive
    Idle(Idle),
    /// Many clients of which a few never read: what do the others notice?
    Frozen(Frozen),
    /// Bad input of all kinds; `--mqtt 5.0` checks the reasons that the broker gives
    Abuse(Abuse),
    /// No load: listens like a broker and copies bytes from publishers to subscribers
    ///
    /// The floor of what a broker can cost. It does just enough for p2p (any QoS), fan-in, fan-out, latency
    /// (fans with QoS 0), connect and idle: run it in the place of a broker. Ends at Ctrl-C.
    Relay(Relay),
}

impl Scenario {
    /// Where the load goes; none for the one that makes no load.
    pub(crate) const fn target(&self) -> Option<&Target> {
        match self {
            Self::P2p(P2p { load, .. })
            | Self::FanIn(FanIn { load, .. })
            | Self::FanOut(FanOut { load, .. })
            | Self::Wildcard(Wildcard { load, .. })
            | Self::Shared(Shared { load, .. }) => Some(&load.target),
            Self::Latency(it) => Some(&it.target),
            Self::Retained(it) => Some(&it.target),
            Self::Offline(it) => Some(&it.target),
            Self::Connect(it) => Some(&it.target),
            Self::Idle(it) => Some(&it.target),
            Self::Frozen(it) => Some(&it.target),
            Self::Abuse(it) => Some(&it.target),
            Self::Relay(_) => None,
        }
    }

    /// What the messages carry, where there are any to choose.
    pub(crate) const fn body(&self) -> Option<&Body> {
        match self {
            Self::P2p(P2p { load, .. })
            | Self::FanIn(FanIn { load, .. })
            | Self::FanOut(FanOut { load, .. })
            | Self::Wildcard(Wildcard { load, .. })
            | Self::Shared(Shared { load, .. }) => Some(&load.body),
            Self::Latency(it) => Some(&it.body),
            Self::Retained(it) => Some(&it.body),
            Self::Offline(it) => Some(&it.body),
            Self::Connect(_) | Self::Idle(_) | Self::Frozen(_) | Self::Abuse(_) | Self::Relay(_) => None,
        }
    }

    /// One JSON object instead of a table.
    pub(crate) const fn json(&self) -> bool {
        match (self, self.target()) {
            (Self::Relay(it), _) => it.json,
            (_, Some(target)) => target.json,
            (_, None) => false,
        }
    }
}

/// Where the load goes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// The broker: mqtt://, mqtts://, ws:// or wss://
    #[arg(long, default_value = "mqtt://127.0.0.1:1883", value_name = "URL")]
    pub(crate) broker: Address,
    /// Process id of the broker, to read its processor time, memory and descriptors (Linux)
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Protocol version
    #[arg(long, default_value = "3.1.1", value_name = "VERSION")]
    pub(crate) mqtt: Dialect,
    /// One JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub(crate) tls: ClientTls,
}

/// What a message carries.
#[derive(Clone, Debug, Args)]
pub(crate) struct Body {
    /// Bytes of payload
    #[arg(long, value_name = "BYTES", default_value_t = 16, value_parser = RangedU64ValueParser::<u32>::new().range(16..=268_000_000))]
    pub(crate) payload: u32,
    /// User properties of each message (5.0 only)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = RangedU64ValueParser::<u32>::new().range(0..=1000))]
    pub(crate) user_properties: u32,
}

/// Quality of service.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Quality {
    /// Quality of service, of publishing and of subscribing
    #[arg(long, value_name = "0|1|2", default_value_t = 0, value_parser = RangedU64ValueParser::<u8>::new().range(0..=2))]
    pub(crate) qos: u8,
}

/// When to measure.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Timing {
    /// Seconds that count
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds before they count
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) warm_up: Duration,
}

/// Full load.
#[derive(Debug, Args)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) quality: Quality,
    #[command(flatten)]
    pub(crate) body: Body,
    #[command(flatten)]
    pub(crate) timing: Timing,
    /// Messages that a publisher may have undelivered [default: 100; fan-out 20]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..=60_000))]
    pub(crate) window: Option<u32>,
}

/// Options of `p2p`.
#[derive(Debug, Args)]
pub(crate) struct P2p {
    /// Publishers, and as many subscribers
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) publishers: u16,
    /// Connect so that half of the pairs cross between the two workers of a broker that gives them connections in
    /// turn (`gantline serve --workers 2`); --publishers has to be a multiple of 4, and nobody else may connect
    #[arg(long)]
    pub(crate) cross: bool,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// Options of `fan-in`.
#[derive(Debug, Args)]
pub(crate) struct FanIn {
    /// Publishers
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) publishers: u16,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// Options of `fan-out`.
#[derive(Debug, Args)]
pub(crate) struct FanOut {
    /// Subscribers
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) subscribers: u16,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// Options of `wildcard`.
#[derive(Debug, Args)]
pub(crate) struct Wildcard {
    /// Wildcard filters that match nothing; 10, 10,000 and 100,000 side by side show how the index grows
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=10_000_000))]
    pub(crate) filters: u32,
    /// Publishers, and as many subscribers
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) publishers: u16,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// Options of `shared`.
#[derive(Debug, Args)]
pub(crate) struct Shared {
    /// Publishers
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) publishers: u16,
    /// Subscribers in the group
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) members: u16,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// Options of `latency`.
#[derive(Debug, Args)]
pub(crate) struct Latency {
    /// Messages in a second, of all publishers together
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=10_000_000))]
    pub(crate) rate: u32,
    /// Publishers, and as many subscribers
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) publishers: u16,
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) quality: Quality,
    #[command(flatten)]
    pub(crate) body: Body,
    #[command(flatten)]
    pub(crate) timing: Timing,
}

/// Options of `retained`.
#[derive(Debug, Args)]
pub(crate) struct Retained {
    /// Messages, with a topic each
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    pub(crate) messages: u32,
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) quality: Quality,
    #[command(flatten)]
    pub(crate) body: Body,
    /// Messages that the publisher may have unacknowledged; with QoS 0 it pings behind so many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=60_000))]
    pub(crate) window: u32,
}

/// Options of `offline`.
#[derive(Debug, Args)]
pub(crate) struct Offline {
    /// Sessions that are away
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) sessions: u16,
    /// Messages for each of them
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub(crate) messages: u32,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Quality of service; with 0 nothing would wait
    #[arg(long, value_name = "1|2", default_value_t = 1, value_parser = RangedU64ValueParser::<u8>::new().range(1..=2))]
    pub(crate) qos: u8,
    #[command(flatten)]
    pub(crate) body: Body,
    /// Messages that a publisher may have unacknowledged
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = RangedU64ValueParser::<u32>::new().range(1..=60_000))]
    pub(crate) window: u32,
}

/// Options of `connect`.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Connections that are open at the same time
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub(crate) connections: u32,
    /// How often they are opened and closed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub(crate) rounds: u32,
    /// Seconds that the broker gets after each round before its memory is read
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(crate) settle: Duration,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Options of `idle`.
#[derive(Debug, Args)]
pub(crate) struct Idle {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub(crate) connections: u32,
    /// Keep-alive in seconds; each connection pings once in that time
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) keep_alive: u16,
    #[command(flatten)]
    pub(crate) timing: Timing,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Options of `frozen`.
#[derive(Debug, Args)]
pub(crate) struct Frozen {
    /// Clients that subscribe
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    pub(crate) clients: u32,
    /// How many of them never read
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = RangedU64ValueParser::<u32>::new())]
    pub(crate) frozen: u32,
    /// Publishers, each of which sends to all clients in turns
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) publishers: u16,
    /// Messages in a second, of all publishers together
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = RangedU64ValueParser::<u32>::new().range(1..=10_000_000))]
    pub(crate) rate: u32,
    /// Bytes of payload; the bounds of the broker have to be reached in the time of the run
    #[arg(long, value_name = "BYTES", default_value_t = 8192, value_parser = RangedU64ValueParser::<u32>::new().range(16..=268_000_000))]
    pub(crate) payload: u32,
    /// Seconds of each of the two runs, without and with the clients that never read
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Seconds before the first run counts
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// By how many MiB the broker's memory may rise for them (with --pid)
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    pub(crate) max_rise: u32,
    /// Exit code 3 when a bound is broken: twice the p99, 50 ms in which a publisher is held back in any second,
    /// --max-rise; or not reached, because a client that never reads has lost nothing
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Options of `abuse`.
#[derive(Debug, Args)]
pub(crate) struct Abuse {
    /// Connections that declare a long packet and trickle it
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub(crate) sockets: u32,
    /// Connections that send random bytes, before CONNECT and behind it each
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub(crate) random: u32,
    /// What the random bytes begin with: the same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds in which the broker has to close, its time-out for CONNECT included
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) patience: Duration,
    /// Seconds for which a packet of a size that is allowed is trickled
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) hold: Duration,
    /// The size that is allowed, in bytes: what that packet declares
    #[arg(long, value_name = "BYTES", default_value_t = (16 << 20) - 1024, value_parser = RangedU64ValueParser::<u32>::new().range(1024..=268_435_455))]
    pub(crate) allowed: u32,
    /// By how many MiB the broker's memory may rise
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    pub(crate) max_rise: u32,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Options of `relay`.
#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Where to listen. Port 0 takes a free one
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    pub(crate) listen: Address,
    /// One JSON object instead of a table, at the end
    #[arg(long)]
    pub(crate) json: bool,
}
