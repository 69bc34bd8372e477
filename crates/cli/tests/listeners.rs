//! The flags of listeners: Unix sockets, and load balancers that speak the PROXY protocol.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::{Running, run};

const CONNECT: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";

/// Sends this and reads as many bytes of what comes back.
fn answer(mut stream: impl Read + Write, sent: &[u8]) -> Vec<u8> {
    stream.write_all(sent).unwrap();
    let mut answer = vec![0; 4];
    stream.read_exact(&mut answer).map_or_else(|_| Vec::new(), |()| answer)
}

fn tcp(broker: &Running) -> TcpStream {
    let stream = TcpStream::connect(broker.address(0)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[cfg(unix)]
#[test]
fn a_unix_socket_has_the_permissions_of_the_flag_and_is_removed_at_the_end() {
    use std::os::unix::{fs::PermissionsExt, net::UnixStream};

    let path = std::env::temp_dir().join(format!("gantline-cli-{}.sock", std::process::id()));
    let url = format!("unix://{}", path.display());
    let broker = Running::start(
        &["serve", "--listen", &url, "--listen", "mqtt://127.0.0.1:0", "--socket-mode", "600"],
        2,
        "listening on ",
    );
    assert_eq!(broker.urls[0], url);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(answer(stream, CONNECT)[0], 0x20);
    let (code, _, log) = broker.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!path.exists());
}

#[test]
fn a_load_balancer_in_a_trusted_network_is_required_to_say_for_whom_it_connects() {
    let broker =
        Running::serve(1, &["--proxy-protocol-from", "10.0.0.0/8", "--proxy-protocol-from", "127.0.0.1"]);
    let header = b"PROXY TCP4 192.0.2.1 127.0.0.1 52311 1883\r\n";
    assert_eq!(answer(tcp(&broker), &[header, CONNECT].concat())[0], 0x20);
    assert!(answer(tcp(&broker), CONNECT).is_empty());
}

#[test]
fn flags_that_fit_no_listener_are_refused() {
    let unix = format!("unix://{}", std::env::temp_dir().join("gantline-cli-none.sock").display());
    for (arguments, code, words) in [
        (&["--listen", "mqtt://127.0.0.1:0", "--socket-mode", "660"][..], 1, "option socket_mode"),
        (&["--listen", &unix, "--proxy-protocol-from", "10.0.0.0/8"], 1, "option proxy_protocol"),
        (&["--socket-mode", "888"], 2, "in octal"),
        (&["--proxy-protocol-from", "10.0.0.0/33"], 2, "is not a network"),
    ] {
        let output = run(&[&["serve", "--log", "off"], arguments].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}
