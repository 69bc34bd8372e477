//! What every scenario of a run needs: the broker, the names that it may use there, and when to stop.
//!
//! Client ids and topics carry the process id, so that runs side by side do not meet, and so that what other
//! clients of the broker say is told apart. Ids have at most 23 characters, the bound of the oldest dialect.

use gantline::transport::Credentials;

use super::{args::Target, failure::Failure, place::Place, process, stop::Stop, wire::Dialect};

/// One run of the generator.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) place: Place,
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
            place: Place::new(target)?,
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
