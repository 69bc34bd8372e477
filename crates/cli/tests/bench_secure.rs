//! `gantline bench` over TLS and WebSocket, and what it says where one of them does not come about.

#![cfg(all(feature = "tls", feature = "websocket"))]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

#[path = "support/folder.rs"]
mod folder;
#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;

use folder::Folder;
use gantline_test_support::certificates::Authority;
use support::{Running, run};

const SHORT: [&str; 4] = ["--seconds", "0.2", "--warm-up", "0.1"];

/// A broker with a listener of each kind that has something above TCP.
fn serve(files: &[String; 2], more: &[&str]) -> Running {
    let mut arguments = vec!["serve", "--cert", &files[0], "--key", &files[1]];
    for scheme in ["mqtts://localhost:0", "ws://localhost:0/mqtt", "wss://localhost:0/mqtt"] {
        arguments.extend(["--listen", scheme]);
    }
    arguments.extend(more);
    Running::start(&arguments, 3, "listening on ")
}

/// The URL of a listener, as the certificate has it.
fn url(broker: &Running, listener: usize) -> String {
    broker.urls[listener].replace("127.0.0.1", "localhost").replace("[::1]", "localhost")
}

/// Exit code, report and what was said on stderr.
fn bench(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[&["bench"], arguments].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_scenario_goes_over_tls_and_websocket() {
    let (folder, ca) = (Folder::new("bench-secure"), Authority::new("ca"));
    let broker = serve(&folder.serve(&ca.server(&["localhost"])), &[]);
    let cafile = folder.write("ca.pem", &ca.pem());
    let shapes: [&[&str]; 6] = [
        &["p2p", "--publishers", "2"],
        &["p2p", "--publishers", "2", "--qos", "2", "--payload", "200000", "--mqtt", "5.0", "--window", "5"],
        &["fan-out", "--subscribers", "20", "--qos", "1"],
        &["wildcard", "--filters", "300", "--publishers", "1"],
        &["retained", "--messages", "300", "--qos", "1"],
        &["offline", "--sessions", "3", "--messages", "60"],
    ];
    for (listener, more) in [(0, &["--cafile", &cafile][..]), (1, &[]), (2, &["--cafile", &cafile])] {
        let url = url(&broker, listener);
        for shape in shapes {
            let timing = if shape.contains(&"--messages") { &[][..] } else { &SHORT };
            let place = ["--broker", &url, "--json"];
            let (code, report, said) = bench(&[shape, timing, &place, more].concat());
            assert_eq!(code, Some(0), "{shape:?} at {url}: {report} {said}");
            assert!(!report.contains("\"delivered\":0,"), "{shape:?} at {url}: {report}");
            assert!(report.contains("\"lost\":0") && report.contains("\"stalls\":0"), "{url}: {report}");
        }
    }
}

#[test]
fn a_broker_may_ask_for_our_certificate() {
    let (folder, ca) = (Folder::new("bench-mutual"), Authority::new("ca"));
    let cafile = folder.write("ca.pem", &ca.pem());
    let files = folder.serve(&ca.server(&["localhost"]));
    let broker = serve(&files, &["--client-ca", &cafile, "--require-client-cert"]);
    let device = ca.client("device");
    let cert = folder.write("device.pem", &device.certificate);
    let key = folder.write("device.key", &device.key);
    let url = url(&broker, 0);
    let scenario = ["connect", "--connections", "2", "--rounds", "1", "--settle", "0", "--broker", &url];
    let known = ["--cafile", &cafile, "--cert", &cert, "--key", &key];
    let (code, _, said) = bench(&[&scenario[..], &known].concat());
    assert_eq!(code, Some(0), "{said}");
    let (code, _, said) = bench(&[&scenario[..], &known[..2]].concat());
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn who_trusts_nobody_says_so_and_who_trusts_all_is_warned() {
    let (folder, ca) = (Folder::new("bench-insecure"), Authority::new("ca"));
    let broker = serve(&folder.serve(&ca.server(&["localhost"])), &[]);
    let url = url(&broker, 0);
    let scenario = ["connect", "--connections", "1", "--rounds", "1", "--settle", "0", "--broker", &url];
    let (code, _, said) = bench(&scenario);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("gantline: TLS: ") && said.contains("--cafile"), "{said}");
    let (code, _, said) = bench(&[&scenario[..], &["--insecure"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("WARNING: --insecure"), "{said}");
    let missing = ["--cafile", "/no/such/file"];
    let (code, _, said) = bench(&[&scenario[..], &missing].concat());
    assert_eq!(code, Some(1));
    assert!(said.contains("/no/such/file cannot be read"), "{said}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let broker = Running::start(&["serve", "--listen", "ws://127.0.0.1:0/mqtt"], 1, "listening on ");
    let (code, _, said) = bench(&["p2p", "--broker", &broker.urls[0].replace("/mqtt", "/other")]);
    assert_eq!(code, Some(1));
    assert!(said.contains("did not upgrade to WebSocket") && said.contains("404"), "{said}");
    let (code, _, said) = bench(&["p2p", "--broker", &broker.urls[0], "--insecure"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--insecure needs a broker at mqtts:// or wss://"), "{said}");
    let (code, _, said) = bench(&["relay", "--listen", "ws://127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("not ws://"), "{said}");
}
