//! Violence between a publisher and a subscriber that promise something: connections that are cut, processes that are
//! killed, and at the end the question what arrived.
//!
//! The program is the parent; it starts itself again as server, publisher and subscriber, and between each of these
//! and the server lies a proxy of its own. Both clients are managed, with sessions in stores; the publisher has its
//! outbox in one too.
//!
//! | phase | violence | promise |
//! |---|---|---|
//! | cuts | connections end at random bytes | QoS 2 once and in order, QoS 1 at least once |
//! | kills | those of the publisher too; publisher and subscriber are killed | the same, see `verdict.rs` |
//! | server kills | the server is killed, its sessions are gone | QoS 2 at most once; the clients come back |
//!
//! In all of them each publish has one outcome, as far as killed processes can tell.
//!
//! `cargo test -p gantline --all-features --test chaos -- --cuts 1000 --kills 100 --server-kills 100 --seed 7` is the
//! long way; without arguments it takes some seconds. Where it fails it says why and leaves its files. What the clients
//! write down is in `ledger.rs`.

#![expect(clippy::unwrap_used, reason = "what should not happen ends a test")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program with something to say")]

mod ledger;
mod options;
mod parent;
mod process;
mod proxy;
mod publisher;
mod random;
mod server;
mod subscriber;
mod verdict;

use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::Builder;

use crate::options::{Options, Wanted};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server"] => runtime.block_on(server::run()),
        ["publisher", directory, url] => runtime.block_on(publisher::run(Path::new(directory), url)),
        ["subscriber", directory, url, acks] => {
            runtime.block_on(subscriber::run(Path::new(directory), url, acks));
        }
        _ => match Options::parse(&arguments) {
            Ok(Wanted::Run(options)) => return runtime.block_on(parent::run(options)),
            Ok(Wanted::Nothing) => {}
            Err(wrong) => {
                eprintln!("{wrong}");
                return ExitCode::FAILURE;
            }
        },
    }
    ExitCode::SUCCESS
}
