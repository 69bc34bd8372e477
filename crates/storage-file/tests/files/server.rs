//! A server with files behind it, over its whole life.

use std::time::Duration;

use gantline_protocol::Message;
use gantline_server::{QoS, RunningServer, Server, ServerOptions, StartError, TopicFilter};
use gantline_storage_file::{FileStore, FileStoreOptions, Fsync};

use crate::support::Scratch;

async fn server(scratch: &Scratch) -> RunningServer {
    let options = FileStoreOptions::default().fsync(Fsync::EachBatch).compact_from(20_000);
    let store = options.open(scratch.path()).unwrap();
    Server::new(ServerOptions::default()).retained_store(store).start().await.unwrap()
}

fn messages(server: &RunningServer) -> Vec<Message> {
    server.retained_messages(&TopicFilter::new("#").unwrap())
}

async fn keep(server: &RunningServer, topic: &str, payload: &str) {
    let message = Message::new(topic, payload.to_owned()).unwrap().retain(true);
    server.publish(message).await.unwrap();
}

#[tokio::test]
async fn retained_messages_outlive_the_server() {
    let scratch = Scratch::new();
    let first = server(&scratch).await;
    keep(&first, "a", "1").await;
    keep(&first, "b", "2").await;
    let full = Message::new("c", vec![0, 1, 2])
        .unwrap()
        .qos(QoS::ExactlyOnce)
        .retain(true)
        .content_type("x/y")
        .user_property("k", "v");
    first.publish(full).await.unwrap();
    keep(&first, "b", "").await;
    let expected = messages(&first);
    assert_eq!(expected.len(), 2);
    first.shutdown(Duration::from_secs(5)).await;

    // The directory is free although a handle of the old server is left.
    let second = server(&scratch).await;
    assert_eq!(messages(&second), expected);
    second.clear_retained(&TopicFilter::new("#").unwrap());
    second.shutdown(Duration::from_secs(5)).await;
    assert_eq!(messages(&server(&scratch).await), []);
}

#[tokio::test]
async fn nothing_is_lost_by_a_shutdown_without_time() {
    let scratch = Scratch::new();
    let first = server(&scratch).await;
    for number in 0..20_000 {
        keep(&first, &format!("t/{}", number % 5_000), &number.to_string()).await;
    }
    first.shutdown(Duration::ZERO).await;
    assert_eq!((first.metrics().retained_unsaved, first.metrics().retained_store_failures), (0, 0));
    let second = server(&scratch).await;
    let found = messages(&second);
    assert_eq!(found.len(), 5_000);
    let numbers = found.iter().map(|message| message.payload_str().unwrap().parse::<u32>().unwrap());
    assert_eq!(numbers.min(), Some(15_000));
}

#[tokio::test]
async fn a_server_without_its_directory_does_not_start() {
    let scratch = Scratch::new();
    let store = FileStore::open(scratch.path()).unwrap();
    gantline_server::RetainedStore::close(&store).await.unwrap();
    let error = Server::new(ServerOptions::default()).retained_store(store).start().await.unwrap_err();
    assert!(matches!(&error, StartError::Store(_)), "{error}");
    let expected =
        "the retained messages cannot be loaded: cannot use the store: it is closed, open it again";
    assert_eq!(error.to_string(), expected);
}
