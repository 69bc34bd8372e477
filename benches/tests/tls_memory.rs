//! What an idle TLS connection costs in memory, beside the part of it that is rustls' and not ours to change.
//!
//! `cargo test -p gantline-benches --test tls_memory -- --nocapture` prints it. Counted is what is asked of the
//! allocator, as in `memory.rs`. The clients have a thread of their own, because counted is what the server's thread
//! asks.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier, mpsc};

use allocation_counter::measure;
use gantline_benches::samples;
use gantline_protocol::ProtocolVersion;
use gantline_server::{
    Certificates, PrivateKey, RunningServer, Server, ServerOptions, TlsServerOptions, TlsVersion,
};
use gantline_test_support::certificates::{Authority, Identity};
use gantline_transport::rustls::client::Resumption;
use gantline_transport::rustls::crypto::ring;
use gantline_transport::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use gantline_transport::rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig, ServerConnection,
    StreamOwned, SupportedProtocolVersion, version,
};
use tokio::runtime::Runtime;

/// As many as make the server's memory of TLS sessions full.
const WARM_UP: usize = 300;
const COUNTED: usize = 100;
/// The bound on what is ours.
const MOST: i64 = 6 << 10;

#[test]
fn an_idle_tls_connection_adds_little_to_what_rustls_takes() {
    let authority = Authority::new("ca");
    let identity = authority.server(&["localhost"]);
    for (version, rustls_version) in
        [(TlsVersion::V1_2, &version::TLS12), (TlsVersion::V1_3, &version::TLS13)]
    {
        let client = client_config(&authority, rustls_version);
        let bare = bare(&client, &identity, rustls_version);
        let ours = ours(&client, &identity, version);
        println!(
            "{version}: {ours} bytes for an idle connection, {bare} of them for a bare ServerConnection"
        );
        assert!(bare > 0 && ours - bare <= MOST, "{} bytes are ours, at most {MOST}", ours - bare);
    }
}

fn client_config(authority: &Authority, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.der())).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// Bytes of each `ServerConnection` after its handshake.
fn bare(
    client_config: &Arc<ClientConfig>,
    identity: &Identity,
    version: &'static SupportedProtocolVersion,
) -> i64 {
    let chain = vec![CertificateDer::from(identity.certificate_der.clone())];
    let key = PrivateKeyDer::try_from(identity.key_der.clone()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let make = || {
        let mut client = client(client_config);
        let mut server = ServerConnection::new(Arc::clone(&config)).unwrap();
        while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
            pass(&mut client, &mut server);
            pass(&mut server, &mut client);
        }
        server
    };
    for _ in 0..WARM_UP {
        drop(make());
    }
    let mut servers = Vec::with_capacity(COUNTED);
    let info = measure(|| servers.extend((0..COUNTED).map(|_| make())));
    info.bytes_current / i64::try_from(servers.len()).unwrap()
}

/// What one end wants to say goes to the other.
fn pass<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &*bytes;
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets().unwrap();
    }
}

/// Bytes of each connection of a server whose client is connected and silent.
fn ours(client_config: &Arc<ClientConfig>, identity: &Identity, version: TlsVersion) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let chain = Certificates::pem(identity.certificate.clone());
    let tls = TlsServerOptions::new(chain, PrivateKey::pem(identity.key.clone())).versions(&[version]);
    let server = Server::new(ServerOptions::default()).listen("mqtts://127.0.0.1:0").tls(tls);
    let server = runtime.block_on(server.start()).unwrap();
    let port = server.local_addresses()[0].port().unwrap();

    let go = Arc::new(Barrier::new(2));
    let (finish, finished) = mpsc::channel::<()>();
    let clients = std::thread::spawn({
        let (go, config) = (Arc::clone(&go), Arc::clone(client_config));
        move || {
            let mut all: Vec<_> = (0..WARM_UP).map(|number| connected(&config, port, number)).collect();
            go.wait();
            all.extend((WARM_UP..WARM_UP + COUNTED).map(|number| connected(&config, port, number)));
            let _ = finished.recv();
        }
    });
    wait_for(&runtime, &server, WARM_UP);
    let info = measure(|| {
        go.wait();
        wait_for(&runtime, &server, WARM_UP + COUNTED);
    });
    drop(finish);
    clients.join().unwrap();
    info.bytes_current / i64::try_from(COUNTED).unwrap()
}

/// A client that has read its CONNACK.
fn connected(
    config: &Arc<ClientConfig>,
    port: u16,
    number: usize,
) -> StreamOwned<ClientConnection, TcpStream> {
    let version = ProtocolVersion::V5_0;
    let connect = samples::encoded(&samples::connect(&format!("meter-{number:06}"), version), version);
    let mut stream = StreamOwned::new(client(config), TcpStream::connect(("127.0.0.1", port)).unwrap());
    stream.write_all(&connect).unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    stream
}

/// Runs the server until so many clients are connected, and their tasks sleep.
fn wait_for(runtime: &Runtime, server: &RunningServer, clients: usize) {
    runtime.block_on(async {
        while server.metrics().connected < clients as u64 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    });
}
