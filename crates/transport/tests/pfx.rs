//! PKCS#12 files and encrypted keys as openssl writes them, on both sides, and what is wrong with those that cannot be
//! read.
//!
//! The files are in `fixtures/pfx`, made by the script there.

#![cfg(feature = "pfx")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::{Path, PathBuf};

use gantline_transport::{
    AcceptBackoff, Address, BindOptions, Certificates, ClientCertificates, DialOptions, KeyPassword,
    PrivateKey, TlsAcceptor, TlsClientOptions, TlsIdentity, TlsOptionsError, TlsServerOptions, accept, bind,
    connect,
};

const PASSWORD: &str = "correct-horse";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pfx").join(name)
}

fn root() -> Certificates {
    Certificates::file(fixture("root.pem"))
}

/// How many certificates each end shows to the other, if both ends are this identity.
async fn shown_by_both(identity: TlsIdentity) -> Result<(usize, usize), TlsOptionsError> {
    let server = TlsServerOptions::with_identity(identity.clone())
        .client_ca(root())
        .client_certificates(ClientCertificates::Required);
    let options = BindOptions::default().tls(TlsAcceptor::new(server)?);
    let mut listener = bind(&Address::new("mqtts://localhost:0").unwrap(), &options).await.unwrap();
    let port = listener.local_address().port().unwrap();
    let server = tokio::spawn(async move {
        accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap().handshake().await.unwrap()
    });
    let dial = DialOptions::default().tls(TlsClientOptions::default().ca(root()).identity(identity));
    let address = Address::new(format!("mqtts://localhost:{port}")).unwrap();
    let client = connect(&address, &dial).await.unwrap();
    let server = server.await.unwrap();
    let shown = |tls: &gantline_transport::TlsInfo| tls.peer_certificates().len();
    Ok((shown(server.info().tls().unwrap()), shown(client.info().tls().unwrap())))
}

fn refused(identity: TlsIdentity) -> TlsOptionsError {
    TlsAcceptor::new(TlsServerOptions::with_identity(identity)).unwrap_err()
}

#[tokio::test]
async fn what_openssl_exports_is_an_identity_for_both_ends() {
    for name in [
        "default",
        "default-rsa",
        "default-ed25519",
        "named",
        "legacy",
        "old-algorithms",
        "triple-des",
        "aes-128",
        "no-mac",
    ] {
        let path = fixture(&format!("{name}.p12"));
        let from_file = TlsIdentity::pfx_file(&path, PASSWORD);
        assert_eq!(shown_by_both(from_file).await.unwrap(), (2, 2), "{name}: itself and its CA, no root");
        let from_bytes = TlsIdentity::pfx(std::fs::read(path).unwrap(), PASSWORD.to_owned());
        assert_eq!(shown_by_both(from_bytes).await.unwrap(), (2, 2), "{name}");
    }
    let without = TlsIdentity::pfx_file(fixture("no-password.p12"), "");
    assert_eq!(shown_by_both(without).await.unwrap(), (2, 2));
}

#[test]
fn what_is_wrong_with_a_pfx_file_is_named() {
    for name in ["default", "legacy", "no-mac", "no-password"] {
        let path = fixture(&format!("{name}.p12"));
        let error = refused(TlsIdentity::pfx_file(&path, "wrong"));
        assert!(matches!(error, TlsOptionsError::WrongPassword { .. }), "{name}: {error}");
        assert!(error.to_string().contains(&format!("{name}.p12")), "{error}");
    }
    let error = refused(TlsIdentity::pfx_file(fixture("no-key.p12"), PASSWORD));
    assert!(matches!(error, TlsOptionsError::PfxWithoutKey { .. }), "{error}");
    let error = refused(TlsIdentity::pfx_file(fixture("no-certificate.p12"), PASSWORD));
    assert!(matches!(error, TlsOptionsError::PfxWithoutCertificate { .. }), "{error}");
    for name in ["camellia.p12", "leaf.pem"] {
        let error = refused(TlsIdentity::pfx_file(fixture(name), PASSWORD));
        assert!(matches!(error, TlsOptionsError::Pfx { .. }), "{error}");
        assert!(error.to_string().contains("openssl pkcs12 -export"), "{error}");
    }
    let error = refused(TlsIdentity::pfx_file("no/such/file.p12", PASSWORD));
    assert!(error.to_string().starts_with("no/such/file.p12 cannot be read: "), "{error}");
    let error = refused(TlsIdentity::pfx_file(fixture("default.p12"), KeyPassword::file("no/such/password")));
    assert!(error.to_string().starts_with("no/such/password cannot be read: "), "{error}");
}

#[tokio::test]
async fn an_encrypted_key_is_opened_with_its_password() {
    let chain = || Certificates::file(fixture("leaf.pem"));
    let key = |name: &str| PrivateKey::file(fixture(name));
    for name in ["default.key", "triple-des.key"] {
        let identity = TlsIdentity::new(chain(), key(name).password(PASSWORD));
        assert_eq!(shown_by_both(identity).await.unwrap(), (2, 2), "{name}");
        let error = refused(TlsIdentity::new(chain(), key(name).password("wrong")));
        assert!(matches!(error, TlsOptionsError::WrongPassword { .. }), "{name}: {error}");
        let error = refused(TlsIdentity::new(chain(), key(name)));
        assert!(matches!(error, TlsOptionsError::EncryptedKey { .. }), "{name}: {error}");
    }
    for name in ["version-1.key", "by-pem.key"] {
        let error = refused(TlsIdentity::new(chain(), key(name).password(PASSWORD)));
        assert!(matches!(error, TlsOptionsError::EncryptedKeyUnsupported { .. }), "{name}: {error}");
        assert!(error.to_string().contains("openssl pkcs8 -topk8"), "{error}");
    }
}

#[tokio::test]
async fn a_password_file_ends_with_a_line_break_that_does_not_count() {
    let path = std::env::temp_dir().join(format!("gantline-password-{}", std::process::id()));
    for text in ["correct-horse", "correct-horse\n", "correct-horse\r\n"] {
        std::fs::write(&path, text).unwrap();
        let identity = TlsIdentity::pfx_file(fixture("default.p12"), KeyPassword::file(&path));
        assert_eq!(shown_by_both(identity).await.unwrap(), (2, 2), "{text:?}");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_password_is_shown_to_nobody() {
    let identity = TlsIdentity::pfx_file("device.p12", PASSWORD);
    let key = PrivateKey::file("device.key").password(PASSWORD);
    let options = TlsClientOptions::default().identity(identity.clone());
    for shown in [format!("{identity:?}"), format!("{key:?}"), format!("{options:?}")] {
        assert!(shown.contains("device.") && !shown.contains(PASSWORD), "{shown}");
    }
}
