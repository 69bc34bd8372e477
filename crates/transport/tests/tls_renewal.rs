//! Certificates that change while everything runs: files that a server watches, identities that a client asks for.

#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantline_test_support::certificates::{Authority, Identity};
use gantline_transport::rustls::crypto::{CryptoProvider, ring};
use gantline_transport::{
    AcceptBackoff, Address, BindOptions, Certificates, ClientCertificates, DialOptions, PrivateKey, Stream,
    TlsAcceptor, TlsClientOptions, TlsIdentity, TlsOptionsError, TlsServerOptions, TransportError, accept,
    bind, connect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const EVERY: Duration = Duration::from_secs(30);

/// Two ends that have shaken hands.
async fn meet(acceptor: &TlsAcceptor, client: TlsClientOptions) -> Result<(Stream, Stream), TransportError> {
    let options = BindOptions::default().tls(acceptor.clone());
    let mut listener = bind(&Address::new("mqtts://localhost:0").unwrap(), &options).await.unwrap();
    let port = listener.local_address().port().unwrap();
    let server = tokio::spawn(async move {
        accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap().handshake().await
    });
    let address = Address::new(format!("mqtts://localhost:{port}")).unwrap();
    let client =
        connect(&address, &DialOptions::default().tls(client)).await.inspect_err(|_| server.abort())?;
    Ok((client, server.await.unwrap().unwrap()))
}

fn first_certificate(stream: &Stream) -> Vec<u8> {
    stream.info().tls().unwrap().peer_certificates()[0].to_vec()
}

fn served_with(identity: Identity) -> TlsServerOptions {
    TlsServerOptions::new(Certificates::pem(identity.certificate), PrivateKey::pem(identity.key))
}

/// A certificate and its key in files that are gone afterwards.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gantline-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    fn write(&self, identity: &Identity) {
        std::fs::write(self.certificate(), &identity.certificate).unwrap();
        std::fs::write(self.key(), &identity.key).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Until the files were looked at once more. Time passes only while nothing else happens, looking included.
async fn look() {
    tokio::time::pause();
    tokio::time::sleep(EVERY * 2).await;
    tokio::time::resume();
}

#[tokio::test]
async fn files_that_change_are_read_again_and_nobody_is_disturbed() {
    let (files, ca) = (Files::new("watch"), Authority::new("ca"));
    let (first, second) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
    files.write(&first);
    let options =
        TlsServerOptions::new(Certificates::file(files.certificate()), PrivateKey::file(files.key()));
    let acceptor = TlsAcceptor::new(options.clone().watch_files(EVERY)).unwrap();
    let watch = tokio::spawn(acceptor.clone().watch());
    let trust = TlsClientOptions::default().ca(Certificates::pem(ca.pem()));
    let shown = async || first_certificate(&meet(&acceptor, trust.clone()).await.unwrap().0);
    let (mut client, mut server) = meet(&acceptor, trust.clone()).await.unwrap();

    look().await;
    assert_eq!(shown().await, first.certificate_der, "nothing has changed");
    for unusable in [&second.certificate[..second.certificate.len() / 2], "", &second.certificate] {
        std::fs::write(files.certificate(), unusable).unwrap();
        look().await;
        assert_eq!(shown().await, first.certificate_der, "half of it is not enough");
    }
    std::fs::remove_file(files.key()).unwrap();
    look().await;
    assert_eq!(shown().await, first.certificate_der);
    files.write(&second);
    look().await;
    assert_eq!(shown().await, second.certificate_der);

    client.write_all(b"still here").await.unwrap();
    client.flush().await.unwrap();
    let mut bytes = [0; 10];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"still here");

    acceptor.reload(options).unwrap();
    look().await;
    watch.await.unwrap();
}

#[tokio::test]
async fn a_client_asks_for_its_identity_at_each_connect() {
    let ca = Authority::new("ca");
    let server = served_with(ca.server(&["localhost"]))
        .client_ca(Certificates::pem(ca.pem()))
        .client_certificates(ClientCertificates::Required);
    let acceptor = TlsAcceptor::new(server).unwrap();
    let devices = Arc::new([ca.client("first"), ca.client("second")]);
    let (asked, known) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&devices));
    let client = TlsClientOptions::default().ca(Certificates::pem(ca.pem())).identity_provider(move || {
        let next = known.get(asked.fetch_add(1, Ordering::Relaxed)).cloned();
        async move {
            tokio::task::yield_now().await;
            let device = next.ok_or("the store of certificates is closed")?;
            let (chain, key) = (Certificates::pem(device.certificate), PrivateKey::pem(device.key));
            Ok::<_, &'static str>(TlsIdentity::new(chain, key))
        }
    });
    for device in &*devices {
        let (_, server) = meet(&acceptor, client.clone()).await.unwrap();
        assert_eq!(first_certificate(&server), device.certificate_der);
    }
    let error = meet(&acceptor, client).await.unwrap_err();
    assert!(matches!(error, TransportError::TlsOptions(TlsOptionsError::IdentityProvider { .. })));
    assert!(error.to_string().contains("the store of certificates is closed"), "{error}");
}

#[tokio::test]
async fn both_ends_use_the_cryptography_that_they_are_given() {
    let ca = Authority::new("ca");
    let only = |group| {
        let ring = ring::default_provider();
        Arc::new(CryptoProvider { kx_groups: vec![group], ..ring })
    };
    let server = |group| {
        let options = served_with(ca.server(&["localhost"])).crypto_provider(only(group));
        TlsAcceptor::new(options).unwrap()
    };
    let trust = TlsClientOptions::default().ca(Certificates::pem(ca.pem()));
    let client = trust.clone().crypto_provider(only(ring::kx_group::X25519));
    meet(&server(ring::kx_group::X25519), client.clone()).await.unwrap();
    meet(&server(ring::kx_group::SECP384R1), trust).await.unwrap();
    meet(&server(ring::kx_group::SECP384R1), client).await.unwrap_err();
}
