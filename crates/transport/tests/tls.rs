//! What TLS agrees on, how it goes wrong and in which words, and how a server's certificate is replaced.

#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantline_test_support::certificates::{Authority, Identity, Validity};
use gantline_transport::{
    AcceptBackoff, Address, BindOptions, Certificates, ClientCertificates, DialOptions, HandshakeError,
    Listener, PrivateKey, Stream, TlsAcceptor, TlsClientOptions, TlsFailure, TlsIdentity, TlsOptionsError,
    TlsServerOptions, TlsVersion, TransportError, accept, bind, connect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn served_with(identity: &Identity) -> TlsServerOptions {
    let certificate = Certificates::pem(identity.certificate.clone());
    TlsServerOptions::new(certificate, PrivateKey::pem(identity.key.clone()))
}

fn trusting(ca: &Authority) -> TlsClientOptions {
    TlsClientOptions::default().ca(Certificates::pem(ca.pem()))
}

fn known_as(options: TlsClientOptions, client: &Identity) -> TlsClientOptions {
    let chain = Certificates::pem(client.certificate.clone());
    options.client_certificate(chain, PrivateKey::pem(client.key.clone()))
}

async fn listen(acceptor: &TlsAcceptor) -> Box<dyn Listener> {
    let options = BindOptions::default().tls(acceptor.clone());
    bind(&Address::new("mqtts://localhost:0").unwrap(), &options).await.unwrap()
}

fn at(host: &str, listener: &dyn Listener) -> Address {
    Address::new(format!("mqtts://{host}:{}", listener.local_address().port().unwrap())).unwrap()
}

fn of_tls(error: HandshakeError) -> TlsFailure {
    let HandshakeError::Tls(failure) = error else { panic!("{error}") };
    failure
}

/// What both ends make of a connection. The client reads once, because in TLS 1.3 it is judged after its handshake.
async fn meet(
    acceptor: &TlsAcceptor,
    client: TlsClientOptions,
) -> (Result<Stream, TlsFailure>, Result<Stream, TlsFailure>) {
    let mut listener = listen(acceptor).await;
    let address = at("localhost", &*listener);
    let server = tokio::spawn(async move {
        let stream = accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap();
        let mut stream = stream.handshake().await.map_err(of_tls)?;
        stream.write_all(b"welcome").await.unwrap();
        stream.flush().await.unwrap();
        Ok(stream)
    });
    let client = match connect(&address, &DialOptions::default().tls(client)).await {
        Ok(mut stream) => {
            let mut welcome = [0; 7];
            match stream.read_exact(&mut welcome).await {
                Ok(_) => Ok(stream),
                Err(error) => Err(TlsFailure::of(&error).cloned().unwrap_or_else(|| panic!("{error:?}"))),
            }
        }
        Err(TransportError::Handshake { failure, .. }) => Err(*failure),
        Err(error) => panic!("{error}"),
    };
    (client, server.await.unwrap())
}

/// As [`meet`], for both versions; the failures of client and server.
async fn fail(server: TlsServerOptions, client: TlsClientOptions) -> Vec<(TlsFailure, TlsFailure)> {
    let mut failures = Vec::new();
    for version in TlsVersion::ALL {
        let acceptor = TlsAcceptor::new(server.clone()).unwrap();
        let (client, server) = meet(&acceptor, client.clone().versions(&[version])).await;
        failures.push((client.unwrap_err(), server.unwrap_err()));
    }
    failures
}

#[tokio::test]
async fn a_certificate_for_another_time_host_or_circle_is_refused_by_name() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let cases = [
        (ca.server_valid(&["localhost"], Validity::Past), "has expired"),
        (ca.server_valid(&["localhost"], Validity::Future), "not valid yet"),
        (
            ca.server(&["elsewhere.example", "10.0.0.1"]),
            "is not for localhost but for elsewhere.example, 10.0.0.1",
        ),
        (other.server(&["localhost"]), "signed by nobody whom we trust"),
    ];
    for (identity, expected) in cases {
        for (client, server) in fail(served_with(&identity), trusting(&ca)).await {
            assert!(client.to_string().contains(expected), "{client}");
            assert!(matches!(server, TlsFailure::CertificateRefused { .. }), "{server}");
        }
    }
}

