//! The real binary: what it prints, how it ends.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

fn gantline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantline"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    gantline(arguments).output().unwrap()
}

/// A broker on a free port, killed when it is dropped.
struct Broker {
    child: Child,
    stdout: BufReader<ChildStdout>,
    urls: Vec<String>,
}

impl Broker {
    fn start(listeners: usize, more: &[&str]) -> Self {
        let mut arguments = vec!["serve"];
        arguments.extend(["--listen", "mqtt://127.0.0.1:0"].repeat(listeners));
        arguments.extend(more);
        let mut command = gantline(&arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut url = || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line.trim_end().strip_prefix("listening on ").expect("the line of a listener").to_owned()
        };
        let urls = (0..listeners).map(|_| url()).collect();
        Self { child, stdout, urls }
    }

    fn connect(&self, listener: usize) -> TcpStream {
        let address = self.urls[listener].strip_prefix("mqtt://").expect("a URL");
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends a signal, waits for the end, returns exit code, the rest of stdout, and stderr.
    fn end(mut self, signal: &str) -> (Option<i32>, String, String) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let (mut rest, mut log) = (String::new(), String::new());
        self.stdout.read_to_string(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), rest, log)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    let broker = Broker::start(2, &[]);
    assert_ne!(broker.urls[0], broker.urls[1]);
    for listener in 0..2 {
        let answer = shake_hands(&mut broker.connect(listener));
        assert_eq!((answer[0], answer[2], answer[3]), (0x20, 0, 0), "a CONNACK with reason 0");
    }
}

#[test]
fn every_worker_serves() {
    let broker = Broker::start(1, &["--workers", "3"]);
    let mut connections: Vec<_> = (0..7).map(|_| broker.connect(0)).collect();
    for connection in &mut connections {
        assert_eq!(shake_hands(connection)[0], 0x20);
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_gracefully() {
    for signal in ["-INT", "-TERM"] {
        let broker = Broker::start(1, &["--workers", "2"]);
        let mut stream = broker.connect(0);
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
    let broker = Broker::start(1, &["--max-packet-size", "4660", "--receive-maximum", "22136"]);
    let mut stream = broker.connect(0);
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
