//! A store of retained messages: what it is told, and that nobody waits for it, whatever it does.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use gantline_protocol::{Message, TopicName};
use gantline_server::{
    QoS, RetainedChange, RetainedMessage, RetainedStore, RunningServer, Server, ServerOptions, StartError,
    StoreError, TopicFilter, async_trait,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::peer::{clean, client, seconds_pass, subscriber, text};

/// What happens to the store.
#[derive(Debug, Default)]
struct Inner {
    messages: Mutex<BTreeMap<String, RetainedMessage>>,
    /// The batches, each as text.
    batches: Mutex<Vec<String>>,
    fails: AtomicBool,
    panics: AtomicBool,
    hangs: AtomicBool,
    /// A topic that it cannot keep, whatever one tries.
    refuses: Mutex<Option<&'static str>>,
    attempts: AtomicU32,
    closed: AtomicU32,
    /// How many calls of `apply` have not ended.
    applying: AtomicU32,
    delay: Mutex<Duration>,
}

/// A store whose inside a test sees and spoils.
#[derive(Clone, Debug, Default)]
struct Store(Arc<Inner>);

impl Store {
    fn batches(&self) -> Vec<String> {
        self.0.batches.lock().clone()
    }

    fn payloads(&self) -> String {
        let messages = self.0.messages.lock();
        let pairs =
            messages.iter().map(|(topic, kept)| format!("{topic}={}", kept.message.payload_str().unwrap()));
        pairs.collect::<Vec<_>>().join(" ")
    }

    async fn server(&self) -> RunningServer {
        Server::new(ServerOptions::default()).retained_store(self.clone()).start().await.unwrap()
    }
}

#[async_trait]
impl RetainedStore for Store {
    async fn load(&self, found: &mut (dyn FnMut(RetainedChange) + Send)) -> Result<(), StoreError> {
        if self.0.fails.load(Ordering::Relaxed) {
            return Err(StoreError::new("cannot read it", io::Error::other("told so")));
        }
        self.0.messages.lock().values().cloned().for_each(|message| found(message.into()));
        Ok(())
    }

    async fn apply(&self, mut changes: Vec<RetainedChange>) -> Result<(), StoreError> {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
        self.0.applying.fetch_add(1, Ordering::Relaxed);
        let _applying = Applying(&self.0.applying);
        let delay = *self.0.delay.lock();
        sleep(delay).await;
        assert!(!self.0.panics.load(Ordering::Relaxed), "told so");
        if self.0.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.0.fails.load(Ordering::Relaxed) {
            return Err(StoreError::new("cannot write it", io::Error::other("told so")));
        }
        let (before, refuses) = (changes.len(), *self.0.refuses.lock());
        changes.retain(|change| Some(change.topic().as_str()) != refuses);
        let all = changes.len() == before;
        let mut batch: Vec<_> = changes.iter().map(shown).collect();
        batch.sort();
        self.0.batches.lock().push(batch.join(" "));
        let mut messages = self.0.messages.lock();
        for change in changes {
            match change {
                RetainedChange::Set(message) => {
                    drop(messages.insert(message.message.topic().to_string(), message))
                }
                RetainedChange::Clear(topic) => drop(messages.remove(topic.as_str())),
            }
        }
        if all { Ok(()) } else { Err(StoreError::new("cannot keep it", "told so").permanent()) }
    }

    async fn close(&self) -> Result<(), StoreError> {
        assert_eq!(self.0.applying.load(Ordering::Relaxed), 0, "one call at a time");
        self.0.closed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Ends with a call of `apply`, also if that is dropped.
struct Applying<'a>(&'a AtomicU32);

impl Drop for Applying<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn shown(change: &RetainedChange) -> String {
    match change {
        RetainedChange::Set(kept) => {
            format!("{}={}", kept.message.topic(), kept.message.payload_str().unwrap())
        }
        RetainedChange::Clear(topic) => format!("-{topic}"),
    }
}

async fn keep(server: &RunningServer, topic: &str, payload: &str) {
    server.publish(Message::new(topic, payload.to_owned()).unwrap().retain(true)).await.unwrap();
}

/// Long enough for what is not spoilt.
async fn saved() {
    sleep(Duration::from_millis(100)).await;
}

const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn the_store_is_told_the_last_value_of_each_topic() {
    let store = Store::default();
    let server = store.server().await;
    let mut peer = client(&server, "a").await;
    for number in 0..10 {
        peer.publish_retained("a", &number.to_string(), QoS::AtLeastOnce).await;
        peer.publish_retained("b", &number.to_string(), QoS::AtLeastOnce).await;
        peer.publish("c", "not retained", QoS::AtLeastOnce).await;
    }
    peer.ping().await;
    saved().await;
    peer.publish_retained("a", "", QoS::AtLeastOnce).await;
    peer.publish_retained("d", "", QoS::AtLeastOnce).await;
    peer.ping().await;
    saved().await;
    assert_eq!(store.batches(), ["a=9 b=9", "-a"]);
    assert_eq!(server.metrics().retained_unsaved, 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_set_again_as_it_is_need_not_be_saved() {
    let store = Store::default();
    let server = store.server().await;
    for payload in ["1", "1", "2", "1"] {
        keep(&server, "a", payload).await;
        saved().await;
    }
    assert_eq!(store.batches(), ["a=1", "a=2", "a=1"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_application_clears_and_what_expires_is_cleared_in_the_store() {
    let store = Store::default();
    let server = store.server().await;
    keep(&server, "a", "1").await;
    server.publish(Message::new("b", "2").unwrap().retain(true).expiry(10)).await.unwrap();
    saved().await;
    let expires = store.0.messages.lock()["b"].expires.unwrap();
    let left = expires.duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(8) && left <= Duration::from_secs(10), "{left:?}");
    server.clear_retained(&TopicFilter::new("a").unwrap());
    seconds_pass(12).await;
    saved().await;
    assert_eq!(store.batches(), ["a=1 b=2", "-a", "-b"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_server_has_what_the_old_one_kept() {
    let store = Store::default();
    let server = store.server().await;
    let full = Message::new("full", "x")
        .unwrap()
        .qos(QoS::ExactlyOnce)
        .retain(true)
        .content_type("text/plain")
        .response_topic(TopicName::new("r").unwrap())
        .correlation_data("id")
        .user_property("k", "v");
    server.publish(full.clone()).await.unwrap();
    server.publish(Message::new("brief", "y").unwrap().retain(true).expiry(100)).await.unwrap();
    server.shutdown(DEADLINE).await;
    assert_eq!(store.0.closed.load(Ordering::Relaxed), 1);

    let server = store.server().await;
    let mut peer = subscriber(&server, clean("a"), &["#"], QoS::ExactlyOnce).await;
    let brief = peer.message().await;
    assert_eq!((text(&brief).as_str(), brief.retain), ("y", true));
    assert!(brief.properties.message_expiry_interval.is_some_and(|left| left > 90 && left <= 100));
    assert_eq!(server.retained(full.topic()), Some(full));
    // Nothing has changed.
    saved().await;
    assert_eq!(store.batches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_retained_message_is_left_out() {
    let store = Store::default();
    let now = SystemTime::now();
    for message in [
        RetainedMessage { message: Message::new("empty", "").unwrap(), expires: None },
        RetainedMessage { message: Message::new("wrong", "x").unwrap().content_type("\0"), expires: None },
        RetainedMessage { message: Message::new("past", "x").unwrap(), expires: Some(now - DEADLINE) },
        RetainedMessage { message: Message::new("own", "x").unwrap().expiry(7), expires: None },
    ] {
        store.0.messages.lock().insert(message.message.topic().to_string(), message);
    }
    let server = store.server().await;
    let kept = server.retained_messages(&TopicFilter::new("#").unwrap());
    assert_eq!(kept, [Message::new("own", "x").unwrap().retain(true).expiry(7)]);
    saved().await;
    assert_eq!(store.batches(), ["-past"], "so that it does not come again");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_keeps_the_server_from_starting() {
    let store = Store::default();
    store.0.fails.store(true, Ordering::Relaxed);
    let error = Server::new(ServerOptions::default()).retained_store(store).start().await.unwrap_err();
    assert!(matches!(error, StartError::Store(_)));
    let expected = "the retained messages cannot be loaded: cannot read it: told so";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_tried_again_and_nothing_is_lost() {
    for panics in [false, true] {
        let store = Store::default();
        let server = store.server().await;
        let spoilt = if panics { &store.0.panics } else { &store.0.fails };
        spoilt.store(true, Ordering::Relaxed);
        for number in 0..1_000 {
            keep(&server, &format!("t/{}", number % 10), &number.to_string()).await;
        }
        seconds_pass(3_600).await;
        let metrics = server.metrics();
        // It is left alone for 30 s in the end.
        let attempts = store.0.attempts.load(Ordering::Relaxed);
        assert!(attempts > 100 && attempts < 140, "{attempts}");
        assert_eq!((metrics.retained_unsaved, metrics.retained_store_failures), (10, u64::from(attempts)));
        keep(&server, "t/0", "last").await;
        spoilt.store(false, Ordering::Relaxed);
        seconds_pass(31).await;
        assert_eq!(server.metrics().retained_unsaved, 0);
        assert!(store.payloads().starts_with("t/0=last t/1=991 "), "{}", store.payloads());
        assert_eq!(store.batches().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_can_never_keep_is_not_tried_again() {
    let store = Store::default();
    *store.0.refuses.lock() = Some("b");
    let server = store.server().await;
    for topic in ["a", "b", "c"] {
        keep(&server, topic, "1").await;
    }
    seconds_pass(3_600).await;
    let metrics = server.metrics();
    assert_eq!((metrics.retained_unsaved, metrics.retained_store_failures), (0, 1));
    assert_eq!((store.0.attempts.load(Ordering::Relaxed), store.payloads().as_str()), (1, "a=1 c=1"));
    *store.0.refuses.lock() = None;
    keep(&server, "b", "2").await;
    saved().await;
    assert_eq!(store.payloads(), "a=1 b=2 c=1");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_slow_store() {
    let store = Store::default();
    *store.0.delay.lock() = Duration::from_secs(60);
    let server = store.server().await;
    let mut peer = subscriber(&server, clean("b"), &["#"], QoS::AtLeastOnce).await;
    let mut other = client(&server, "a").await;
    let began = Instant::now();
    for number in 0..200 {
        other.publish_retained("t", &number.to_string(), QoS::AtLeastOnce).await;
        assert_eq!(peer.text().await, number.to_string());
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(server.metrics().retained_unsaved <= 2);
    seconds_pass(180).await;
    assert_eq!(store.payloads(), "t=199");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_saves_the_last_values() {
    let store = Store::default();
    *store.0.delay.lock() = Duration::from_secs(2);
    let server = store.server().await;
    keep(&server, "a", "1").await;
    saved().await;
    // The first batch is under way.
    keep(&server, "a", "2").await;
    keep(&server, "b", "3").await;
    let began = Instant::now();
    server.shutdown(DEADLINE).await;
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    assert_eq!((store.payloads().as_str(), store.0.closed.load(Ordering::Relaxed)), ("a=2 b=3", 1));
    // Again, and there is nothing to wait for.
    server.shutdown(DEADLINE).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_tries_a_store_that_fails_until_its_time_is_over() {
    for (hangs, recovers) in [(false, true), (false, false), (true, false)] {
        let store = Store::default();
        let server = store.server().await;
        store.0.fails.store(true, Ordering::Relaxed);
        store.0.hangs.store(hangs, Ordering::Relaxed);
        keep(&server, "a", "1").await;
        seconds_pass(100).await;
        let began = Instant::now();
        let stopping = tokio::spawn({
            let server = server.clone();
            async move { server.shutdown(Duration::from_secs(8)).await }
        });
        sleep(Duration::from_secs(3)).await;
        store.0.fails.store(!recovers, Ordering::Relaxed);
        timeout(Duration::from_secs(60), stopping).await.unwrap().unwrap();
        let took = began.elapsed();
        let expected = if recovers { (3, 4, 0, "a=1") } else { (8, 10, 1, "") };
        assert!(
            took >= Duration::from_secs(expected.0) && took < Duration::from_secs(expected.1),
            "{took:?}"
        );
        assert_eq!((server.metrics().retained_unsaved, store.payloads().as_str()), (expected.2, expected.3));
        assert_eq!(store.0.closed.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_saves_what_it_can() {
    let store = Store::default();
    let server = store.server().await;
    keep(&server, "a", "1").await;
    drop(server);
    saved().await;
    assert_eq!((store.payloads().as_str(), store.0.closed.load(Ordering::Relaxed)), ("a=1", 1));
    assert_eq!(Arc::strong_count(&store.0), 1, "its task has ended");
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_of_itself_is_not_for_the_store() {
    let store = Store::default();
    let old = RetainedMessage {
        message: Message::new("$SYS/broker/uptime", "of another day").unwrap().retain(true),
        expires: None,
    };
    store.0.messages.lock().insert(old.message.topic().to_string(), old);
    let options = ServerOptions::default().sys_interval(Duration::from_secs(1));
    let server = Server::new(options).retained_store(store.clone()).start().await.unwrap();
    seconds_pass(5).await;
    keep(&server, "mine", "1").await;
    server.clear_retained(&TopicFilter::new("$SYS/broker/clients/#").unwrap());
    seconds_pass(1).await;
    let uptime = TopicName::new("$SYS/broker/uptime").unwrap();
    assert_eq!(server.retained(&uptime).unwrap().payload_str().unwrap(), "6 seconds");
    server.shutdown(DEADLINE).await;
    assert_eq!(store.batches(), ["mine=1"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_with_more_than_there_is_room_for_is_loaded_whole() {
    let store = Store::default();
    let server = store.server().await;
    for topic in ["a", "b", "c"] {
        keep(&server, topic, "x").await;
    }
    server.shutdown(DEADLINE).await;
    let options = ServerOptions::default().max_retained_messages(2);
    let server = Server::new(options).retained_store(store.clone()).start().await.unwrap();
    assert_eq!(server.metrics().retained_messages, 3);
    let more = |topic| server.set_retained(&Message::new(topic, "y").unwrap());
    assert!(more("d").is_err());
    assert!(more("a").is_ok(), "a topic that is there may be changed");
}
