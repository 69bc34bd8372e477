//! The real binary as a child process.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

pub(crate) fn gantline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantline"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    gantline(arguments).output().unwrap()
}

/// One that runs until a signal, and is killed when it is dropped.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) urls: Vec<String>,
}

impl Running {
    /// A broker on free ports.
    pub(crate) fn serve(listeners: usize, more: &[&str]) -> Self {
        let mut arguments = vec!["serve"];
        arguments.extend(["--listen", "mqtt://127.0.0.1:0"].repeat(listeners));
        arguments.extend(more);
        Self::start(&arguments, listeners, "listening on ")
    }

    /// Starts it and reads the URLs behind `prefix` in its first lines.
    pub(crate) fn start(arguments: &[&str], urls: usize, prefix: &str) -> Self {
        let mut command = gantline(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut url = || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line.trim_end().strip_prefix(prefix).expect("the line of a listener").to_owned()
        };
        let urls = (0..urls).map(|_| url()).collect();
        Self { child, stdout, urls }
    }

    /// Host and port of a listener.
    pub(crate) fn address(&self, listener: usize) -> &str {
        self.urls[listener].split_once("://").expect("a URL").1
    }

    /// Sends a signal, waits for the end, returns exit code, the rest of stdout, and stderr.
    #[cfg(unix)]
    pub(crate) fn end(mut self, signal: &str) -> (Option<i32>, String, String) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let (mut rest, mut log) = (String::new(), String::new());
        self.stdout.read_to_string(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), rest, log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
