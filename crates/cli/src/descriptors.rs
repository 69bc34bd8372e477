//! The limit of open descriptors: each connection takes one, and the usual soft limit of 1,024 is there for
//! programs that call `select`.

/// Descriptors beside those of connections: listeners, the runtimes' own, standard streams.
#[cfg(unix)]
const BESIDE: u64 = 64;

/// Raises the soft limit to the hard one, and says in the log when that is not enough.
///
/// `connections` is how many connections are allowed at the same time, if that is limited.
#[cfg(unix)]
pub(crate) fn raise_limit(connections: Option<usize>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let reached = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(limit = limit.current, wanted = limit.maximum, %error, "cannot raise the descriptor limit");
            limit.current
        }
    };
    let wanted = connections.map(|connections| connections as u64 + BESIDE);
    match (reached, wanted) {
        (Some(limit), Some(wanted)) if limit < wanted => {
            tracing::warn!(limit, wanted, "the descriptor limit is below the connection limit");
        }
        (Some(limit), _) => tracing::info!(limit, "descriptor limit"),
        (None, _) => tracing::info!("no descriptor limit"),
    }
}

/// There is nothing to raise.
#[cfg(not(unix))]
pub(crate) fn raise_limit(_connections: Option<usize>) {}
