//! The real binary: what it prints, how it ends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod support;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use support::{Running, run};

fn connect(broker: &Running, listener: usize) -> TcpStream {
    let stream = TcpStream::connect(broker.address(listener)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// CONNECT of a 5.0 client `a` with a clean start, and the first four bytes of what comes back.
fn shake_hands(stream: &mut TcpStream) -> [u8; 4] {
    stream.write_all(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a").unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    answer
}

#[test]
fn serve_announces_each_listener_and_serves_it() {
    let broker = Running::serve(2, &[]);
    assert_ne!(broker.urls[0], broker.urls[1]);
    for listener in 0..2 {
        let answer = shake_hands(&mut connect(&broker, listener));
        assert_eq!((answer[0], answer[2], answer[3]), (0x20, 0, 0), "a CONNACK with reason 0");
    }
}

#[test]
fn every_worker_serves() {
    let broker = Running::serve(1, &["--workers", "3"]);
    let mut connections: Vec<_> = (0..7).map(|_| connect(&broker, 0)).collect();
    for connection in &mut connections {
        assert_eq!(shake_hands(connection)[0], 0x20);
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_gracefully() {
    for signal in ["-INT", "-TERM"] {
        let broker = Running::serve(1, &["--workers", "2"]);
        let mut stream = connect(&broker, 0);
        shake_hands(&mut stream);
        let (code, rest, log) = broker.end(signal);
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(rest, "", "stdout has the lines of the listeners only");
        let mut goodbye = Vec::new();
        stream.read_to_end(&mut goodbye).unwrap();
        let disconnect = goodbye.windows(3).any(|bytes| bytes[0] == 0xE0 && bytes[2] == 0x8B);
        assert!(disconnect, "the client is told that the server shuts down: {goodbye:02x?}");
    }
}

#[test]
fn a_limit_of_the_command_line_reaches_clients() {
    let broker = Running::serve(1, &["--max-packet-size", "4660", "--receive-maximum", "22136"]);
    let mut stream = connect(&broker, 0);
    let head = shake_hands(&mut stream);
    let mut properties = vec![0; usize::from(head[1]) - 2];
    stream.read_exact(&mut properties).unwrap();
    assert!(properties.windows(5).any(|bytes| bytes == [0x27, 0, 0, 0x12, 0x34]), "{properties:02x?}");
    assert!(properties.windows(3).any(|bytes| bytes == [0x21, 0x56, 0x78]), "{properties:02x?}");
}

#[test]
fn an_address_in_use_is_one_line_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", taken.local_addr().unwrap());
    let output = run(&["serve", "--log", "off", "--listen", &url]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(&url), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_arguments_are_usage_and_exit_code_2() {
    let wrong: [&[&str]; 6] = [
        &["serve", "--no-such-flag"],
        &["serve", "--listen", "http://127.0.0.1"],
        &["serve", "--receive-maximum", "0"],
        &["serve", "--log", "loud=very"],
        &["no-such-command"],
        &[],
    ];
    for arguments in wrong {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = run(&["--version"]);
    assert!(version.status.success());
    assert_eq!(version.stdout, format!("gantline {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    let help = run(&["serve", "--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("--listen <URL>"));
}

#[test]
fn the_broker_publishes_its_numbers_unless_told_not_to() {
    for (flags, answers) in [(&[][..], true), (&["--sys-interval", "0"][..], false)] {
        let broker = Running::serve(1, flags);
        let mut stream = connect(&broker, 0);
        let head = shake_hands(&mut stream);
        stream.read_exact(&mut vec![0; usize::from(head[1]) - 2]).unwrap();
        // SUBSCRIBE, and PINGREQ behind it.
        stream.write_all(b"\x82\x19\x00\x01\x00\x00\x13$SYS/broker/version\x00\xc0\x00").unwrap();
        let (mut came, mut buffer) = (Vec::new(), [0; 256]);
        while !came.windows(2).any(|bytes| bytes == [0xD0, 0]) || answers != came.windows(8).any(is_version) {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{came:02x?}");
            came.extend_from_slice(&buffer[..read]);
        }
    }
}

fn is_version(bytes: &[u8]) -> bool {
    bytes == b"gantline"
}
