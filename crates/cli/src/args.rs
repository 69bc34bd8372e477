//! The command line. Each flag of `serve` is one setter of the server's options, whose documentation says
//! more; a flag that is not given leaves the option at its default.

use std::{num::NonZeroUsize, time::Duration};

use clap::{Args, Parser, Subcommand, builder::RangedU64ValueParser};
use gantline::ServerOptions;
use tracing_subscriber::filter::Targets;

use crate::{
    bench::args::Bench,
    retained::{Retained, Transfer},
};

/// An MQTT toolkit: the broker and its tools
#[derive(Debug, Parser)]
#[command(name = "gantline", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run an MQTT broker until SIGINT or SIGTERM
    ///
    /// Prints one line for each listener, `listening on URL`, when it accepts connections. Logs go to
    /// stderr.
    Serve(Box<Serve>),
    /// Import or export the retained messages of a broker that does not run
    #[command(subcommand)]
    Retained(Transfer),
    /// Put load on an MQTT broker, ours or another, and say what that cost the broker
    ///
    /// Prints one table, or one JSON object with --json. Exit code 3: messages were lost, doubled or out of
    /// order with QoS 1 or 2, bad input was not dealt with as MQTT says, or a bound that was to be checked was
    /// broken. Ctrl-C ends it early and prints what there is.
    Bench(Bench),
}

/// `gantline serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) listeners: crate::listeners::Listeners,

    /// Threads that serve connections [default: the number of cores]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// What to log: error, warn, info, debug, trace, or `target=level` pairs with commas between
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    pub(crate) log: Targets,

    /// Seconds that connections get at the end to take what waits for them
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) shutdown_timeout: Duration,

    /// Seconds between the numbers that the broker publishes under $SYS/broker/; 0 for none
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) sys_interval: Duration,

    #[command(flatten)]
    pub(crate) retained: Retained,

    #[command(flatten)]
    pub(crate) limits: Limits,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub(crate) tls: crate::tls::Tls,

    #[cfg(feature = "websocket")]
    #[command(flatten)]
    pub(crate) websocket: crate::websocket::WebSocket,
}

/// The limits of the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Connections at the same time
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<usize>,

    /// Connections at the same time from one address, or from one /64 of IPv6
    #[arg(long, value_name = "N")]
    pub(crate) max_connections_per_address: Option<usize>,

    /// Sessions, of clients that are connected or away
    #[arg(long, value_name = "N")]
    pub(crate) max_sessions: Option<usize>,

    /// Subscriptions of one client
    #[arg(long, value_name = "N")]
    pub(crate) max_subscriptions_per_client: Option<usize>,

    /// Topic filters in one SUBSCRIBE or UNSUBSCRIBE
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) max_filters_per_packet: Option<u16>,

    /// Retained messages
    #[arg(long, value_name = "N")]
    pub(crate) max_retained_messages: Option<usize>,

    /// Bytes that retained messages may hold
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_retained_bytes: Option<usize>,

    /// Messages that one client may publish a second; what is above waits
    #[arg(long, value_name = "N")]
    pub(crate) max_message_rate: Option<u32>,

    /// Bytes that one client may send a second; what is above waits
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_byte_rate: Option<u32>,

    /// Bytes of a packet, both ways
    #[arg(long, value_name = "BYTES", value_parser = RangedU64ValueParser::<u32>::new().range(1..=268_435_460))]
    pub(crate) max_packet_size: Option<u32>,

    /// QoS 1 and 2 messages from one client that are not acknowledged yet
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) receive_maximum: Option<u16>,

    /// QoS 1 and 2 messages to one client that it has not acknowledged yet
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) max_inflight: Option<u16>,

    /// Messages that wait for one connected client
    #[arg(long, value_name = "N")]
    pub(crate) max_queued_messages: Option<u32>,

    /// Bytes that wait for one client
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_queued_bytes: Option<u32>,

    /// Messages that wait for one client that is away
    #[arg(long, value_name = "N")]
    pub(crate) max_parked_messages: Option<u32>,

    /// Seconds that the session of a client that is away is kept at most
    #[arg(long, value_name = "SECONDS")]
    pub(crate) session_expiry_max: Option<u32>,

    /// Seconds of keep-alive that a client may ask for at most
    #[arg(long, value_name = "SECONDS", value_parser = RangedU64ValueParser::<u16>::new().range(1..))]
    pub(crate) keep_alive_max: Option<u16>,

    /// Topic aliases that a client may set
    #[arg(long, value_name = "N")]
    pub(crate) topic_alias_maximum: Option<u16>,

    /// Levels of a topic name or filter
    #[arg(long, value_name = "N")]
    pub(crate) max_topic_levels: Option<u16>,

    /// Bytes of a topic name or filter
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_topic_length: Option<u16>,

    /// Seconds that a new connection has until its CONNECT is there
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) connect_timeout: Option<Duration>,
}

impl Limits {
    /// The server's defaults with the given flags on top.
    pub(crate) fn server_options(&self) -> ServerOptions {
        let mut options = ServerOptions::default();
        // Each line is: flag, setter.
        macro_rules! set {
            ($($flag:ident => $setter:ident),+ $(,)?) => {
                $(if let Some(value) = self.$flag { options = options.$setter(value); })+
            };
        }
        set! {
            max_connections => max_connections,
            max_connections_per_address => max_connections_per_address,
            max_sessions => max_sessions,
            max_subscriptions_per_client => max_subscriptions_per_client,
            max_filters_per_packet => max_filters_per_packet,
            max_retained_messages => max_retained_messages,
            max_retained_bytes => max_retained_bytes,
            max_message_rate => max_message_rate,
            max_byte_rate => max_byte_rate,
            max_packet_size => max_packet_size,
            receive_maximum => receive_maximum,
            max_inflight => max_inflight,
            max_queued_messages => max_queued_messages,
            max_queued_bytes => max_queued_bytes,
            max_parked_messages => max_parked_messages,
            session_expiry_max => session_expiry_max,
            keep_alive_max => keep_alive_max,
            topic_alias_maximum => topic_alias_maximum,
            max_topic_levels => max_topic_levels,
            max_topic_length => max_topic_length,
            connect_timeout => connect_timeout,
        }
        options
    }
}

/// A time as people write it: `2`, `0.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
