//! The server: ours, with its defaults. It says where it listens, and ends with its parent.

use gantline::{Server, ServerOptions};

use crate::process::{Report, orders};

pub(crate) async fn run() {
    let server = Server::new(ServerOptions::default()).listen("mqtt://127.0.0.1:0").start().await.unwrap();
    let address = server.local_addresses()[0].to_string();
    Report::Listens(address.trim_start_matches("mqtt://").trim_end_matches('/').to_owned()).say();
    // Nothing is ordered; the end of the orders is the end of the parent.
    while orders().changed().await.is_ok() {}
}
