//! `gantline bench` against the real broker, against a broker that does wrong, and without one.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Output, Stdio},
    sync::mpsc,
    thread,
};

use support::{Running, gantline, run};

const SHORT: [&str; 4] = ["--seconds", "0.2", "--warm-up", "0.1"];
const FAULTS: [&str; 6] = ["lost", "duplicates", "reordered", "refused", "unacknowledged", "stalls"];
const RATE: [&str; 3] = ["delivered", "delivered_per_second", "latency_p99_us"];

/// Runs a scenario with --json.
fn bench(url: &str, arguments: &[&str]) -> Output {
    run(&[&["bench"], arguments, &["--broker", url, "--json"]].concat())
}

/// Runs a scenario that has to go well, and returns its report.
fn measure(url: &str, arguments: &[&str]) -> String {
    let output = bench(url, arguments);
    let report = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {report} {stderr}");
    assert!(report.starts_with('{') && report.trim_end().ends_with('}'), "{report}");
    report
}

/// A number of a report.
fn number(report: &str, name: &str) -> f64 {
    let (_, rest) =
        report.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {report}"));
    let end = rest.find([',', '}']).unwrap();
    rest[..end].parse().unwrap_or_else(|_| panic!("{name} is {}", &rest[..end]))
}

fn assert_positive(report: &str, names: &[&str]) {
    for name in names {
        assert!(number(report, name) > 0.0, "{name}: {report}");
    }
}

fn assert_no_faults(report: &str) {
    for name in FAULTS {
        assert_eq!(number(report, name), 0.0, "{name}: {report}");
    }
}

#[test]
fn traffic_of_all_shapes_arrives() {
    let broker = Running::serve(1, &[]);
    let shapes: [&[&str]; 8] = [
        &["p2p", "--publishers", "2", "--qos", "0", "--mqtt", "3.1"],
        &["p2p", "--publishers", "4", "--qos", "1", "--cross"],
        &["p2p", "--publishers", "2", "--qos", "1", "--window", "1", "--payload", "70000"],
        &["p2p", "--publishers", "2", "--qos", "2", "--mqtt", "5.0", "--user-properties", "3"],
        &["fan-in", "--publishers", "5", "--qos", "1"],
        &["fan-out", "--subscribers", "20", "--qos", "1", "--mqtt", "5.0"],
        &["shared", "--publishers", "3", "--members", "4", "--qos", "1", "--mqtt", "5.0"],
        &["wildcard", "--filters", "1100", "--publishers", "2", "--qos", "1"],
    ];
    for shape in shapes {
        let report = measure(&broker.urls[0], &[shape, &SHORT].concat());
        assert!(report.contains(&format!("\"scenario\":\"{}\"", shape[0])), "{report}");
        assert_positive(&report, &RATE);
        assert_no_faults(&report);
    }
}

#[test]
fn an_open_loop_keeps_its_rate_and_shows_percentiles() {
    let broker = Running::serve(1, &[]);
    let arguments = ["latency", "--rate", "200", "--publishers", "3", "--qos", "1"];
    let report = measure(&broker.urls[0], &[&arguments[..], &SHORT].concat());
    assert_no_faults(&report);
    let names = ["p50", "p90", "p99", "p99_9", "p99_99", "max"];
    let values = names.map(|name| number(&report, &format!("latency_{name}_us")));
    assert!(values[0] > 0.0 && values.is_sorted(), "{report}");
    assert_eq!(number(&report, "rate"), 200.0);
    assert_positive(&report, &["delivered"]);
}

#[test]
fn what_is_stored_is_delivered() {
    let broker = Running::serve(1, &[]);
    for qos in ["0", "1"] {
        let report = measure(&broker.urls[0], &["retained", "--messages", "700", "--qos", qos]);
        assert_eq!((number(&report, "stored"), number(&report, "delivered")), (700.0, 700.0), "{report}");
        assert_no_faults(&report);
    }
    for mqtt in ["3.1.1", "5.0"] {
        let queue = ["offline", "--sessions", "5", "--messages", "60", "--mqtt", mqtt];
        let report = measure(&broker.urls[0], &queue);
        assert_eq!((number(&report, "queued"), number(&report, "drained")), (300.0, 300.0), "{report}");
        assert_no_faults(&report);
    }
}

