//! The CAs of the system. Where they are is told to a process by its environment, so each case is a process of its own:
//! this program again, with one of the tests that are ignored otherwise.

#![cfg(all(feature = "system-roots", unix, not(target_vendor = "apple"), not(target_os = "android")))]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::process::Command;

use gantline_test_support::certificates::Authority;
use gantline_transport::{
    AcceptBackoff, Address, BindOptions, Certificates, DialOptions, PrivateKey, TlsAcceptor,
    TlsClientOptions, TlsFailure, TlsOptionsError, TlsServerOptions, TransportError, accept, bind, connect,
};

/// Runs one of the ignored tests in a process of its own, whose system trusts what is in a file that is empty at first.
fn in_another_system(test: &str) {
    let path = std::env::temp_dir().join(format!("gantline-{test}-{}.pem", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", &path)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    std::fs::remove_file(path).unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// From now on the system trusts this one.
fn install(ca: &Authority) {
    std::fs::write(std::env::var_os("SSL_CERT_FILE").unwrap(), ca.pem()).unwrap();
}

async fn meet(ca: &Authority, client: TlsClientOptions) -> Result<(), TransportError> {
    let identity = ca.server(&["localhost"]);
    let server =
        TlsServerOptions::new(Certificates::pem(identity.certificate), PrivateKey::pem(identity.key));
    let options = BindOptions::default().tls(TlsAcceptor::new(server).unwrap());
    let mut listener = bind(&Address::new("mqtts://localhost:0").unwrap(), &options).await.unwrap();
    let port = listener.local_address().port().unwrap();
    let server = tokio::spawn(async move {
        let _ = accept(&mut *listener, &mut AcceptBackoff::new()).await.unwrap().handshake().await;
    });
    let address = Address::new(format!("mqtts://localhost:{port}")).unwrap();
    let connected = connect(&address, &DialOptions::default().tls(client)).await.map(drop);
    server.abort();
    connected
}

#[track_caller]
fn assert_unknown(result: Result<(), TransportError>) {
    let Err(TransportError::Handshake { failure, .. }) = result else { panic!("{result:?}") };
    assert!(matches!(*failure, TlsFailure::UnknownIssuer), "{failure}");
}

#[test]
fn the_system_is_trusted_if_that_is_wanted() {
    in_another_system("one_with_the_ca_of_a_company");
}

#[tokio::test]
#[ignore = "run by the_system_is_trusted_if_that_is_wanted"]
async fn one_with_the_ca_of_a_company() {
    let (company, own) = (Authority::new("company"), Authority::new("own"));
    install(&company);
    let system = TlsClientOptions::default().system_roots();
    meet(&company, system.clone()).await.unwrap();
    assert_unknown(meet(&own, system.clone()).await);
    assert_unknown(meet(&company, TlsClientOptions::default()).await);

    let certificates = || Certificates::pem(own.pem());
    assert_unknown(meet(&company, TlsClientOptions::default().ca(certificates())).await);
    for both in [system.clone().ca(certificates()), system.clone().extra_ca(certificates())] {
        meet(&own, both.clone()).await.unwrap();
        meet(&company, both).await.unwrap();
    }
    let judged = system.verify_server(|verification| verification.error().is_some());
    meet(&own, judged).await.unwrap();
}

#[test]
fn a_system_without_cas_is_an_error_that_says_so() {
    in_another_system("one_without_cas");
}

#[tokio::test]
#[ignore = "run by a_system_without_cas_is_an_error_that_says_so"]
async fn one_without_cas() {
    let error = meet(&Authority::new("own"), TlsClientOptions::default().system_roots()).await.unwrap_err();
    let TransportError::TlsOptions(TlsOptionsError::NoSystemRoots { .. }) = &error else { panic!("{error}") };
    assert!(error.to_string().contains("ca-certificates"), "{error}");
}
