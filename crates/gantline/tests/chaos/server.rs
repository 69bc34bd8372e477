//! The server: ours, with room for all that waits for a subscriber that hardly gets a word. It says where it listens
//! and, at the end, whether it dropped something.

use gantline::{Server, ServerOptions};

use crate::process::{Report, orders};

pub(crate) async fn run() {
    // The publisher is faster than a subscriber whose connections end all the time. At the bounds the oldest would be
    // dropped, as documented, and nothing could be said about the rest.
    let options = ServerOptions::default()
        .max_queued_messages(MOST_WAITING)
        .max_parked_messages(MOST_WAITING)
        .max_queued_bytes(MOST_WAITING_BYTES)
        .max_queued_bytes_in_all(MOST_WAITING_BYTES.into());
    let server = Server::new(options).listen("mqtt://127.0.0.1:0").start().await.unwrap();
    let address = server.local_addresses()[0].to_string();
    Report::Listens(address.trim_start_matches("mqtt://").trim_end_matches('/').to_owned()).say();
    let mut orders = orders();
    while orders.changed().await.is_ok() {
        Report::Dropped(server.metrics().dropped.total()).say();
    }
}

const MOST_WAITING: u32 = 1_000_000;
const MOST_WAITING_BYTES: u32 = 1 << 30;