#[tokio::test]
async fn without_a_ca_of_ours_the_built_in_ones_are_trusted() {
    let ca = Authority::new("ca");
    for (client, _) in fail(served_with(&ca.server(&["localhost"])), TlsClientOptions::default()).await {
        assert!(matches!(client, TlsFailure::UnknownIssuer), "{client}");
    }
    let extra = TlsClientOptions::default().extra_ca(Certificates::der([ca.der()]));
    let acceptor = TlsAcceptor::new(served_with(&ca.server(&["localhost"]))).unwrap();
    let (client, server) = meet(&acceptor, extra).await;
    assert!(client.is_ok() && server.is_ok());
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_of_a_stranger_is_refused() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let server = served_with(&ca.server(&["localhost"])).client_ca(Certificates::pem(ca.pem()));
    let required = server.clone().client_certificates(ClientCertificates::Required);
    let optional = server.client_certificates(ClientCertificates::Optional);

    for (at, (client, server)) in fail(required.clone(), trusting(&ca)).await.into_iter().enumerate() {
        assert!(matches!(server, TlsFailure::ClientCertificateMissing), "{server}");
        // TLS 1.2 has no alert for it.
        let named = matches!(client, TlsFailure::ClientCertificateMissing);
        assert!(
            named
                || (at == 0
                    && matches!(client, TlsFailure::Refused { .. } | TlsFailure::CertificateRefused { .. })),
            "{client:?}"
        );
    }
    let stranger = known_as(trusting(&ca), &other.client("stranger"));
    for policy in [&required, &optional] {
        for (client, server) in fail(policy.clone(), stranger.clone()).await {
            assert!(matches!(server, TlsFailure::UnknownIssuer), "{server}");
            assert!(matches!(client, TlsFailure::CertificateRefused { .. }), "{client}");
        }
    }
    let device = ca.client("device");
    for (policy, identity) in [(&required, Some(&device)), (&optional, Some(&device)), (&optional, None)] {
        let options = identity.map_or_else(|| trusting(&ca), |identity| known_as(trusting(&ca), identity));
        let (client, server) = meet(&TlsAcceptor::new(policy.clone()).unwrap(), options).await;
        let (_client, server) = (client.unwrap(), server.unwrap());
        let seen = server.info().tls().unwrap().peer_certificates().first().map(|first| first.to_vec());
        assert_eq!(seen, identity.map(|identity| identity.certificate_der.clone()));
    }
}

#[tokio::test]
async fn callbacks_have_the_last_word() {
    let ca = Authority::new("ca");
    let identity = ca.server_valid(&["elsewhere"], Validity::Past);
    let expected = identity.certificate_der.clone();
    let pinned = TlsClientOptions::default().verify_server(move |verification| {
        assert_eq!(verification.server_name(), "localhost");
        assert!(matches!(verification.error(), Some(TlsFailure::Expired)));
        verification.chain()[0] == expected
    });
    let device = ca.client("device");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let server = served_with(&identity).client_certificates(ClientCertificates::Optional).verify_client(
        move |verification| {
            counter.fetch_add(1, Ordering::Relaxed);
            verification.error().is_some() && verification.chain().len() == 1
        },
    );
    let acceptor = TlsAcceptor::new(server).unwrap();
    let (client, server) = meet(&acceptor, known_as(pinned.clone(), &device)).await;
    assert_eq!((client.is_ok(), server.is_ok(), asked.load(Ordering::Relaxed)), (true, true, 1));

    let no = trusting(&ca).verify_server(|verification| verification.error().is_some());
    let good = TlsAcceptor::new(served_with(&ca.server(&["localhost"]))).unwrap();
    let (client, _) = meet(&good, no).await;
    assert!(matches!(client.unwrap_err(), TlsFailure::RefusedByCallback));

    let strict = served_with(&ca.server(&["localhost"]))
        .client_ca(Certificates::pem(ca.pem()))
        .client_certificates(ClientCertificates::Required)
        .verify_client(|_| false);
    for (client, server) in fail(strict, known_as(trusting(&ca), &device)).await {
        assert!(matches!(server, TlsFailure::RefusedByCallback), "{server}");
        assert!(matches!(client, TlsFailure::CertificateRefused { .. }), "{client}");
    }

    let anybody = TlsClientOptions::default().danger_accept_any_certificate();
    let (client, _) = meet(&TlsAcceptor::new(served_with(&identity)).unwrap(), anybody).await;
    assert!(client.is_ok());
}