#[test]
fn connections_come_and_go() {
    let broker = Running::serve(1, &[]);
    let rounds = ["connect", "--connections", "30", "--rounds", "2", "--settle", "0"];
    let report = measure(&broker.urls[0], &rounds);
    assert_positive(&report, &["round_1_connects_per_second", "round_2_connect_p99_us"]);
    let idle = ["idle", "--connections", "10", "--keep-alive", "1"];
    let report = measure(&broker.urls[0], &[&idle[..], &SHORT].concat());
    assert_eq!(number(&report, "connections"), 10.0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_broker_is_looked_at() {
    let broker = Running::serve(1, &[]);
    let pid = broker.child.id().to_string();
    let report =
        measure(&broker.urls[0], &[&["p2p", "--publishers", "1", "--pid", &pid], &SHORT[..]].concat());
    assert_positive(
        &report,
        &["delivered_per_broker_cpu_second", "broker_cpu_percent", "broker_resident_mib"],
    );
    let report =
        measure(&broker.urls[0], &["connect", "--connections", "20", "--rounds", "1", "--pid", &pid]);
    let open = number(&report, "round_1_open_descriptors") - number(&report, "start_descriptors");
    assert_eq!(open, 20.0, "{report}");
}

#[test]
fn a_few_clients_that_never_read_are_noticed_by_nobody() {
    let broker = Running::serve(1, &["--max-queued-bytes", "16384"]);
    let few = ["frozen", "--clients", "50", "--frozen", "5", "--publishers", "2", "--rate", "1000"];
    let size = ["--payload", "16384", "--seconds", "1.5", "--warm-up", "0.1"];
    let report = measure(&broker.urls[0], &[&few[..], &size].concat());
    assert_no_faults(&report);
    for run in ["without", "with"] {
        let (_, row) = report.split_once(&format!("\"frozen\":\"{run}\"")).unwrap();
        assert_positive(row, &["delivered", "latency_p99_us", "ack_p99_9_us"]);
    }
    assert_positive(&report, &["normal_ack_us", "p99_ratio", "dropped_for_frozen"]);
    assert_eq!(number(&report, "frozen_below_bound"), 0.0, "{report}");
}

#[test]
fn a_bound_that_is_not_reached_proves_nothing() {
    let broker = Running::serve(1, &[]);
    let few = ["frozen", "--clients", "4", "--frozen", "1", "--payload", "16", "--rate", "100", "--check"];
    let output = bench(&broker.urls[0], &[&few[..], &SHORT].concat());
    let report = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{report}");
    assert_eq!(number(&report, "frozen_below_bound"), 1.0, "{report}");
}

#[test]
fn abuse_hurts_nobody() {
    let broker = Running::serve(1, &["--connect-timeout", "0.5"]);
    let few = ["abuse", "--mqtt", "5.0", "--sockets", "5", "--random", "5", "--hold", "0.2"];
    let report = measure(&broker.urls[0], &few);
    assert!(report.contains("\"case\":\"packet type 0\""), "{report}");
    assert_positive(&report, &["bystander_sent", "bystander_received"]);
    assert_eq!(number(&report, "bystander_lost"), 0.0, "{report}");
}

#[cfg(unix)]
#[test]
fn a_relay_is_broker_enough() {
    let relay = Running::start(&["bench", "relay", "--listen", "mqtt://127.0.0.1:0"], 1, "relaying on ");
    let shapes: [&[&str]; 5] = [
        &["p2p", "--publishers", "3"],
        &["p2p", "--publishers", "3", "--qos", "1"],
        &["p2p", "--publishers", "3", "--qos", "2", "--mqtt", "5.0"],
        &["fan-in", "--publishers", "5"],
        &["fan-out", "--subscribers", "5"],
    ];
    for shape in shapes {
        let report = measure(&relay.urls[0], &[shape, &SHORT].concat());
        assert_positive(&report, &RATE);
        assert_no_faults(&report);
    }
    let connects = ["connect", "--connections", "20", "--rounds", "2", "--settle", "0"];
    assert_positive(&measure(&relay.urls[0], &connects), &["round_2_connects_per_second"]);
    let refused = bench(&relay.urls[0], &["fan-in", "--qos", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("did not grant QoS 1"));
    let (code, rest, _) = relay.end("-INT");
    assert_eq!(code, Some(0));
    assert!(rest.contains("copied_bytes"), "{rest}");
}

#[test]
fn loss_doubles_and_disorder_are_counted_and_fail_above_qos_0() {
    let broker = Running::serve(1, &[]);
    for (qos, code) in [("0", 0), ("1", 3)] {
        let (proxy, _) = mangle(broker.address(0));
        let one = ["p2p", "--publishers", "1", "--window", "10", "--qos", qos];
        let output = bench(&proxy, &[&one[..], &SHORT].concat());
        let report = String::from_utf8(output.stdout).unwrap();
        let found = ["lost", "duplicates", "reordered"].map(|name| number(&report, name));
        assert_eq!(found, [1.0, 1.0, 1.0], "{report}");
        assert_eq!(output.status.code(), Some(code), "{report}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_prints_what_there_is() {
    let broker = Running::serve(1, &[]);
    let (proxy, first) = mangle(broker.address(0));
    let arguments = ["bench", "p2p", "--publishers", "1", "--seconds", "600", "--broker", &proxy];
    let child = Running::start(&arguments, 0, "");
    first.recv().unwrap();
    let (code, table, log) = child.end("-INT");
    assert_eq!(code, Some(0), "QoS 0 may lose: {table} {log}");
    assert!(table.lines().any(|line| line.starts_with("delivered ")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("ended ") && line.ends_with("early")), "{table}");
}

#[test]
fn failures_say_whose_they_are() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let not_authorized = answer(b"\x20\x02\x00\x05");
    let goodbye = answer(b"\x20\x03\x00\x00\x00\xe0\x02\x97\x00");
    let cases = [
        (format!("mqtt://{free}"), "3.1.1", "gantline serve"),
        (not_authorized, "3.1.1", "CONNACK 0x05, not authorized"),
        (goodbye, "5.0", "DISCONNECT 0x97, quota exceeded"),
        (answer(b""), "3.1.1", "closed the connection"),
        (answer(b"\xd0\x00"), "3.1.1", "waits for CONNACK"),
        ("memory://here".to_owned(), "3.1.1", "not by memory://"),
    ];
    for (url, mqtt, part) in cases {
        let output = bench(&url, &["p2p", "--mqtt", mqtt]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{part}: {stderr}");
        assert!(stderr.starts_with("gantline: ") && stderr.contains(part), "{part}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    let wrong: [&[&str]; 6] = [
        &["bench"],
        &["bench", "p2p", "--qos", "3"],
        &["bench", "offline", "--qos", "0"],
        &["bench", "p2p", "--mqtt", "4"],
        &["bench", "p2p", "--user-properties", "1"],
        &["bench", "frozen", "--clients", "5", "--frozen", "5"],
    ];
    for arguments in wrong {
        let output = gantline(arguments).stdout(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}

/// A broker that says `bytes` to each connection and closes it. Returns its URL.
fn answer(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            // The CONNECT is read first, so that closing does not reset the connection.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(bytes);
        }
    });
    url
}

/// A proxy before a broker that loses, doubles and swaps a message to each client. Returns its URL, and a
/// channel that says when a message has passed.
fn mangle(broker: &str) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let broker = broker.to_owned();
    let (passed, first) = mpsc::channel();
    thread::spawn(move || {
        for client in listener.incoming().map(Result::unwrap) {
            let server = TcpStream::connect(&broker).unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (mut up, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut up, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Both);
            });
            let passed = passed.clone();
            thread::spawn(move || mangle_messages(server, client, &passed));
        }
    });
    (url, first)
}

fn mangle_messages(mut server: TcpStream, mut client: TcpStream, passed: &mpsc::Sender<()>) -> Option<()> {
    let mut messages = 0;
    let mut held = Vec::new();
    loop {
        let packet = packet(&mut server)?;
        let mut out = packet.clone();
        if packet[0] >> 4 == 3 {
            messages += 1;
            let _ = passed.send(());
            match messages {
                3 => out.clear(),
                5 => out.extend(&packet),
                7 => held = std::mem::take(&mut out),
                8 => out.append(&mut held),
                _ => {}
            }
        }
        client.write_all(&out).ok()?;
    }
}

/// The next packet of a stream; `None` at its end.
fn packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet).ok()?;
    let mut length = usize::from(packet[1] & 0x7F);
    for shift in [7, 14, 21] {
        if packet[packet.len() - 1] & 0x80 == 0 {
            break;
        }
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        packet.push(byte[0]);
        length |= usize::from(byte[0] & 0x7F) << shift;
    }
    let head = packet.len();
    packet.resize(head + length, 0);
    stream.read_exact(&mut packet[head..]).ok()?;
    Some(packet)
}
