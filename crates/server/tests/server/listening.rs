//! Listeners with options of their own: load balancers in front of them, Unix sockets.

use std::time::Duration;

use gantline_protocol::ReasonCode;
use gantline_server::{ProxyProtocol, Server, ServerOptions, Stream};
use gantline_transport::{Address, DialOptions, connect};
use tokio::io::AsyncWriteExt;

use crate::peer::{Peer, clean};

/// A connection to this address that has sent this.
async fn having_sent(address: &Address, bytes: &[u8]) -> Peer {
    let mut stream: Stream = connect(address, &DialOptions::default()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    Peer::over(stream)
}

#[tokio::test]
async fn behind_a_load_balancer_a_malformed_header_is_refused_and_counted() {
    let balancers = ProxyProtocol::from_networks(["127.0.0.1".parse().unwrap()]);
    let server = Server::new(ServerOptions::default())
        .listen_with("mqtt://127.0.0.1:0", |options| options.proxy_protocol(balancers))
        .listen("mqtt://127.0.0.1:0")
        .start()
        .await
        .unwrap();
    let [behind, direct] = server.local_addresses() else { panic!() };

    let mut peer = having_sent(behind, b"PROXY TCP4 192.0.2.1 10.0.0.1 52311 1883\r\n").await;
    assert_eq!(peer.introduce(clean("behind")).await.reason, ReasonCode::Success);
    let mut other = having_sent(direct, b"").await;
    assert_eq!(other.introduce(clean("direct")).await.reason, ReasonCode::Success);
    assert_eq!(server.metrics().violations, 0);

    let mut refused = having_sent(behind, b"PROXY TCP9 192.0.2.1 10.0.0.1 52311 1883\r\n").await;
    refused.hears_the_end().await;
    assert_eq!(server.metrics().violations, 1);
    drop((peer, other));
    server.shutdown(Duration::from_secs(5)).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_has_its_mode_and_goes_with_the_server() {
    use std::os::unix::fs::PermissionsExt;

    let path = std::env::temp_dir().join(format!("gantline-server-{}.sock", std::process::id()));
    let server = Server::new(ServerOptions::default())
        .listen_with(format!("unix://{}", path.display()), |options| options.socket_mode(Some(0o600)))
        .start()
        .await
        .unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut peer = having_sent(&server.local_addresses()[0], b"").await;
    assert_eq!(peer.introduce(clean("local")).await.reason, ReasonCode::Success);
    peer.ping().await;
    drop(peer);
    server.shutdown(Duration::from_secs(5)).await;
    assert!(!path.exists());
}