#[tokio::test]
async fn callbacks_are_asked_at_each_connect_and_may_change_their_mind() {
    let ca = Authority::new("ca");
    let plain = served_with(&ca.server(&["localhost"]));
    let says_yes_twice = || {
        let asked = AtomicUsize::new(0);
        move || asked.fetch_add(1, Ordering::Relaxed) < 2
    };
    for version in TlsVersion::ALL {
        let client = known_as(trusting(&ca), &ca.client("device")).versions(&[version]);
        let (judge, also) = (says_yes_twice(), says_yes_twice());
        let picky =
            plain.clone().client_certificates(ClientCertificates::Required).verify_client(move |_| judge());
        let cases = [(picky, client.clone()), (plain.clone(), client.verify_server(move |_| also()))];
        for (at, (server, client)) in cases.into_iter().enumerate() {
            // A session that is resumed would bring no certificate.
            let acceptor = TlsAcceptor::new(server).unwrap();
            for expected in [true, true, false] {
                let (client, _) = meet(&acceptor, client.clone()).await;
                assert_eq!(client.is_ok(), expected, "{version}, {at}");
            }
        }
    }
}

#[tokio::test]
async fn names_protocols_and_versions_are_negotiated() {
    let ca = Authority::new("ca");
    let server = served_with(&ca.server(&["broker.example"])).alpn(["mqtt", "x-other"]);
    let client = trusting(&ca).server_name("broker.example").alpn(["x-other"]);
    let (client, server_end) = meet(&TlsAcceptor::new(server.clone()).unwrap(), client).await;
    for end in [client.unwrap(), server_end.unwrap()] {
        let tls = end.info().tls().unwrap().clone();
        assert_eq!((tls.version(), tls.alpn()), (TlsVersion::V1_3, Some(&b"x-other"[..])));
    }
    let named = trusting(&ca).server_name("broker.example");
    for (client, server) in fail(server.clone(), named.clone().alpn(["nonsense"])).await {
        assert!(matches!(&client, TlsFailure::NothingInCommon(what) if what.contains("ALPN")), "{client}");
        assert!(matches!(&server, TlsFailure::NothingInCommon(what) if what.contains("ALPN")), "{server}");
    }
    let old = TlsAcceptor::new(server.versions(&[TlsVersion::V1_2])).unwrap();
    let (client, server) = meet(&old, named.versions(&[TlsVersion::V1_3])).await;
    assert!(matches!(client.unwrap_err(), TlsFailure::NothingInCommon(_)));
    assert!(matches!(server.unwrap_err(), TlsFailure::NothingInCommon(_)));
}

