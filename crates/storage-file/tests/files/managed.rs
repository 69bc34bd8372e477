//! A managed client with its outbox on files, which is killed before it ever had a connection.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use gantline_client::{Client, ConnectOptions};
use gantline_managed::{ManagedClient, ManagedOptions, OutboxStore};
use gantline_protocol::{Message, QoS};
use gantline_server::{Server, ServerOptions};
use gantline_storage_file::FileOutbox;

use crate::support::Scratch;

const MESSAGES: u64 = 100;

/// A runtime for one life; what is left when that ends is dropped as it is.
fn live<T>(life: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(life)
}

fn managed(address: &str, store: Arc<FileOutbox>) -> ManagedClient {
    let connect = ConnectOptions::new(address).unwrap().client_id("kitchen").unwrap();
    let options = ManagedOptions::new(connect).backoff(Duration::from_millis(1), Duration::from_millis(5));
    ManagedClient::new(options.outbox_store(store))
}

#[test]
fn messages_of_a_managed_client_that_was_killed_are_sent_by_the_next() {
    let scratch = Scratch::new();
    let address = format!("memory://{}", scratch.path().file_name().unwrap().display());
    // Nobody listens there yet.
    live(async {
        let client = managed(&address, Arc::new(FileOutbox::open(scratch.path()).unwrap()));
        client.start().await.unwrap();
        for number in 0..MESSAGES {
            let message = Message::new("numbers", number.to_string()).unwrap().qos(QoS::ExactlyOnce);
            drop(client.publish(message).queued().await);
        }
    });
    let store = Arc::new(FileOutbox::open(scratch.path()).unwrap());
    live(async {
        let server = Server::new(ServerOptions::default()).listen(address.as_str()).start().await.unwrap();
        let subscriber = Client::connect(ConnectOptions::new(&address).unwrap()).await.unwrap();
        let mut numbers = subscriber.subscribe("numbers", QoS::ExactlyOnce).await.unwrap();
        let client = managed(&address, Arc::clone(&store));
        client.start().await.unwrap();
        for number in 0..MESSAGES {
            assert_eq!(numbers.next().await.unwrap().payload_str().unwrap(), number.to_string());
        }
        client.stop().drain(Duration::from_secs(10)).await;
        server.shutdown(Duration::ZERO).await;
    });
    live(async {
        store.compact().await.unwrap();
        let mut left = Vec::new();
        store.load(&mut |change| left.push(change)).await.unwrap();
        assert_eq!(left, []);
    });
}
