//! Unix sockets: the conversation, and what becomes of the file.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantline_transport::{
    AcceptBackoff, Address, BindOptions, DialOptions, Listener, Scheme, Stream, TransportError, accept, bind,
    connect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gantline-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> (PathBuf, Address) {
        let path = self.0.join("mqtt.sock");
        let address = Address::new(format!("unix://{}", path.display())).unwrap();
        (path, address)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn listen(address: &Address) -> Result<Box<dyn Listener>, TransportError> {
    bind(address, &BindOptions::default()).await
}

async fn both_ends(listener: &mut dyn Listener) -> (Stream, Stream) {
    let client = connect(&listener.local_address(), &DialOptions::default()).await.unwrap();
    (client, accept(listener, &mut AcceptBackoff::new()).await.unwrap())
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[tokio::test]
async fn bytes_go_both_ways_in_every_size() {
    let folder = Folder::new("sizes");
    let (path, address) = folder.socket();
    let mut listener = listen(&address).await.unwrap();
    for len in [1, 65_536, 10_000_000] {
        let (mut client, mut server) = both_ends(&mut *listener).await;
        assert_eq!(client.info().scheme(), Scheme::Unix);
        assert_eq!(client.info().to_string(), address.to_string());
        assert_eq!(server.info().local().to_string(), path.display().to_string());
        let sent: Vec<u8> = (0..len).map(|at: usize| (at % 251) as u8).collect();
        let echo = tokio::spawn(async move {
            let mut received = Vec::new();
            server.read_to_end(&mut received).await.unwrap();
            server.write_all(&received).await.unwrap();
            server.shutdown().await.unwrap();
        });
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).await.unwrap();
        echo.await.unwrap();
        assert!(back == sent);
    }
}

#[tokio::test]
async fn the_file_goes_with_its_listener() {
    let folder = Folder::new("removed");
    let (path, address) = folder.socket();
    let listener = listen(&address).await.unwrap();
    assert!(is_socket(&path));
    drop(listener);
    assert!(!path.exists());
    let error = connect(&address, &DialOptions::default()).await.unwrap_err();
    assert!(
        matches!(&error, TransportError::SocketFile { cause, .. } if cause.kind() == io::ErrorKind::NotFound),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_dead_process_left_behind_is_replaced() {
    let folder = Folder::new("left-over");
    let (path, address) = folder.socket();
    // The standard library's listener does not remove its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(is_socket(&path));
    let mut listener = listen(&address).await.unwrap();
    both_ends(&mut *listener).await;
}

#[tokio::test]
async fn a_socket_on_which_somebody_listens_is_not_taken() {
    let folder = Folder::new("live");
    let (_, address) = folder.socket();
    let mut first = listen(&address).await.unwrap();
    let Err(error) = listen(&address).await else { panic!() };
    assert!(
        matches!(&error, TransportError::Bind { cause, .. } if cause.kind() == io::ErrorKind::AddrInUse),
        "{error}"
    );
    both_ends(&mut *first).await;
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_not_touched() {
    let folder = Folder::new("regular");
    let (path, address) = folder.socket();
    fs::write(&path, "precious").unwrap();
    let Err(error) = listen(&address).await else { panic!() };
    assert!(matches!(error, TransportError::Bind { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn the_mode_of_the_options_is_that_of_the_file() {
    let folder = Folder::new("mode");
    let (path, address) = folder.socket();
    for mode in [0o600, 0o666] {
        let _listener = bind(&address, &BindOptions::default().socket_mode(Some(mode))).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
    }
    let tcp = Address::new("mqtt://127.0.0.1:0").unwrap();
    let Err(error) = bind(&tcp, &BindOptions::default().socket_mode(Some(0o600))).await else { panic!() };
    assert!(matches!(error, TransportError::OptionUnused { option: "socket_mode", .. }), "{error}");
}

#[test]
fn a_connection_moves_to_another_runtime() {
    let folder = Folder::new("moves");
    let (_, address) = folder.socket();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (mut client, server) = first.block_on(async {
        let mut listener = listen(&address).await.unwrap();
        both_ends(&mut *listener).await
    });
    let detached = first.block_on(async { server.detach() }).unwrap();
    let mover = std::thread::spawn(move || {
        second.block_on(async {
            let mut server = detached.attach().unwrap();
            server.write_all(b"hello").await.unwrap();
            server.shutdown().await.unwrap();
        });
    });
    let mut got = Vec::new();
    first.block_on(client.read_to_end(&mut got)).unwrap();
    mover.join().unwrap();
    assert_eq!(got, b"hello");
}

#[test]
fn a_server_that_is_too_busy_to_accept_is_not_waited_for() {
    use socket2::{Domain, SockAddr, Socket, Type};

    let folder = Folder::new("busy");
    let (path, address) = folder.socket();
    let place = SockAddr::unix(&path).unwrap();
    let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    busy.bind(&place).unwrap();
    busy.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let connected = socket.connect(&place);
        waiting.push(socket);
        if connected.is_err() {
            break;
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = sender.send(runtime.block_on(listen(&address)).map(drop));
    });
    let bound =
        receiver.recv_timeout(Duration::from_secs(10)).expect("the thread of the runtime is not blocked");
    assert!(matches!(bound, Err(TransportError::Bind { .. })), "{bound:?}");
    assert!(is_socket(&path), "it is not ours to remove");
}
