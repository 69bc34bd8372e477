//! Retained messages of the real binary: `serve` keeps them, `retained` carries them in and out.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod support;

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process,
};

use support::{Running, run};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("gantline-cli-{}-{name}", process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_retained_outlives_the_broker_and_can_be_exported() {
    let scratch = Scratch::new("serve");
    let (store, file) = (scratch.path("store"), scratch.path("out.json"));
    let broker = Running::serve(1, &["--retained-dir", &store, "--retained-fsync", "each-batch"]);
    let mut stream = TcpStream::connect(broker.address(0)).unwrap();
    // CONNECT and a retained PUBLISH with QoS 1 to `lamp`, 3.1.1.
    stream.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a\x33\x0a\x00\x04lamp\x00\x01on").unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x20\x02\x00\x00\x40\x02\x00\x01");

    let output = run(&["retained", "export", "--dir", &store]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("is in use by another store"), "{complaint}");

    let (code, _, log) = broker.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    let output = run(&["retained", "export", "--dir", &store]);
    assert_eq!(output.stdout, b"[\n{\"topic\":\"lamp\",\"payload\":\"on\",\"qos\":1}\n]\n");
    let output = run(&["retained", "export", "--dir", &store, "--shape", "mqttnet", &file]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]));
    let theirs = fs::read_to_string(&file).unwrap();
    assert!(
        theirs.starts_with("[\n{\"Topic\":\"lamp\",\"Payload\":\"b24=\",\"QualityOfServiceLevel\":1,"),
        "{theirs}"
    );
}

#[test]
fn a_file_of_mqttnet_can_be_imported() {
    let scratch = Scratch::new("import");
    let (store, file) = (scratch.path("store"), scratch.path("RetainedMessages.json"));
    let theirs = r#"[{"Topic":"lamp","Payload":"b24=","QualityOfServiceLevel":0,"Retain":true,"UserProperties":null}]"#;
    fs::write(&file, theirs).unwrap();
    let output = run(&["retained", "import", "--dir", &store, &file]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"imported 1 messages\n"[..]));
    let output = run(&["retained", "export", "--dir", &store]);
    assert_eq!(output.stdout, b"[\n{\"topic\":\"lamp\",\"payload\":\"on\"}\n]\n");
}

#[test]
fn what_cannot_be_done_is_said() {
    let scratch = Scratch::new("errors");
    let (store, file) = (scratch.path("store"), scratch.path("in.json"));
    fs::write(&file, r#"[{"topic":"a/#","payload":"x"}]"#).unwrap();
    for (arguments, code, complaint) in [
        (vec!["retained", "import", "--dir", &store, &file], 1, "message 1 of the array cannot be read"),
        (vec!["retained", "export", "--dir", &store], 1, "is no directory"),
        (vec!["serve", "--retained-dir", &file], 1, "cannot use"),
        (vec!["serve", "--retained-fsync", "often"], 2, "often is neither never nor each-batch"),
        (vec!["serve", "--retained-fsync", "never"], 2, "--retained-dir"),
    ] {
        let output = run(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(complaint), "{said}");
    }
}