#[tokio::test]
async fn an_ip_address_can_be_in_a_certificate() {
    let ca = Authority::new("ca");
    let acceptor = TlsAcceptor::new(served_with(&ca.server(&["127.0.0.1"]))).unwrap();
    let options = BindOptions::default().tls(acceptor);
    let mut listener = bind(&Address::new("mqtts://127.0.0.1:0").unwrap(), &options).await.unwrap();
    let address = listener.local_address();
    let server = tokio::spawn(async move {
        accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap().handshake().await
    });
    connect(&address, &DialOptions::default().tls(trusting(&ca))).await.unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn mqtt_without_tls_is_told_from_broken_tls() {
    let ca = Authority::new("ca");
    let acceptor = TlsAcceptor::new(served_with(&ca.server(&["localhost"]))).unwrap();
    for (bytes, plain) in [
        (&b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"[..], true),
        (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], false),
    ] {
        let mut listener = listen(&acceptor).await;
        let socket = ("localhost", listener.local_address().port().unwrap());
        let mut tcp = TcpStream::connect(socket).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        let stream = accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap();
        drop(tcp);
        let failure = of_tls(stream.handshake().await.unwrap_err());
        assert_eq!(matches!(failure, TlsFailure::PlainMqtt), plain, "{failure}");
        assert_eq!(matches!(failure, TlsFailure::NotTls), !plain, "{failure}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_recognised() {
    for (answer, closed) in [(&b""[..], true), (&b"\x20\x02\x00\x01"[..], false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address =
            Address::new(format!("mqtts://localhost:{}", listener.local_addr().unwrap().port())).unwrap();
        let server = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            // All of it, so that closing is not a reset.
            let mut hello = vec![0; 5];
            tcp.read_exact(&mut hello).await.unwrap();
            hello.resize(usize::from(u16::from_be_bytes([hello[3], hello[4]])), 0);
            tcp.read_exact(&mut hello).await.unwrap();
            tcp.write_all(answer).await.unwrap();
        });
        let error = connect(&address, &DialOptions::default()).await.unwrap_err();
        let TransportError::Handshake { failure, .. } = &error else { panic!("{error}") };
        assert_eq!(matches!(**failure, TlsFailure::Closed), closed, "{error}");
        assert!(error.to_string().contains("mqtt://"), "{error}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn an_option_that_cannot_be_honoured_is_an_error() {
    let ca = Authority::new("ca");
    let acceptor = TlsAcceptor::new(served_with(&ca.server(&["localhost"]))).unwrap();
    for text in ["mqtt://127.0.0.1:0", "memory://untold"] {
        let address = Address::new(text).unwrap();
        let error = connect(&address, &DialOptions::default().tls(trusting(&ca))).await.unwrap_err();
        assert!(matches!(error, TransportError::OptionUnused { option: "tls", .. }), "{error}");
        let Err(error) = bind(&address, &BindOptions::default().tls(acceptor.clone())).await else {
            panic!()
        };
        assert!(matches!(error, TransportError::OptionUnused { option: "tls", .. }), "{error}");
    }
    let Err(error) = bind(&Address::new("mqtts://127.0.0.1:0").unwrap(), &BindOptions::default()).await
    else {
        panic!()
    };
    assert_eq!(
        error.to_string(),
        "mqtts://127.0.0.1:0 cannot be listened on: TLS needs a certificate and its private key"
    );
}

#[test]
fn what_is_wrong_with_certificates_and_keys_is_named() {
    let ca = Authority::new("ca");
    let (good, other) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
    let refused = |certificate, key| TlsAcceptor::new(TlsServerOptions::new(certificate, key)).unwrap_err();
    let certificate = || Certificates::pem(good.certificate.clone());
    let key = || PrivateKey::pem(good.key.clone());

    let error = refused(certificate(), PrivateKey::pem(other.key));
    assert!(matches!(error, TlsOptionsError::KeyMismatch { .. }), "{error}");
    for nothing in ["", "\n", "just text", &good.key] {
        let error = refused(Certificates::pem(nothing), key());
        assert!(matches!(error, TlsOptionsError::NoCertificate { .. }), "{error}");
    }
    let error = refused(certificate(), PrivateKey::pem(""));
    assert!(matches!(error, TlsOptionsError::NoKey { .. }), "{error}");
    let error = refused(certificate(), PrivateKey::pem(good.certificate.clone()));
    assert!(matches!(error, TlsOptionsError::NoKey { .. }), "{error}");
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let error = refused(certificate(), PrivateKey::pem(locked));
    assert!(matches!(error, TlsOptionsError::EncryptedKey { .. }), "{error}");
    let error = refused(Certificates::pem(&good.certificate.as_bytes()[..60]), key());
    assert!(matches!(error, TlsOptionsError::Pem { .. }), "{error}");
    let error = refused(Certificates::der([b"0nonsense".to_vec()]), key());
    assert!(matches!(error, TlsOptionsError::Certificate { .. }), "{error}");
    let error = refused(Certificates::file("no/such/file.pem"), key());
    assert!(error.to_string().starts_with("no/such/file.pem cannot be read: "), "{error}");
    assert!(!format!("{:?}", key()).contains("PRIVATE"));

    let options = || TlsServerOptions::new(certificate(), key());
    let refused = |options| TlsAcceptor::new(options).unwrap_err();
    let error = refused(options().client_certificates(ClientCertificates::Required));
    assert!(matches!(error, TlsOptionsError::NothingToJudgeBy), "{error}");
    let error = refused(options().client_ca(Certificates::pem(ca.pem())));
    assert!(matches!(error, TlsOptionsError::ClientCertificatesNotAsked), "{error}");
    let error = refused(options().versions(&[]));
    assert!(matches!(error, TlsOptionsError::NoVersion), "{error}");
}

/// A folder of this test that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gantline-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_reload_changes_new_connections_and_leaves_open_ones_alone() {
    let (folder, ca) = (Folder::new("reload"), Authority::new("ca"));
    let (first, second) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
    let certificate = folder.write("server.pem", &first.certificate);
    let key = folder.write("server.key", &first.key);
    let trust = TlsClientOptions::default().ca(Certificates::file(folder.write("ca.pem", &ca.pem())));
    let acceptor =
        TlsAcceptor::new(TlsServerOptions::new(Certificates::file(certificate), PrivateKey::file(key)))
            .unwrap();
    let shown = |stream: &Stream| stream.info().tls().unwrap().peer_certificates()[0].to_vec();

    let (client, server) = meet(&acceptor, trust.clone()).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    assert_eq!(shown(&client), first.certificate_der);

    // Half of the files is new: nothing changes.
    folder.write("server.pem", &second.certificate);
    let error = acceptor.reload_from_files().unwrap_err();
    assert!(matches!(error, TlsOptionsError::KeyMismatch { .. }), "{error}");
    assert_eq!(shown(&meet(&acceptor, trust.clone()).await.0.unwrap()), first.certificate_der);

    folder.write("server.key", &second.key);
    acceptor.reload_from_files().unwrap();
    assert_eq!(shown(&meet(&acceptor, trust.clone()).await.0.unwrap()), second.certificate_der);

    acceptor.reload(served_with(&first)).unwrap();
    assert_eq!(shown(&meet(&acceptor, trust).await.0.unwrap()), first.certificate_der);

    client.write_all(b"still here").await.unwrap();
    client.flush().await.unwrap();
    let mut bytes = [0; 10];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"still here");
}

#[tokio::test]
async fn a_stream_has_to_shake_hands_first_and_then_stays() {
    let ca = Authority::new("ca");
    let acceptor = TlsAcceptor::new(served_with(&ca.server(&["localhost"]))).unwrap();
    let mut listener = listen(&acceptor).await;
    let address = at("localhost", &*listener);
    let client =
        tokio::spawn(async move { connect(&address, &DialOptions::default().tls(trusting(&ca))).await });
    let mut stream = accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0])).await.unwrap();
    assert!(read.unwrap_err().to_string().contains("handshake"));
    // It moves before its handshake and not afterwards.
    let stream = stream.detach().unwrap().attach().unwrap().handshake().await.unwrap();
    assert!(stream.info().tls().is_some() && client.await.unwrap().is_ok());
    assert!(stream.detach().is_err());
}

#[test]
fn the_configuration_of_rustls_can_be_had_unless_the_identity_is_to_be_asked_for() {
    let ca = Authority::new("ca");
    let options = known_as(trusting(&ca), &ca.client("device")).alpn(["mqtt"]);
    let config = options.rustls_config().unwrap();
    assert!(config.client_auth_cert_resolver.has_certs());
    assert_eq!(config.alpn_protocols, [b"mqtt"]);
    let missing = TlsClientOptions::default().ca(Certificates::file("/no/such/file")).rustls_config();
    assert!(matches!(missing.unwrap_err(), TlsOptionsError::File { .. }));
    let asked = options.identity_provider(|| std::future::ready(Err::<TlsIdentity, _>("not now")));
    assert!(matches!(asked.rustls_config().unwrap_err(), TlsOptionsError::IdentityNotAsked));
}
