//! Why a scenario could not be measured, and what to do about it. A broker that loses messages is no failure
//! but a result.

use std::{error::Error, fmt, io, net::SocketAddr};

use gantline::transport::Scheme;

use super::wire::reason;

/// Why a scenario could not be measured.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The URL is one that no load can be put on.
    Address(String),
    /// Nobody listens there.
    Unreachable { scheme: Scheme, broker: SocketAddr, error: io::Error },
    /// TLS is set up wrongly, or did not come about.
    #[cfg(feature = "tls")]
    Tls(String),
    /// The broker answered the upgrade to WebSocket with this.
    NotUpgraded { status: String },
    /// The broker answered a CONNECT with this code.
    Refused { client: String, code: u8 },
    /// The broker answered a SUBSCRIBE with something else than the QoS that was asked for.
    NotGranted { client: String, asked: u8, granted: Option<u8> },
    /// The broker closed a connection; 5.0 brokers may give a code.
    Closed { client: String, code: Option<u8> },
    /// The broker did not answer in time.
    Silent { client: String, packet: &'static str },
    /// The broker answered with something else.
    Unexpected { client: String, packet: &'static str, found: u8 },
    /// There is no process to look at.
    NoProcess(u32),
    /// The operating system refused.
    System { what: String, error: io::Error },
}

impl Failure {
    /// The operating system refused to do `what`.
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::System { what, error }
    }

    /// TLS is set up wrongly, or did not come about.
    #[cfg(feature = "tls")]
    #[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
    pub(crate) fn tls(error: impl ToString) -> Self {
        Self::Tls(error.to_string())
    }

    /// A connection could not be opened, written or read.
    pub(crate) fn of_connection(client: &str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed { client: client.to_owned(), code: None },
            _ => Self::System { what: format!("connection {client}"), error },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System { what: "polling".to_owned(), error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(problem) => f.write_str(problem),
            Self::Unreachable { scheme, broker, error } => {
                let start = "`gantline serve` starts a broker, --broker names another";
                write!(f, "no broker at {scheme}://{broker}: {error}; {start}")
            }
            #[cfg(feature = "tls")]
            Self::Tls(problem) => write!(f, "TLS: {problem}; --cafile says whom to trust"),
            Self::NotUpgraded { status } => {
                write!(
                    f,
                    "the broker did not upgrade to WebSocket and said {status:?}; is the path of the URL right?"
                )
            }
            Self::Refused { client, code } => {
                let meaning = reason::meaning(*code);
                write!(f, "the broker refused {client}: CONNACK {code:#04x}, {meaning}")
            }
            Self::NotGranted { client, asked, granted } => {
                write!(f, "the broker did not grant QoS {asked} to {client}: ")?;
                match granted {
                    Some(qos @ 0..=2) => write!(f, "SUBACK says QoS {qos}"),
                    Some(code) => write!(f, "SUBACK {code:#04x}, {}", reason::meaning(*code)),
                    None => f.write_str("SUBACK is too short"),
                }
            }
            Self::Closed { client, code } => {
                write!(f, "the broker closed the connection of {client}")?;
                match code {
                    Some(code) => write!(f, ": DISCONNECT {code:#04x}, {}", reason::meaning(*code)),
                    None => f.write_str(" without a reason; its log may have one"),
                }
            }
            Self::Silent { client, packet } => {
                write!(
                    f,
                    "the broker sent no {packet} to {client} within {} s",
                    super::link::PATIENCE.as_secs()
                )
            }
            Self::Unexpected { client, packet, found } => {
                write!(f, "the broker sent a packet of type {found} to {client}, which waits for {packet}")
            }
            Self::NoProcess(pid) => write!(f, "cannot read the usage of process {pid} (--pid)"),
            Self::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl Error for Failure {}
