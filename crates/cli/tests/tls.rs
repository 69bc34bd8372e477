//! The flags of TLS: a listener with a certificate, files that are wrong, and renewals with and without SIGHUP.

#![cfg(feature = "tls")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

#[path = "support/folder.rs"]
mod folder;
#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::path::Path;

use folder::{Folder, shown};
use gantline::{Certificates, Client, ConnectOptions, PrivateKey, TlsClientOptions};
use gantline_test_support::certificates::Authority;
use support::{Running, run};

fn trusting(ca: &Authority) -> TlsClientOptions {
    TlsClientOptions::default().ca(Certificates::pem(ca.pem()))
}

async fn connect(broker: &Running, tls: TlsClientOptions) -> Result<Client, String> {
    let options = ConnectOptions::new(&broker.urls[0]).unwrap().tls(tls);
    Client::connect(options).await.map_err(|error| error.to_string())
}

fn start(files: &[String; 2], more: &[&str]) -> Running {
    let mut arguments =
        vec!["serve", "--listen", "mqtts://127.0.0.1:0", "--cert", &files[0], "--key", &files[1]];
    arguments.extend(more);
    Running::start(&arguments, 1, "listening on ")
}

#[cfg(unix)]
#[tokio::test]
async fn sighup_reads_the_files_again_and_disturbs_nobody() {
    use std::{
        io::{BufRead, BufReader},
        process::Command,
    };
    let (folder, first, second) = (Folder::new("hup"), Authority::new("first"), Authority::new("second"));
    let mut broker = start(&folder.serve(&first.server(&["127.0.0.1"])), &[]);
    assert!(broker.urls[0].starts_with("mqtts://127.0.0.1:"));
    let old = connect(&broker, trusting(&first)).await.unwrap();

    let mut log = BufReader::new(broker.child.stderr.take().unwrap()).lines();
    let mut renew = |expected: &str| {
        let kill = Command::new("kill").args(["-HUP", &broker.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        log.by_ref().map(Result::unwrap).find(|line| line.contains(expected)).expect("it is in the log")
    };
    folder.write("server.pem", "half written");
    let line = renew("TLS goes on with what it had");
    assert!(line.contains("has no certificate"), "{line}");
    folder.serve(&second.server(&["127.0.0.1"]));
    renew("the files of TLS were read again");

    connect(&broker, trusting(&second)).await.unwrap();
    let error = connect(&broker, trusting(&first)).await.unwrap_err();
    assert!(error.contains("signed by nobody whom we trust"), "{error}");
    old.ping().await.unwrap();
}

#[tokio::test]
async fn files_that_change_are_read_again_without_a_signal() {
    use std::io::{BufRead, BufReader};
    let (folder, first, second) = (Folder::new("watch"), Authority::new("first"), Authority::new("second"));
    let mut broker = start(&folder.serve(&first.server(&["127.0.0.1"])), &["--watch-certificates", "1"]);
    let old = connect(&broker, trusting(&first)).await.unwrap();
    let mut log = BufReader::new(broker.child.stderr.take().unwrap()).lines();
    let mut find = |expected: &str| {
        log.by_ref().map(Result::unwrap).find(|line| line.contains(expected)).expect("a line")
    };
    folder.write("server.pem", "half written");
    assert!(find("TLS goes on with what it had").contains("has no certificate"));
    folder.serve(&second.server(&["127.0.0.1"]));
    find("have changed and were read again");
    connect(&broker, trusting(&second)).await.unwrap();
    old.ping().await.unwrap();
}

#[cfg(feature = "pfx")]
#[tokio::test]
async fn an_identity_can_be_pkcs12_or_have_an_encrypted_key() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transport/tests/fixtures/pfx");
    let fixture = |name: &str| shown(&fixtures.join(name));
    let folder = Folder::new("pfx");
    let password = folder.write("password", "correct-horse\n");
    let trust = TlsClientOptions::default()
        .ca(Certificates::file(fixtures.join("root.pem")))
        .server_name("localhost");
    let (pfx, without) = (fixture("default.p12"), fixture("no-password.p12"));
    let (cert, key) = (fixture("leaf.pem"), fixture("default.key"));
    for identity in [
        &["--pfx", &pfx, "--pfx-password-file", &password][..],
        &["--pfx", &without],
        &["--cert", &cert, "--key", &key, "--key-password-file", &password],
    ] {
        let arguments = [&["serve", "--listen", "mqtts://127.0.0.1:0"], identity].concat();
        let broker = Running::start(&arguments, 1, "listening on ");
        connect(&broker, trust.clone()).await.unwrap();
    }
    let wrong = ["serve", "--log", "off", "--listen", "mqtts://127.0.0.1:0", "--pfx", &pfx];
    let output = run(&wrong);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("the password does not open") && stderr.contains("default.p12"), "{stderr}");
    for more in [&["--cert", &cert, "--key", &key][..], &["--key-password-file", &password]] {
        assert_eq!(run(&[&wrong, more].concat()).status.code(), Some(2), "{more:?}");
    }
}

#[tokio::test]
async fn client_certificates_are_optional_or_required() {
    let (folder, ca) = (Folder::new("mutual"), Authority::new("ca"));
    let files = folder.serve(&ca.server(&["127.0.0.1"]));
    let client_ca = folder.write("ca.pem", &ca.pem());
    let device = ca.client("device");
    let known =
        trusting(&ca).client_certificate(Certificates::pem(device.certificate), PrivateKey::pem(device.key));
    for required in [false, true] {
        let more = ["--client-ca", &client_ca, "--require-client-cert"];
        let broker = start(&files, &more[..if required { 3 } else { 2 }]);
        connect(&broker, known.clone()).await.unwrap();
        assert_eq!(connect(&broker, trusting(&ca)).await.is_err(), required);
    }
}

#[test]
fn what_does_not_fit_is_one_line_that_names_it() {
    let (folder, ca) = (Folder::new("wrong"), Authority::new("ca"));
    let [cert, key] = folder.serve(&ca.server(&["localhost"]));
    let empty = folder.write("empty.pem", "");
    let listen = ["serve", "--log", "off", "--listen", "mqtts://127.0.0.1:0"];
    let plain = ["serve", "--log", "off", "--listen", "mqtt://127.0.0.1:0"];
    let cases: [(&[&str], &[&str], &str); 4] = [
        (&listen, &[], "TLS needs a certificate"),
        (&listen, &["--cert", &empty, "--key", &key], "empty.pem has no certificate"),
        (&listen, &["--cert", &cert, "--key", &cert], "server.pem has no private key"),
        (&plain, &["--cert", &cert, "--key", &key], "no mqtts:// or wss:// address"),
    ];
    for (first, more, expected) in cases {
        let output = run(&[first, more].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
    for wrong in [
        &["--cert", &cert][..],
        &["--client-ca", &cert],
        &["--require-client-cert"],
        &["--watch-certificates", "1"],
    ] {
        assert_eq!(run(&[&listen, wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
}
