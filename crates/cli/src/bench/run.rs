//! What every scenario of a run needs: the broker, the names that it may use there, and when to stop.
//!
//! Client ids and topics carry the process id, so that runs side by side do not meet, and so that what other
//! clients of the broker say is told apart. Ids have at most 23 characters, the bound of the oldest dialect.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use gantline::{
    Address,
    transport::{Credentials, Scheme},
};

use super::{args::Target, failure::Failure, process, stop::Stop, wire::Dialect};

/// One run of the generator.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) broker: SocketAddr,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) dialect: Dialect,
    pub(crate) stop: Stop,
    pid: Option<u32>,
}

impl Run {
    pub(crate) fn new(target: &Target, stop: Stop) -> Result<Self, Failure> {
        if let Some(pid) = target.pid {
            process::usage(pid).ok_or(Failure::NoProcess(pid))?;
        }
        Ok(Self {
            broker: reachable(&target.broker)?,
            credentials: target.broker.credentials().cloned(),
            dialect: target.mqtt,
            stop,
            pid: target.pid,
        })
    }

    /// The same run, which somebody else may stop.
    pub(crate) fn with_stop(&self, stop: Stop) -> Self {
        Self { stop, ..self.clone() }
    }

    /// What the broker has used so far, when `--pid` names it.
    pub(crate) fn usage(&self) -> Option<process::Usage> {
        process::usage(self.pid?)
    }

    pub(crate) const fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// A client id.
    pub(crate) fn client_id(&self, role: &str, index: usize) -> String {
        format!("b{}-{role}-{index}", std::process::id())
    }

    /// A topic or filter of this run.
    pub(crate) fn topic(&self, rest: &str) -> String {
        format!("bench/{}/{rest}", std::process::id())
    }
}

/// The socket addresses of a URL of the scheme that is spoken here.
pub(crate) fn resolve(address: &Address) -> Result<Vec<SocketAddr>, Failure> {
    if address.scheme() != Scheme::Mqtt {
        let problem = format!("bench speaks mqtt:// only, not {}://", address.scheme());
        return Err(Failure::Address(problem));
    }
    let host = if address.host().is_empty() { "localhost" } else { address.host() };
    let host = host.trim_matches(['[', ']']);
    let port = address.port().unwrap_or(1883);
    let found = (host, port).to_socket_addrs().map_err(Failure::system(format!("resolving {host}")))?;
    Ok(found.collect())
}

/// The first address of several at which somebody listens; a single one is not tried.
fn reachable(address: &Address) -> Result<SocketAddr, Failure> {
    let found = resolve(address)?;
    let listening = |it: &&SocketAddr| found.len() == 1 || TcpStream::connect(it).is_ok();
    let broker = found.iter().find(listening).or_else(|| found.first());
    broker.copied().ok_or_else(|| Failure::Address(format!("{address} has no socket address")))
}
