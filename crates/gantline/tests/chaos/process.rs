//! The children: how they are started and killed, what they report, and what they are told.
//!
//! A child reports lines on its standard output and is told to come to an end by a line on its input. When the input is
//! closed its parent is gone, and it goes too.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;
use std::{env, io, process, thread};

use tokio::sync::watch;
use tokio::time::timeout;

/// What a child says.
pub(crate) enum Report {
    /// Where the server listens.
    Listens(String),
    /// So many messages the server has dropped.
    Dropped(u64),
    /// The subscription is there, for the first time.
    Ready,
    /// A message more was delivered, or taken.
    Progress,
    /// The last message was taken.
    Last,
}

impl Report {
    pub(crate) fn say(self) {
        let line = match self {
            Self::Listens(address) => format!("listens {address}\n"),
            Self::Dropped(count) => format!("dropped {count}\n"),
            Self::Ready => "ready\n".to_owned(),
            Self::Progress => "progress\n".to_owned(),
            Self::Last => "last\n".to_owned(),
        };
        // Each line whole or not at all. If nobody reads, the parent is gone.
        if io::stdout().lock().write_all(line.as_bytes()).and_then(|()| io::stdout().flush()).is_err() {
            process::exit(1);
        }
    }
}

/// In a child: `true` once it is to come to an end.
pub(crate) fn orders() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    thread::spawn(move || {
        for line in io::stdin().lines() {
            if line.is_ok_and(|line| line == "finish") {
                sender.send_replace(true);
            }
        }
        process::exit(1);
    });
    receiver
}

/// What is known of a child.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) listens: Option<String>,
    pub(crate) dropped: Option<u64>,
    pub(crate) ready: bool,
    pub(crate) progress: u64,
    pub(crate) last: bool,
    pub(crate) gone: bool,
}

/// A child as its parent sees it. Killed when it is dropped.
pub(crate) struct Process {
    role: String,
    child: Child,
    input: ChildStdin,
    status: watch::Receiver<Status>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, status) = watch::channel(Status::default());
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                sender.send_modify(|status| match line.split_once(' ') {
                    Some(("listens", address)) => status.listens = Some(address.to_owned()),
                    Some(("dropped", count)) => status.dropped = count.parse().ok(),
                    _ if line == "progress" => status.progress += 1,
                    _ if line == "ready" => status.ready = true,
                    _ if line == "last" => status.last = true,
                    _ => {}
                });
            }
            sender.send_modify(|status| status.gone = true);
        });
        Self { role: arguments[0].to_owned(), child, input, status }
    }

    /// Waits for something.
    ///
    /// # Errors
    ///
    /// It does not come, or the child ends before.
    pub(crate) async fn until(&self, what: &str, comes: impl Fn(&Status) -> bool) -> Result<Status, String> {
        let mut status = self.status.clone();
        let found = timeout(PATIENCE, status.wait_for(|status| comes(status) || status.gone)).await;
        match found {
            Ok(Ok(found)) if comes(&found) => Ok(found.clone()),
            Ok(_) => Err(format!("the {} ended before: {what}", self.role)),
            Err(_) => Err(format!("after {PATIENCE:?} still not with the {}: {what}", self.role)),
        }
    }

    /// Waits until it has got on from here.
    pub(crate) async fn progress(&self) -> Result<(), String> {
        let before = self.status.borrow().progress;
        self.until("progress", |status| status.progress > before).await.map(drop)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it come to an end.
    pub(crate) fn finish(&mut self) {
        // If it is gone, waiting for it says so.
        let _ = self.input.write_all(b"finish\n");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus, String> {
        self.until("its end", |status| status.gone).await?;
        Ok(self.child.wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(40);
