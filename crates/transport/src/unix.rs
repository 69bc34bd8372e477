//! Unix sockets both ways.
//!
//! Relates to: [`connect`](crate::connect()) and [`bind`](crate::bind), which pick it for `unix://`. Leaves out:
//! abstract names of Linux, and who may connect beyond the permissions of the file.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::address::{Address, Scheme};
use crate::error::TransportError;
use crate::listen::Listener;
use crate::peer::{Endpoint, PeerInfo};
use crate::stream::Stream;

pub(crate) fn bind(address: &Address, mode: Option<u32>) -> Result<UnixAcceptor, TransportError> {
    let path = PathBuf::from(address.path());
    let failed = |cause: io::Error| TransportError::Bind { address: address.clone(), cause: Arc::new(cause) };
    let listener = match UnixListener::bind(&path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(&path) => {
            fs::remove_file(&path).map_err(failed)?;
            UnixListener::bind(&path).map_err(failed)?
        }
        bound => bound.map_err(failed)?,
    };
    // From here on the file is ours to remove, whatever fails.
    let acceptor = UnixAcceptor { listener, address: address.clone(), path };
    if let Some(mode) = mode {
        fs::set_permissions(&acceptor.path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(acceptor)
}

pub(crate) async fn connect(address: &Address) -> Result<Stream, TransportError> {
    let stream = UnixStream::connect(address.path())
        .await
        .map_err(|cause| TransportError::SocketFile { address: address.clone(), cause: Arc::new(cause) })?;
    let info = PeerInfo::new(Scheme::Unix, address.path(), "");
    Ok(Stream::from_unix(stream, info))
}

/// A listening Unix socket; its file goes with it.
#[derive(Debug)]
pub(crate) struct UnixAcceptor {
    listener: UnixListener,
    address: Address,
    path: PathBuf,
}

impl Listener for UnixAcceptor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let (stream, _) = ready!(self.listener.poll_accept(cx))?;
        // Clients have no names here. The process says more, where the system tells it.
        let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let peer = process.map_or_else(String::new, |process| format!("process {process}"));
        let info = PeerInfo::new(Scheme::Unix, peer, Endpoint::from(self.address.path()));
        Poll::Ready(Ok(Stream::from_unix(stream, info)))
    }

    fn local_address(&self) -> Address {
        self.address.clone()
    }
}

impl Drop for UnixAcceptor {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(address = %self.address, %error, "the socket file could not be removed");
        }
    }
}

/// Whether a process that is gone has left its socket behind: nobody answers there.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    is_socket && knock(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Connects, without waiting where too many wait already.
fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}
