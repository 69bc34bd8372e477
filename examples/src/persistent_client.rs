//! A client that may be killed at any moment: its session is on disk, and what was in flight is sent when it is back.
//!
//! `cargo run --example persistent_client -- mqtt://localhost kitchen /var/lib/kitchen` (server, client id, directory)
//!
//! It sends a reading each second. Kill it (`kill -9`), or the server, and start it again: each reading that it had
//! begun to send comes once. Readings that it had not begun to send are none of its session; a managed client keeps
//! those too.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime};

use gantline::storage_file::{FileStoreOptions, Fsync};
use gantline::{Client, ConnectOptions, Message, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [url, id, directory] = arguments.try_into().map_err(|_| "expected: URL CLIENT-ID DIRECTORY")?;

    // Each batch, so that a power cut takes nothing back either.
    let store = FileStoreOptions::default().fsync(Fsync::EachBatch).open_session(directory)?;
    let options = ConnectOptions::new(&url)?
        .client_id(&id)?
        .clean_start(false)
        .session_expiry(Duration::from_secs(7 * 86_400))
        .session_store(store);
    let client = Client::connect(options).await?;

    // The server was away for more than a week, or has lost its sessions: then it is up to us.
    for message in client.connection().map(|connection| connection.undelivered.clone()).unwrap_or_default() {
        println!("the server has no session any more, once more: {}", message.payload_str()?);
        client.publish(message).await?;
    }

    let topic = format!("sensors/{id}/time");
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let reading = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs().to_string();
        println!("sending {reading}");
        client.publish(Message::new(topic.as_str(), reading)?.qos(QoS::ExactlyOnce)).await?;
    }
    client.disconnect().await?;
    Ok(())
}
